//! The runs of a signature as seen from outside: [`RunObserver`] is told of each, for figures and traces.
//!
//! This crate passes on the spans of requests and runs as [`TraceLink`]s and does not look at them.

use std::time::Instant;

/// Names a recorded span: the id of its trace and its own, as W3C's Trace Context has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceLink {
    /// The trace's id.
    pub trace: [u8; 16],
    /// The span's id.
    pub span: [u8; 8],
}

/// A session run that has ended, well or not.
#[derive(Clone, Copy, Debug)]
pub struct ObservedRun<'a> {
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The rows of all its requests.
    pub rows: usize,
    /// How many requests, or parts of requests, it held.
    pub requests: usize,
    /// The spans of those requests that are traced.
    pub links: &'a [TraceLink],
    /// The code of the error with which it failed.
    pub error: Option<&'static str>,
}

/// Is told of every run of one signature, on the run's own thread and before the requests are answered. So it must be quick.
pub trait RunObserver: Send + Sync {
    /// Takes note of a run that begins with `rows` rows of `requests` requests or parts of requests.
    fn begins(&self, rows: usize, requests: usize);

    /// Takes note of a run that has ended. Gives the run's own span if the observer records one.
    fn ran(&self, run: &ObservedRun<'_>) -> Option<TraceLink>;
}
