//! The versions of one model as its watcher knows them: listed, served, failed or unloading. Pure bookkeeping: it neither waits
//! nor loads.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::incomplete::Incomplete;
use super::model::{State, Version, VersionStatus};
use tfweb_engine::{Code, Error, Trial};
use tfweb_store::{Fingerprint, Listing, ModelUri};

use super::version_policy::VersionPolicy;

/// The most ended versions that the list of versions still shows.
const ENDED_MAX: usize = 8;

/// The origin of a version and the fingerprint of its files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) uri: ModelUri,
    pub(super) fingerprint: Fingerprint,
}

/// The served files of one version number, and the files that failed to load. Both can exist: new files of a served version may
/// be broken.
#[derive(Clone, Default)]
struct VersionEntry {
    served: Option<(Source, Arc<Version>)>,
    failed: Option<(Source, Error)>,
}

/// Versions of one model. See the [module](self).
#[derive(Clone, Default)]
pub(super) struct Versions {
    listing: Option<Listing>,
    /// The fingerprints in the listing before the last one.
    previous: BTreeMap<u64, Fingerprint>,
    entries: BTreeMap<u64, VersionEntry>,
    unloading: Vec<(u64, Weak<Version>)>,
    ended: Vec<u64>,
}

impl Versions {
    /// Takes a new listing.
    pub(super) fn set_listing(&mut self, listing: Listing) {
        if let Some(last) = self.listing.replace(listing) {
            self.previous = last.versions.iter().map(|version| (version.number, version.fingerprint())).collect();
        }
    }

    /// The same versions without their listings, because the next listing comes from another origin.
    pub(super) fn unlisted(&self) -> Self {
        let (entries, unloading, ended) = (self.entries.clone(), self.unloading.clone(), self.ended.clone());
        Self { listing: None, previous: BTreeMap::new(), entries, unloading, ended }
    }

    /// The last listing.
    pub(super) fn listing(&self) -> Option<&Listing> {
        self.listing.as_ref()
    }

    fn listed(&self) -> impl DoubleEndedIterator<Item = &tfweb_store::Version> {
        self.listing.iter().flat_map(|listing| &listing.versions)
    }

    /// Whether a version is complete and did not change between the last two listings.
    fn is_stable(&self, version: &tfweb_store::Version) -> bool {
        version.is_complete() && self.previous.get(&version.number) == Some(&version.fingerprint())
    }

    /// Whether the next listing may show that a version can be loaded now.
    pub(super) fn has_unstable(&self) -> bool {
        self.listed().any(|version| version.is_complete() && !self.is_stable(version))
    }

    /// Whether no version is served.
    pub(super) fn serves_none(&self) -> bool {
        self.entries.values().all(|entry| entry.served.is_none())
    }

    /// Whether a version from this origin is served.
    pub(super) fn serves(&self, uri: &ModelUri) -> bool {
        self.entries.values().any(|entry| entry.serves(uri))
    }

    /// The versions that the policy chooses among those that are stable and not known to be broken.
    pub(super) fn wanted(&self, uri: &ModelUri, policy: &VersionPolicy) -> Vec<u64> {
        let is_candidate = |version: &&tfweb_store::Version| {
            let entry = self.entries.get(&version.number);
            let is_broken =
                || entry.is_some_and(|entry| entry.has_failed(&Source { uri: uri.clone(), fingerprint: version.fingerprint() }));
            // A served version stays a candidate while its files change, and when its new files are broken.
            entry.is_some_and(|entry| entry.serves(uri)) || (self.is_stable(version) && !is_broken())
        };
        policy.wanted(self.listed().filter(is_candidate).map(|version| version.number))
    }

    /// Whether there is nothing to load for this version. Its files are those that are served, or its new files are broken,
    /// incomplete or still changing.
    pub(super) fn is_up_to_date(&self, uri: &ModelUri, number: u64) -> bool {
        let listed = self.listing.as_ref().and_then(|listing| listing.version(number));
        let (Some(version), Some(entry)) = (listed, self.entries.get(&number)) else { return false };
        let Some((served, _)) = &entry.served else { return false };
        let source = Source { uri: uri.clone(), fingerprint: version.fingerprint() };
        *served == source || (served.uri == source.uri && (!self.is_stable(version) || entry.has_failed(&source)))
    }

