//! What ties a request's trace to the runs that served it. Links are passed on here and not looked at: what is made of them is
//! the business of whoever traces.

use std::time::Instant;

/// Names a span that is recorded: its trace's id and its own, as W3C's Trace Context has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceLink {
    /// The trace's id.
    pub trace: [u8; 16],
    /// The span's id.
    pub span: [u8; 8],
}

/// A session run of which at least one request is traced.
#[derive(Clone, Copy, Debug)]
pub struct TracedRun<'a> {
    /// What was run.
    pub signature: &'a str,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Rows of all its requests.
    pub rows: usize,
    /// How many requests, or parts of them, it had.
    pub requests: usize,
    /// Those of them that are traced.
    pub links: &'a [TraceLink],
    /// The code's name where it failed.
    pub error: Option<&'static str>,
}

/// Is told on a run's own thread, before its requests are answered, so that it should be quick.
pub trait RunTracer: Send + Sync {
    /// Records a run; gives its own link.
    fn record(&self, run: &TracedRun<'_>) -> TraceLink;
}
