//! Metrics of requests that belong to no signature: those in flight, and those for something that is not served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::labels::{ProtocolId, ProtocolNames};
use super::metrics::SignatureMetrics;

/// Counts the predictions in flight, and those that match no signature.
pub struct RequestFigures {
    names: ProtocolNames,
    in_flight: Box<[AtomicUsize]>,
    /// Requests for something that is not served. Their names do not become labels, because a client can send any name.
    unknown: Arc<SignatureMetrics>,
}

impl RequestFigures {
    /// Makes metrics for these protocols, all 0.
    #[must_use]
    pub fn new(names: ProtocolNames) -> Self {
        Self {
            names,
            in_flight: names.iter().map(|_| AtomicUsize::new(0)).collect(),
            unknown: Arc::new(SignatureMetrics::new(names)),
        }
    }

    /// The names of the protocols.
    #[must_use]
    pub fn names(&self) -> ProtocolNames {
        self.names
    }

    /// The number of a protocol's requests that have no answer yet.
    #[must_use]
    pub fn in_flight(&self, protocol: ProtocolId) -> usize {
        self.in_flight[protocol.index].load(Ordering::Relaxed)
    }

    /// The metrics of requests for something that is not served.
    #[must_use]
    pub fn unknown(&self) -> &Arc<SignatureMetrics> {
        &self.unknown
    }

    pub(super) fn enter(&self, protocol: ProtocolId) {
        self.in_flight[protocol.index].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self, protocol: ProtocolId) {
        self.in_flight[protocol.index].fetch_sub(1, Ordering::Relaxed);
    }
}