    /// Finds a signature whose trial run at load failed, although the trial of the version that `version` would take over from did
    /// not, or of which less is served. Says both.
    pub(super) fn worse_than_served(&self, uri: &ModelUri, version: &Version) -> Option<String> {
        // Of the same origin, a version takes over from those below it. Numbers of two origins cannot be compared.
        let takes_over = |number: u64, source: &Source| source.uri != *uri || number <= version.number;
        let mut served = self.entries.iter().filter_map(|(&number, entry)| Some((number, entry.served.as_ref()?)));
        let (_, (_, old)) = served.rfind(|(number, (source, _))| takes_over(*number, source))?;
        version.servables.iter().find_map(|servable| {
            let (signature, number) = (servable.handle.signature(), old.number);
            let name = &signature.name;
            let before = old.servables.iter().find(|old| old.handle.signature().name == *name)?;
            if let Some(lost) = signature.loses(before.handle.signature()) {
                return Some(format!("signature {name:?}: {lost}; version {number} serves it and stays until it is removed"));
            }
            let failure = servable.trial.failure().filter(|_| before.trial == Trial::Passed)?;
            Some(format!("signature {name:?}: {failure}; version {number} passed this trial and stays until it is removed"))
        })
    }

    /// Notes that a version is served from now on. It replaces an earlier one of the same number.
    pub(super) fn mark_served(&mut self, source: Source, version: Arc<Version>) {
        let number = version.number;
        let entry = self.entries.entry(number).or_default();
        entry.failed = None;
        if let Some((_, old)) = entry.served.replace((source, version)) {
            self.unloading.push((number, Arc::downgrade(&old)));
        }
    }

    /// Notes that a version could not be loaded.
    pub(super) fn mark_failed(&mut self, source: Source, number: u64, error: Error) {
        self.entries.entry(number).or_default().failed = Some((source, error));
    }

