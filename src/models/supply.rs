//! The versions of one model from the place that its spec names: lists them, loads the new ones, and unloads the old ones.
//!
//! A watcher decides when, and publishes the result. A version is loaded when it is complete and did not
//! change between two listings. A version that cannot be loaded replaces nothing, and is tried again when its files change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tfweb_engine::{quoted, Code, Error};
use tfweb_store::{Listing, ModelUri, Origin};
use tokio::time::sleep;

use super::loader::Loader;
use super::model::{Model, Version};
use super::spec::ModelSpec;
use super::supply_log::{self, SupplyLog};
use super::versions::{lacks_files, Source, Versions};
use crate::observe::log::one_line;

/// The pause before the next listing, after a listing that found changed files.
const RELIST_AFTER: Duration = Duration::from_millis(500);
/// The pause between the first two listings. It is short, because somebody waits for the model, and long enough to see that a
/// copy still grows.
const FIRST_RELIST_AFTER: Duration = Duration::from_millis(50);
/// The pause before the next listing of a model that serves no version, or whose origin does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// The default interval of listings of a local directory, which cost little.
const LOCAL_POLL: Duration = Duration::from_secs(5);

/// The versions of a model from one place. See the [module](self).
pub(super) struct Supply {
    loader: Arc<Loader>,
    spec: ModelSpec,
    origin: Option<Origin>,
    versions: Versions,
    /// The versions that wait to be loaded. The first one is being loaded.
    pending: Vec<u64>,
    /// A loaded version that lacks assets. It is served if no other one can be.
    held: Option<(Source, Arc<Version>)>,
    error: Option<Error>,
    log: SupplyLog,
}

impl Supply {
    /// Makes a supply without versions. If the model `is_alone`, a failed first update ends the process, so its error is not
    /// logged here.
    pub(super) fn new(loader: Arc<Loader>, spec: ModelSpec, is_alone: bool) -> Self {
        let log = SupplyLog::new(&spec.name, is_alone);
        let versions = Versions::default();
        Self { loader, spec, origin: None, versions, pending: Vec::new(), held: None, error: None, log }
    }

    /// Makes the supply of the same model by another spec. It serves what this one serves, until an update finds versions at the
    /// new place. Dropped, it has changed nothing.
    pub(super) fn moved(&self, spec: ModelSpec) -> Self {
        Self { versions: self.versions.unlisted(), ..Self::new(Arc::clone(&self.loader), spec, false) }
    }

    /// The versions that wait to be loaded. The first one is being loaded.
    pub(super) fn pending(&self) -> &[u64] {
        &self.pending
    }

    /// The model as requests find it, while the `pending` versions wait to be loaded.
    pub(super) fn model(&self, pending: &[u64]) -> Model {
        Model {
            name: self.spec.name.clone(),
            versions: self.versions.statuses(pending),
            labels: self.spec.labels.clone(),
            error: self.error.clone(),
            is_candidate: false,
        }
    }

    /// The time until the next update is due; `None` if none is.
    pub(super) fn until_next_update(&self) -> Option<Duration> {
        let poll = self.spec.poll.unwrap_or_else(|| {
            let is_versioned = self.versions.listing().is_some_and(|listing| listing.is_versioned);
            let by_itself = matches!(self.spec.uri, ModelUri::Local(_)) && is_versioned;
            if by_itself {
                LOCAL_POLL
            } else {
                Duration::ZERO
            }
        });
        let poll = (!poll.is_zero()).then_some(poll);
        if self.versions.has_unstable() {
            return Some(poll.unwrap_or(RELIST_AFTER).min(RELIST_AFTER));
        }
        let has_trouble = self.error.is_some() || self.versions.serves_none();
        if has_trouble {
            Some(poll.unwrap_or(RETRY_EVERY).min(RETRY_EVERY))
        } else {
            poll
        }
    }

    /// Lists the versions, loads those that are wanted and new, and unloads those that are no longer wanted. Calls `show` before
    /// each load.
    ///
    /// # Errors
    /// The reason why no version from the model's place is served afterwards.
    ///
    /// # Cancel safety
    /// Versions that are in the catalog stay there.
    pub(super) async fn update(&mut self, show: &(dyn Fn(&Self) + Sync)) -> Result<(), Error> {
        let updated = self.list_and_load(show).await;
        self.pending.clear();
        self.held = None;
        self.log.updated(updated.as_ref().err());
        updated
    }

    /// Logs what the model still waits for.
    pub(super) fn log_waits(&mut self) {
        self.log.lacking(&self.spec.uri, self.versions.incomplete());
        if !self.versions.serves_none() {
            self.log.labelled(self.spec.labels.iter().filter(|(_, &number)| !self.versions.is_served(number)));
        }
    }

    async fn list_and_load(&mut self, show: &(dyn Fn(&Self) + Sync)) -> Result<(), Error> {
        let listing = self.list().await?;
        loop {
            let wanted = self.versions.wanted(&self.spec.uri, &self.spec.policy);
            let is_pending = |number: &u64| !self.versions.is_up_to_date(&self.spec.uri, *number);
            self.pending = wanted.iter().copied().filter(is_pending).collect();
            let Some(&number) = self.pending.first() else {
                if let Some((source, version)) = self.held.take().filter(|_| self.versions.serves_none()) {
                    self.versions.mark_served(source, version);
                }
                self.versions.unload_all_but(&wanted);
                self.log.settled();
                break;
            };
            show(self);
            if let Err(error) = self.load(&listing, number).await {
                self.error = Some(error);
                break;
            }
        }
        if self.versions.serves(&self.spec.uri) {
            return Ok(());
        }
        Err(self.why_none_is_served(&listing))
    }

