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
    /// The most time that a request waits for one fetch: for its turn, its look-up, its memory and its last byte.
    pub timeout: Duration,
    /// The most fetches under way, at least 1. One host gets a quarter of them, and so does one request.
    pub fetches_max: usize,
    /// The most look-ups of host names that fetches wait for, at least 1. One request gets a quarter of them.
    pub look_ups_max: usize,
    /// The most fetches that wait for their turn, and the most that wait for a look-up.
    pub queue_max: usize,
    /// The most bytes of fetched bodies in memory, with those of requests that run; at least the bytes of one body. One host gets a
    /// quarter of them while they are read, and one request gets a quarter.
    pub memory_bytes_max: usize,
    /// Finds the addresses of host names.
    pub resolver: Arc<dyn Resolve>,
}
