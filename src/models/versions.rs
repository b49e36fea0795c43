//! The versions of one model as its watcher knows them: listed, served, failed or unloading. Pure bookkeeping: it neither waits
//! nor loads.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::model::{State, Version, VersionStatus};
use tfweb_store::{Fingerprint, Listing, ModelUri};

use super::version_policy::VersionPolicy;

/// The most ended versions that the list of versions still shows.
const ENDED_MAX: usize = 8;

/// The origin of a version and the fingerprint of its files.
pub(super) type Source = (ModelUri, Fingerprint);

/// The served files of one version number, and the files that failed to load. Both can exist: new files of a served version may
/// be broken.
#[derive(Default)]
struct Known {
    served: Option<(Source, Arc<Version>)>,
    failed: Option<(Source, String)>,
}

/// Versions of one model. See the [module](self).
#[derive(Default)]
pub(super) struct Versions {
    listing: Option<Listing>,
    /// The fingerprints in the listing before the last one.
    before: BTreeMap<u64, Fingerprint>,
    known: BTreeMap<u64, Known>,
    /// The number of the version that is being loaded.
    pub(super) loading: Option<u64>,
    leaving: Vec<(u64, Weak<Version>)>,
    ended: Vec<u64>,
}

impl Versions {
    /// Takes a new listing.
    pub(super) fn found(&mut self, listing: Listing) {
        if let Some(last) = self.listing.replace(listing) {
            self.before = last.versions.iter().map(|version| (version.number, version.fingerprint())).collect();
        }
    }

    /// Forgets the listings, because the next one comes from another origin.
    pub(super) fn forget_looks(&mut self) {
        self.listing = None;
        self.before.clear();
    }

    /// The last listing.
    pub(super) fn listing(&self) -> Option<&Listing> {
        self.listing.as_ref()
    }

    fn listed(&self) -> impl DoubleEndedIterator<Item = &tfweb_store::Version> {
        self.listing.iter().flat_map(|listing| &listing.versions)
    }

    /// Whether a version is complete and did not change between the last two listings.
    fn is_settled(&self, version: &tfweb_store::Version) -> bool {
        version.is_complete() && self.before.get(&version.number) == Some(&version.fingerprint())
    }

    /// Whether the next listing may show that a version can be loaded now.
    pub(super) fn is_settling(&self) -> bool {
        self.listed().any(|version| version.is_complete() && !self.is_settled(version))
    }

    /// Whether no version is served.
    pub(super) fn is_bare(&self) -> bool {
        self.known.values().all(|known| known.served.is_none())
    }

    /// Whether a version from this origin is served.
    pub(super) fn serves(&self, uri: &ModelUri) -> bool {
        self.known.values().any(|known| known.serves(uri))
    }

    /// The versions that the policy chooses among those that are stable and not known to be broken.
    pub(super) fn wanted(&self, uri: &ModelUri, policy: &VersionPolicy) -> Vec<u64> {
        let is_candidate = |version: &&tfweb_store::Version| {
            let known = self.known.get(&version.number);
            let is_broken = || known.is_some_and(|known| known.has_failed(&(uri.clone(), version.fingerprint())));
            // A served version stays a candidate while its files change, and when its new files are broken.
            known.is_some_and(|known| known.serves(uri)) || (self.is_settled(version) && !is_broken())
        };
        policy.wanted(self.listed().filter(is_candidate).map(|version| version.number))
    }

    /// Whether there is nothing to load for this version. Its files are those that are served, or its new files are broken,
    /// incomplete or still changing.
    pub(super) fn is_served(&self, uri: &ModelUri, number: u64) -> bool {
        let listed = self.listing.as_ref().and_then(|listing| listing.version(number));
        let (Some(version), Some(known)) = (listed, self.known.get(&number)) else { return false };
        let Some((served, _)) = &known.served else { return false };
        let source = (uri.clone(), version.fingerprint());
        *served == source || (served.0 == source.0 && (!self.is_settled(version) || known.has_failed(&source)))
    }

