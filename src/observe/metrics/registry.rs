//! The metrics of all served versions, and of the last ones that ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::signature::SignatureMetrics;
use crate::observe::labels::{ProtocolNames, SignatureLabels};

/// The most ended versions whose metrics are kept. If a counter vanished at once, a scraper would miss its last increments.
const ENDED_MAX: usize = 8;

/// The labels and the metrics of a signature, as a measurement needs them.
#[derive(Clone)]
pub struct SignatureMeter {
    /// Its full name.
    pub labels: Arc<SignatureLabels>,
    /// Its metrics.
    pub metrics: Arc<SignatureMetrics>,
}

/// The metrics of one version. A version that is loaded again goes on with the same ones.
pub struct VersionMetrics {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub number: u64,
    names: ProtocolNames,
    load_nanos: AtomicU64,
    signatures: Mutex<BTreeMap<String, SignatureMeter>>,
}

impl VersionMetrics {
    /// Sets how long the load took.
    pub fn set_load_time(&self, time: Duration) {
        self.load_nanos.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the load took.
    #[must_use]
    pub fn load_time(&self) -> Duration {
        Duration::from_nanos(self.load_nanos.load(Ordering::Relaxed))
    }

    /// The meter of a signature. A signature that is new here begins with zeros.
    #[must_use]
    pub fn signature(&self, name: &str) -> SignatureMeter {
        let mut signatures = self.signatures.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = signatures.entry(name.to_owned()).or_insert_with(|| SignatureMeter {
            labels: Arc::new(SignatureLabels { model: self.model.clone(), version: self.number, signature: name.to_owned() }),
            metrics: Arc::new(SignatureMetrics::new(self.names)),
        });
        meter.clone()
    }

    /// The meters of all signatures, by name.
    #[must_use]
    pub fn signatures(&self) -> BTreeMap<String, SignatureMeter> {
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The metrics of all versions.
pub struct Registry {
    names: ProtocolNames,
    versions: Mutex<Vec<Arc<VersionMetrics>>>,
}

impl Registry {
    /// Makes an empty registry for requests of these protocols.
    #[must_use]
    pub fn new(names: ProtocolNames) -> Self {
        Self { names, versions: Mutex::default() }
    }

    /// The metrics of a version that will be served: its earlier ones, or new ones. A version has ended when only the registry
    /// holds its metrics.
    pub fn version(&self, model: &str, number: u64) -> Arc<VersionMetrics> {
        let mut all = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| known.model == model && known.number == number) {
            return Arc::clone(known);
        }
        let has_ended = |known: &Arc<VersionMetrics>| Arc::strong_count(known) == 1;
        let mut too_many = all.iter().filter(|known| has_ended(known)).count().saturating_sub(ENDED_MAX);
        all.retain(|known| {
            let goes = too_many > 0 && has_ended(known);
            too_many -= usize::from(goes);
            !goes
        });
        let (load_nanos, signatures) = (AtomicU64::new(0), Mutex::default());
        let metrics = Arc::new(VersionMetrics { model: model.to_owned(), number, names: self.names, load_nanos, signatures });
        all.push(Arc::clone(&metrics));
        metrics
    }

    /// All versions, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<VersionMetrics>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_versions_that_ended_the_last_are_kept() {
        let registry = Registry::new(&[]);
        let served = registry.version("m", 0);
        (1..=20).for_each(|number| drop(registry.version("m", number)));
        let kept: Vec<u64> = registry.all().iter().map(|version| version.number).collect();
        // When version 20 is registered, versions 1 to 19 have ended, and the last eight of them stay.
        assert_eq!(kept, [0, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert!(Arc::ptr_eq(&served, &registry.version("m", 0)), "a version that is loaded again goes on counting");
        assert!(!Arc::ptr_eq(&served, &registry.version("n", 0)));
    }
}