    fn why_none_is_served(&self, listing: &Listing) -> Error {
        if let Some(error) = &self.error {
            return error.clone();
        }
        if let Some(failure) = self.versions.failure() {
            return Error::new(Code::FailedPrecondition, failure.message.clone());
        }
        let uri = &self.spec.uri;
        let fault = listing.versions.iter().rev().find_map(|version| Some((version.number, version.fault.as_ref()?)));
        fault.map_or_else(
            || Error::new(Code::NotFound, format!("`{uri}`: no version matches the version policy, or all are still changing")),
            |(number, fault)| supply_log::fault(uri, number, fault),
        )
    }

    /// Lists the versions, and notes whether that failed.
    async fn list(&mut self) -> Result<Listing, Error> {
        match self.list_origin().await {
            Ok(listing) => {
                self.error = None;
                self.log.listed(&self.spec.uri, &listing);
                Ok(listing)
            }
            Err(error) => {
                // The served versions stay: an origin that does not answer says nothing about them.
                self.log.listing_failed(&error);
                self.error = Some(error.clone());
                self.list_cache(error).await
            }
        }
    }

    /// Lists what the cache has, if nothing is served and the origin does not answer. A restart then serves what it served before.
    async fn list_cache(&mut self, error: Error) -> Result<Listing, Error> {
        let origin = self.origin.as_ref().filter(|_| error.code == Code::Unavailable && self.versions.serves_none());
        let Some(origin) = origin else { return Err(error) };
        let Some(listing) = origin.remembered().await? else { return Err(error) };
        self.log.serves_cache(&self.spec.uri, &listing);
        // Twice, as all that is loaded: the cache does not change.
        self.versions.set_listing(listing.clone());
        self.versions.set_listing(listing.clone());
        Ok(listing)
    }

    /// Lists the origin. The first time it lists twice, so that it does not load a copy that is not finished.
    async fn list_origin(&mut self) -> Result<Listing, Error> {
        let is_first = self.origin.is_none();
        if is_first {
            self.origin = Some(Origin::open(&self.spec.uri, || self.loader.cache(), &self.loader.env)?);
        }
        let origin = self.origin.as_ref().expect("opened just above; this is a bug");
        let mut listing = origin.list().await?;
        if is_first {
            self.versions.set_listing(listing);
            sleep(FIRST_RELIST_AFTER).await;
            listing = origin.list().await?;
        }
        self.versions.set_listing(listing.clone());
        Ok(listing)
    }

    /// Loads a version. If the version is broken, this notes it and gives no error. An origin that does not answer is an error.
    async fn load(&mut self, listing: &Listing, number: u64) -> Result<(), Error> {
        let version = listing.version(number).expect("wanted from this listing; this is a bug");
        let source = Source { uri: self.spec.uri.clone(), fingerprint: version.fingerprint() };
        let origin = self.origin.as_ref().expect("looked at before; this is a bug");
        let start = Instant::now();
        let loaded = self.loader.bring(&self.spec.name, origin, version).await;
        match loaded.and_then(|version| self.checked(version)) {
            Ok(version) => {
                self.log.loaded(&self.spec.uri, &version, start.elapsed());
                if version.lacks_assets && self.versions.serves_none() && self.held.is_none() {
                    let text = format!("version {number} lacks an asset; it is served if no other version can be");
                    self.versions.mark_failed(source.clone(), number, Error::new(Code::Aborted, text));
                    self.held = Some((source, version));
                } else {
                    self.versions.mark_served(source, version);
                }
            }
            Err(error) => {
                if !lacks_files(&error) {
                    self.log.load_failed(&self.spec.uri, number, start.elapsed(), &error);
                }
                // Broken files stay broken. An origin that did not answer, or files that changed meanwhile, may work the next
                // time.
                if error.code == Code::Unavailable {
                    return Err(error);
                }
                self.versions.mark_failed(source, number, error);
            }
        }
        Ok(())
    }

    /// Refuses a version that cannot run where the version before it can.
    fn checked(&self, version: Arc<Version>) -> Result<Arc<Version>, Error> {
        match self.versions.worse_than_served(&self.spec.uri, &version) {
            None => Ok(version),
            Some(why) => {
                let text = format!("version {} is not served: {}", version.number, one_line(&why));
                Err(Error::new(Code::FailedPrecondition, text))
            }
        }
    }

    /// Checks that each label names a version that is served. A label that somebody moves must not lead nowhere.
    ///
    /// # Errors
    /// `FailedPrecondition` for a label that does not, in TensorFlow Serving's words.
    pub(super) fn check_labels(&mut self) -> Result<(), Error> {
        let Some((label, number)) = self.spec.labels.iter().find(|(_, &number)| !self.versions.is_served(number)) else {
            return Ok(());
        };
        let (name, label) = (&self.spec.name, quoted(label));
        let text = format!(
            "Request to assign label to version {number} of model {name}, which is not currently available for inference; the label \
             is {label}"
        );
        let error = Error::new(Code::FailedPrecondition, text);
        self.log.once(&error, error.to_string());
        Err(error)
    }

    /// Whether some versions still finish requests.
    pub(super) fn is_unloading(&self) -> bool {
        self.versions.are_unloading()
    }

    /// Removes the versions that have finished their last requests. Gives whether there were any.
    pub(super) fn remove_unloaded(&mut self) -> bool {
        let unloaded = self.versions.remove_unloaded();
        for number in &unloaded {
            tracing::info!("model {:?} version {number} unloaded", self.spec.name);
        }
        !unloaded.is_empty()
    }
}
