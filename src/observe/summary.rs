//! What a request's record tells at its end, and how it gets to the request's visit.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tfweb_actors::TraceLink;
use tfweb_engine::Code;

use crate::catalog::ServableName;
use crate::metrics::Stage;
use crate::predict::Timings;
use crate::record::Protocol;

/// What a prediction came to.
pub struct Facts {
    /// The API it came by.
    pub protocol: Protocol,
    /// What was called, if that is something that is served.
    pub servable: Option<Arc<ServableName>>,
    /// How it ended; none where all is well.
    pub code: Option<Code>,
    /// Rows it had run.
    pub rows: usize,
    /// How long its stages took.
    pub timings: Timings,
    /// When they began, those that did.
    pub begun: [Option<Instant>; Stage::ALL.len()],
    /// The runs that served it, where it is traced.
    pub runs: Vec<TraceLink>,
}

impl Facts {
    /// Makes those of a request of which nothing is known yet.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        let (servable, code, begun, runs) = (None, None, [None; Stage::ALL.len()], Vec::new());
        Self { protocol, servable, code, rows: 0, timings: Timings::default(), begun, runs }
    }

    /// Takes in when and where a part of the request was run.
    pub fn join(&mut self, part: &Self) {
        self.servable = self.servable.take().or_else(|| part.servable.clone());
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

/// Where a record leaves its facts for the request's visit.
#[derive(Default)]
pub struct Handover {
    /// The request's span, where it is traced.
    pub trace: Option<TraceLink>,
    facts: OnceLock<Facts>,
}

impl Handover {
    /// Makes an empty one for a request with this span.
    pub(super) fn new(trace: Option<TraceLink>) -> Self {
        Self { trace, facts: OnceLock::new() }
    }

    /// Leaves them; of several, the first count.
    pub fn tell(&self, facts: Facts) {
        let _ = self.facts.set(facts);
    }

    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.get()
    }
}
