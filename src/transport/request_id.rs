//! Request ids: the client's own, or one that the server makes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// The HTTP header and the gRPC metadata key of the id.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// The longest id that the server takes from a client. Longer ones would fill the log.
pub(super) const REQUEST_ID_BYTES_MAX: usize = 128;

/// Makes ids that no other process makes: a random part for the process, and a count.
pub struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds each RandomState anew from the system's randomness.
        Self { process: format!("{:016x}-", RandomState::new().build_hasher().finish()), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// Makes the next id.
    #[must_use]
    pub fn make(&self) -> String {
        let mut count = itoa::Buffer::new();
        let count = count.format(self.next.fetch_add(1, Ordering::Relaxed));
        [self.process.as_str(), count].concat()
    }
}
