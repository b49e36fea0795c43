//! Writes the log of one model's supply. It names a trouble once, and not for each update that meets the same one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tfweb_engine::{Code, Error};
use tfweb_store::{Listing, ModelUri};

use super::incomplete::{Copies, Incomplete, News};
use super::model::Version;
use crate::observe::log::one_line;

/// The log of one model. See the [module](self).
pub(super) struct SupplyLog {
    model: String,
    /// The last error in the log. It is not logged again while it stays the same.
    logged: Option<Error>,
    /// Errors of the first update of a model that is alone, and their lines. If no version can be served, the process ends with one
    /// of them, and the log has the others.
    held_back: Option<Vec<(Error, String)>>,
    /// Whether the last error ends the process.
    is_last: bool,
    /// The faults of the last listing.
    faults: Vec<Error>,
    /// How many listings in a row have failed.
    failed_listings: u64,
    is_from_cache: bool,
    /// The versions that lack files.
    copies: Copies,
    /// The labels whose versions were not served after the last update.
    unserved: BTreeMap<String, u64>,
}

impl SupplyLog {
    /// Makes the log of a model. If the model `is_alone`, a failed first update ends the process, so its error is not logged here.
    pub(super) fn new(model: &str, is_alone: bool) -> Self {
        Self {
            model: model.to_owned(),
            logged: None,
            held_back: is_alone.then(Vec::new),
            is_last: false,
            faults: Vec::new(),
            failed_listings: 0,
            is_from_cache: false,
            copies: Copies::default(),
            unserved: BTreeMap::new(),
        }
    }

    /// Logs that the place could not be listed. A store that is down fails in many words, so the first are enough.
    pub(super) fn listing_failed(&mut self, error: &Error) {
        self.failed_listings += 1;
        let is_known = |logged: &Error| logged.code == Code::Unavailable && error.code == Code::Unavailable;
        if self.failed_listings == 1 || !self.logged.as_ref().is_some_and(is_known) {
            self.once(error, error.to_string());
        }
    }