    /// Whether this version is served.
    pub(super) fn is_served(&self, number: u64) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.served.is_some())
    }

    /// The error of the highest version that failed.
    pub(super) fn failure(&self) -> Option<&Error> {
        self.entries.values().rev().find_map(|entry| entry.failed.as_ref()).map(|(_, error)| error)
    }

    /// The listed versions that lack files.
    pub(super) fn incomplete(&self) -> Vec<Incomplete> {
        let incomplete = |version: &tfweb_store::Version| {
            let fingerprint = version.fingerprint();
            let of_load = || {
                let (source, error) = self.entries.get(&version.number)?.failed.as_ref()?;
                (source.fingerprint == fingerprint && lacks_files(error)).then_some(error)
            };
            let of_listing = version.fault.as_ref().filter(|fault| fault.code == Code::NotFound);
            let lacks = of_listing.or_else(of_load)?.message.clone();
            Some(Incomplete { number: version.number, fingerprint, lacks })
        };
        self.listed().filter_map(incomplete).collect()
    }

    /// Unloads all versions that are not in `wanted`. If `wanted` is empty, they stay: nothing would take their place.
    pub(super) fn unload_all_but(&mut self, wanted: &[u64]) {
        if wanted.is_empty() {
            return;
        }
        for (&number, entry) in self.entries.iter_mut().filter(|(number, _)| !wanted.contains(number)) {
            self.unloading.extend(entry.served.take().map(|(_, version)| (number, Arc::downgrade(&version))));
        }
        let is_listed = |number: u64| self.listing.as_ref().is_some_and(|listing| listing.version(number).is_some());
        self.entries.retain(|&number, entry| entry.served.is_some() || (entry.failed.is_some() && is_listed(number)));
    }

    /// Whether some versions still finish requests.
    pub(super) fn are_unloading(&self) -> bool {
        !self.unloading.is_empty()
    }

    /// Removes the unloading versions whose last request has finished, and gives their numbers.
    pub(super) fn remove_unloaded(&mut self) -> Vec<u64> {
        let (finished, unloading): (Vec<_>, _) =
            std::mem::take(&mut self.unloading).into_iter().partition(|(_, version)| version.strong_count() == 0);
        self.unloading = unloading;
        let finished: Vec<u64> = finished.into_iter().map(|(number, _)| number).collect();
        self.ended.retain(|ended| !finished.contains(ended));
        self.ended.extend(&finished);
        let excess = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..excess);
        finished
    }

    /// All versions with their states, lowest first. The first of the `pending` numbers is being loaded, and the others wait for it.
    pub(super) fn statuses(&self, pending: &[u64]) -> Vec<VersionStatus> {
        let mut versions: BTreeMap<u64, VersionStatus> = BTreeMap::new();
        let mut put = |number: u64, state: State, error: Option<&String>, served: Option<&Arc<Version>>| {
            versions.insert(number, VersionStatus { number, state, error: error.cloned(), served: served.cloned() });
        };
        let is_incomplete = |number| self.listed().any(|version| version.number == number && !version.is_complete());
        self.ended.iter().for_each(|&number| put(number, State::End, None, None));
        self.unloading.iter().for_each(|&(number, _)| put(number, State::Unloading, None, None));
        for version in self.listed() {
            if let Some(fault) = &version.fault {
                put(version.number, State::Start, Some(&fault.message), None);
            }
        }
        pending.iter().skip(1).for_each(|&number| put(number, State::Start, None, None));
        pending.first().into_iter().for_each(|&number| put(number, State::Loading, None, None));
        for (&number, entry) in &self.entries {
            let failed = entry.failed.as_ref().map(|(_, error)| error);
            let error = failed.map(|error| &error.message);
            match &entry.served {
                Some((_, version)) => put(number, State::Available, error, Some(version)),
                // An earlier failure of a version that is incomplete now says nothing about it.
                None if !pending.contains(&number) && !is_incomplete(number) => {
                    let state = |error| if lacks_files(error) { State::Start } else { State::End };
                    failed.into_iter().for_each(|failed| put(number, state(failed), error, None));
                }
                None => {}
            }
        }
        versions.into_values().collect()
    }
}

/// Whether a version could not be loaded because files are missing. Only its graph tells that it needs them.
pub(super) fn lacks_files(error: &Error) -> bool {
    error.code == Code::Aborted
}

impl VersionEntry {
    fn serves(&self, uri: &ModelUri) -> bool {
        self.served.as_ref().is_some_and(|(source, _)| source.uri == *uri)
    }

    fn has_failed(&self, source: &Source) -> bool {
        self.failed.as_ref().is_some_and(|(failed, _)| failed == source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds a version 2 whose shard has `shard_bytes`, beside the version 1 that is there.
    fn listing(shard_bytes: u64) -> Listing {
        let file = |path: &str, size| tfweb_store::File { path: path.to_owned(), size, stamp: String::new() };
        let whole = |number: u64, shard_bytes| {
            let shard = format!("{number}/variables/variables.data-00000-of-00001");
            let index = format!("{number}/variables/variables.index");
            [file(&format!("{number}/saved_model.pb"), 1), file(&index, 1), file(&shard, shard_bytes)]
        };
        Listing::new("m", None, [whole(1, 9), whole(2, shard_bytes)].concat()).unwrap()
    }

    #[test]
    fn version_that_still_grows_is_not_wanted() {
        let (mut versions, uri) = (Versions::default(), ModelUri::parse("m").unwrap());
        versions.set_listing(listing(0));
        for shard_bytes in 1..9 {
            versions.set_listing(listing(shard_bytes));
            assert_eq!(versions.wanted(&uri, &VersionPolicy::All), [1], "2 has grown to {shard_bytes} bytes");
            assert!(versions.has_unstable(), "the watcher looks again soon");
        }
        versions.set_listing(listing(8));
        assert_eq!(versions.wanted(&uri, &VersionPolicy::All), [2, 1], "2 was the same at two looks");
    }
}