    /// Notes that a version is served from now on. It replaces an earlier one of the same number.
    pub(super) fn serve(&mut self, source: Source, version: Arc<Version>) {
        let number = version.number;
        let known = self.known.entry(number).or_default();
        known.failed = None;
        if let Some((_, old)) = known.served.replace((source, version)) {
            self.leaving.push((number, Arc::downgrade(&old)));
        }
    }

    /// Notes that a version could not be loaded.
    pub(super) fn fail(&mut self, source: Source, number: u64, message: String) {
        self.known.entry(number).or_default().failed = Some((source, message));
    }

    /// The error of the highest version that failed.
    pub(super) fn failure(&self) -> Option<&String> {
        self.known.values().rev().find_map(|known| known.failed.as_ref()).map(|(_, message)| message)
    }

    /// Unloads all versions that are not in `wanted`. If `wanted` is empty, they stay: nothing would take their place.
    pub(super) fn retire(&mut self, wanted: &[u64]) {
        if wanted.is_empty() {
            return;
        }
        for (&number, known) in self.known.iter_mut().filter(|(number, _)| !wanted.contains(number)) {
            self.leaving.extend(known.served.take().map(|(_, version)| (number, Arc::downgrade(&version))));
        }
        let is_listed = |number: u64| self.listing.as_ref().is_some_and(|listing| listing.version(number).is_some());
        self.known.retain(|&number, known| known.served.is_some() || (known.failed.is_some() && is_listed(number)));
    }

    /// Whether some versions still finish requests.
    pub(super) fn are_unloading(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Removes the unloading versions whose last request has finished, and gives their numbers.
    pub(super) fn remove_unloaded(&mut self) -> Vec<u64> {
        let (gone, leaving): (Vec<_>, _) =
            std::mem::take(&mut self.leaving).into_iter().partition(|(_, version)| version.strong_count() == 0);
        self.leaving = leaving;
        let gone: Vec<u64> = gone.into_iter().map(|(number, _)| number).collect();
        self.ended.retain(|ended| !gone.contains(ended));
        self.ended.extend(&gone);
        let excess = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..excess);
        gone
    }

    /// All versions with their states, lowest first.
    pub(super) fn statuses(&self) -> Vec<VersionStatus> {
        let mut versions: BTreeMap<u64, VersionStatus> = BTreeMap::new();
        let mut put = |number: u64, state: State, error: Option<&String>, served: Option<&Arc<Version>>| {
            versions.insert(number, VersionStatus { number, state, error: error.cloned(), served: served.cloned() });
        };
        self.ended.iter().for_each(|&number| put(number, State::End, None, None));
        self.leaving.iter().for_each(|&(number, _)| put(number, State::Unloading, None, None));
        for version in self.listed() {
            if let Some(missing) = &version.missing {
                put(version.number, State::Start, Some(&format!("not complete: {missing} is missing")), None);
            }
        }
        self.loading.iter().for_each(|&number| put(number, State::Loading, None, None));
        for (&number, known) in &self.known {
            let error = known.failed.as_ref().map(|(_, error)| error);
            match &known.served {
                Some((_, version)) => put(number, State::Available, error, Some(version)),
                None if error.is_some() && self.loading != Some(number) => put(number, State::End, error, None),
                None => {}
            }
        }
        versions.into_values().collect()
    }
}

impl Known {
    fn serves(&self, uri: &ModelUri) -> bool {
        self.served.as_ref().is_some_and(|((place, _), _)| place == uri)
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
        versions.found(listing(0));
        for shard_bytes in 1..9 {
            versions.found(listing(shard_bytes));
            assert_eq!(versions.wanted(&uri, &VersionPolicy::All), [1], "2 has grown to {shard_bytes} bytes");
            assert!(versions.is_settling(), "the keeper looks again soon");
        }
        versions.found(listing(8));
        assert_eq!(versions.wanted(&uri, &VersionPolicy::All), [2, 1], "2 was the same at two looks");
    }
}