    /// Logs that the place was listed, if it could not be before, and what in it cannot be served.
    pub(super) fn listed(&mut self, uri: &ModelUri, listing: &Listing) {
        if self.failed_listings > 1 {
            let (model, count) = (&self.model, self.failed_listings);
            tracing::info!("model {model:?}: `{uri}` can be listed again; {count} listings in a row had failed");
        }
        (self.failed_listings, self.is_from_cache) = (0, false);
        let faults = faults(uri, listing);
        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)).cloned().collect::<Vec<_>>() {
            self.warn(&fault, fault.to_string());
        }
        self.faults = faults;
    }

    /// Logs that these versions are served from the cache, because their place does not answer.
    pub(super) fn serves_cache(&mut self, uri: &ModelUri, listing: &Listing) {
        if !std::mem::replace(&mut self.is_from_cache, true) {
            let versions = listing.versions.iter().fold(String::new(), |mut text, version| {
                let _ = write!(text, " {}", version.number);
                text
            });
            let model = &self.model;
            tracing::warn!("model {model:?}: `{uri}` does not answer; the cache has these of the versions listed last:{versions}");
        }
    }

    /// Logs that a version was loaded, and what is wrong with it.
    pub(super) fn loaded(&self, uri: &ModelUri, version: &Version, time: Duration) {
        let model = &self.model;
        tracing::info!("model {model:?} version {} loaded from `{uri}` in {} ms", version.number, time.as_millis());
        for servable in &version.servables {
            tracing::debug!("model {model:?}, signature {:?}", servable.handle.signature().name);
        }
        for warning in version.warnings() {
            tracing::warn!("model {model:?}: {}", one_line(&warning));
        }
    }

    /// Logs that a version could not be loaded.
    pub(super) fn load_failed(&mut self, uri: &ModelUri, number: u64, time: Duration, error: &Error) {
        self.once(error, format!("version {number} from `{uri}` was not loaded, after {} ms: {error}", time.as_millis()));
    }

    /// Logs an error, but not the same one twice in a row.
    pub(super) fn once(&mut self, error: &Error, line: String) {
        if self.logged.as_ref() != Some(error) {
            self.logged = Some(error.clone());
            self.warn(error, line);
        }
    }

    /// Notes that nothing is left to load.
    pub(super) fn settled(&mut self) {
        self.logged = None;
    }

    /// Logs the errors of the first update, except the one that ends the process.
    pub(super) fn updated(&mut self, end: Option<&Error>) {
        self.is_last = self.held_back.is_some() && end.is_some();
        for (error, line) in self.held_back.take().unwrap_or_default() {
            if end.is_none_or(|end| end.message != error.message) {
                self.warn(&error, line);
            }
        }
    }

    /// Logs which versions lack files. The error that ends the process says so itself.
    pub(super) fn lacking(&mut self, uri: &ModelUri, incomplete: Vec<Incomplete>) {
        if self.is_last {
            return;
        }
        for (Incomplete { number, lacks, .. }, news) in self.copies.look(incomplete, Instant::now()) {
            let (model, lacks) = (&self.model, one_line(&lacks));
            match news {
                News::Waits => {
                    tracing::info!("model {model:?}: `{uri}`: version {number} waits for the rest of its files: {lacks}");
                }
                News::StandsStill => tracing::warn!(
                    "model {model:?}: `{uri}`: version {number} still waits for files, and none has come for a minute: {lacks}"
                ),
            }
        }
    }

    /// Logs the labels whose versions are not served. Requests find such a label as soon as its version is served.
    pub(super) fn labelled<'l>(&mut self, unserved: impl Iterator<Item = (&'l String, &'l u64)>) {
        let unserved: BTreeMap<String, u64> = unserved.map(|(label, number)| (label.clone(), *number)).collect();
        let model = &self.model;
        for (label, number) in unserved.iter().filter(|(label, number)| self.unserved.get(*label) != Some(*number)) {
            tracing::warn!(
                "model {model:?}: label {label:?} names version {number}, which is not served; the label counts when the version is \
                 there and the version policy selects it"
            );
        }
        for (label, number) in self.unserved.iter().filter(|(label, _)| !unserved.contains_key(*label)) {
            tracing::info!("model {model:?}: label {label:?} now leads to version {number}");
        }
        self.unserved = unserved;
    }

    fn warn(&mut self, error: &Error, line: String) {
        match &mut self.held_back {
            Some(held_back) => held_back.push((error.clone(), line)),
            None => tracing::warn!("model {:?}: {}", self.model, one_line(&line)),
        }
    }
}

/// Why a version of this place cannot be loaded.
pub(super) fn fault(uri: &ModelUri, number: u64, fault: &Error) -> Error {
    Error::new(fault.code, format!("`{uri}`: version {number} is {fault}"))
}

/// The faults in a listing that somebody must mend. A version that lacks a file is probably being copied.
fn faults(uri: &ModelUri, listing: &Listing) -> Vec<Error> {
    let unreadable = listing.versions.iter().filter_map(|version| {
        let error = version.fault.as_ref().filter(|error| error.code != Code::NotFound)?;
        Some(fault(uri, version.number, error))
    });
    let beside = (!listing.passed_over.is_empty()).then(|| {
        let directories = listing.passed_over.join(", ");
        let text = if listing.is_versioned {
            format!(
                "`{uri}`: the directories {directories} are not served: another directory has the same number; of these `7` counts \
                 before `007`"
            )
        } else {
            format!(
                "`{uri}` has a saved_model.pb, which is served alone; the versions in its directories {directories} are not served; \
                 move saved_model.pb into a directory of its own"
            )
        };
        Error::new(Code::FailedPrecondition, text)
    });
    unreadable.chain(beside).collect()
}
