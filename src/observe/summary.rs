//! What a measurement leaves at its end for the access line and the spans of its request.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tfweb_actors::TraceLink;
use tfweb_engine::Code;

use super::labels::{ProtocolId, SignatureLabels};
use super::stage::{Stage, Timings};

/// What a prediction came to.
pub struct Summary {
    /// The protocol by which it came.
    pub protocol: ProtocolId,
    /// The signature that was called, if it is served.
    pub signature: Option<Arc<SignatureLabels>>,
    /// How it ended; none where all is well.
    pub code: Option<Code>,
    /// Rows it had run.
    pub rows: usize,
    /// How long its stages took.
    pub timings: Timings,
    /// When each stage began; none where it did not come to it.
    pub begun: [Option<Instant>; Stage::ALL.len()],
    /// The runs that served it, where it is traced.
    pub runs: Vec<TraceLink>,
}

impl Summary {
    /// Makes the summary of a request of which nothing is known yet.
    #[must_use]
    pub fn new(protocol: ProtocolId) -> Self {
        let (signature, code, begun, runs) = (None, None, [None; Stage::ALL.len()], Vec::new());
        Self { protocol, signature, code, rows: 0, timings: Timings::default(), begun, runs }
    }

    /// Takes in when and where a part of the request ran.
    pub fn join(&mut self, part: &Self) {
        self.signature = self.signature.take().or_else(|| part.signature.clone());
        for (mine, theirs) in self.begun.iter_mut().zip(part.begun) {
            *mine = mine.iter().copied().chain(theirs).min();
        }
        self.runs.extend(&part.runs);
    }

    /// When a stage began and how long it took; none where it did not come to it.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<(Instant, Duration)> {
        let begun = self.begun[stage as usize]?;
        Some((begun, self.timings.of(stage)))
    }
}

/// Where a measurement leaves its summary for the request's exchange.
#[derive(Default)]
pub struct SummarySlot {
    /// The request's span, where it is traced.
    pub trace: Option<TraceLink>,
    summary: OnceLock<Summary>,
}

impl SummarySlot {
    /// Makes an empty slot for a request with this span.
    pub(super) fn new(trace: Option<TraceLink>) -> Self {
        Self { trace, summary: OnceLock::new() }
    }

    /// Leaves a summary; of several, the first counts.
    pub fn leave(&self, summary: Summary) {
        let _ = self.summary.set(summary);
    }

    pub(super) fn summary(&self) -> Option<&Summary> {
        self.summary.get()
    }
}
