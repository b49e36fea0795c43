//! Figures of requests that belong to no signature: those inside now, and those that named nothing that is served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::labels::{ProtocolId, ProtocolNames};
use super::metrics::SignatureMetrics;

/// Where every prediction is counted while it is inside.
pub struct RequestFigures {
    names: ProtocolNames,
    in_flight: Box<[AtomicUsize]>,
    /// Requests that named nothing that is served: what they named becomes no label.
    unknown: Arc<SignatureMetrics>,
}

impl RequestFigures {
    /// Makes figures for these protocols, all 0.
    #[must_use]
    pub fn new(names: ProtocolNames) -> Self {
        Self {
            names,
            in_flight: names.iter().map(|_| AtomicUsize::new(0)).collect(),
            unknown: Arc::new(SignatureMetrics::new(names)),
        }
    }

    /// The protocols.
    #[must_use]
    pub fn names(&self) -> ProtocolNames {
        self.names
    }

    /// Requests that came by a protocol and have no answer yet.
    #[must_use]
    pub fn in_flight(&self, protocol: ProtocolId) -> usize {
        self.in_flight[protocol.index].load(Ordering::Relaxed)
    }

    /// Figures of the requests that named nothing that is served.
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
