//! The summary that a measurement leaves for the access line and the spans of its request.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tfweb_actors::TraceLink;
use tfweb_engine::Code;

use super::labels::{ProtocolId, SignatureLabels};
use super::stage::{Stage, Timings};

/// The summary of a prediction.
pub(super) struct Summary {
    /// The protocol of the request.
    pub(super) protocol: ProtocolId,
    /// The signature that was called; `None` if it is not served.
    pub(super) signature: Option<Arc<SignatureLabels>>,
    /// How the prediction ended; `None` for a success.
    pub(super) code: Option<Code>,
    /// The number of rows that the prediction ran.
    pub(super) rows: usize,
    /// The times of the stages.
    pub(super) timings: Timings,
    /// When each stage began; `None` for a stage that did not happen.
    pub(super) begun: [Option<Instant>; Stage::ALL.len()],
    /// The runs that had rows of this prediction, if it is traced.
    pub(super) runs: Vec<TraceLink>,
}

impl Summary {
    /// Makes an empty summary.
    #[must_use]
    pub(super) fn new(protocol: ProtocolId) -> Self {
        let (signature, code, begun, runs) = (None, None, [None; Stage::ALL.len()], Vec::new());
        Self { protocol, signature, code, rows: 0, timings: Timings::default(), begun, runs }
    }

    /// Adds a part of the request: the earliest start of each stage, and its runs.
    pub(super) fn join(&mut self, part: &Self) {
        self.signature = self.signature.take().or_else(|| part.signature.clone());
        for (mine, theirs) in self.begun.iter_mut().zip(part.begun) {
            *mine = mine.iter().copied().chain(theirs).min();
        }
        self.runs.extend(&part.runs);
    }

    /// When a stage began and how long it took; `None` for a stage that did not happen.
    #[must_use]
    pub(super) fn stage(&self, stage: Stage) -> Option<(Instant, Duration)> {
        let begun = self.begun[stage as usize]?;
        Some((begun, self.timings.of(stage)))
    }
}

/// A slot in which a measurement leaves its summary for the request's exchange.
#[derive(Default)]
pub struct SummarySlot {
    /// The request's span, if it is traced.
    pub trace: Option<TraceLink>,
    summary: OnceLock<Summary>,
}

impl SummarySlot {
    /// Makes an empty slot for a request with this span.
    pub(super) fn new(trace: Option<TraceLink>) -> Self {
        Self { trace, summary: OnceLock::new() }
    }

    /// Puts a summary into the slot. If there are several, the first one counts.
    pub(super) fn set(&self, summary: Summary) {
        let _ = self.summary.set(summary);
    }

    pub(super) fn summary(&self) -> Option<&Summary> {
        self.summary.get()
    }
}
