//! The policy of the fetcher: the URLs that it may fetch, and the limits of time, number and memory.

use std::sync::Arc;
use std::time::Duration;

use super::dial::Resolve;
use super::rules::Rules;

/// The URLs that may be fetched, and the limits of fetching.
#[derive(Clone, Debug)]
pub struct FetchPolicy {
    /// Which URLs may be fetched.
    pub rules: Rules,
    /// The most bytes of one body, inflated.
    pub body_bytes_max: usize,
    /// The most time for one fetch, with the wait for its turn.
    pub timeout: Duration,
    /// The most fetches under way, at least 1. One host gets a quarter of them.
    pub fetches_max: usize,
    /// The most fetches that wait for their turn.
    pub queue_max: usize,
    /// The most bytes of fetched bodies in memory, with those of requests that run; at least the bytes of one body. One host gets a
    /// quarter of them, and so does one request.
    pub memory_bytes_max: usize,
    /// Finds the addresses of host names.
    pub resolver: Arc<dyn Resolve>,
}
