//! Request ids: the client's own, or one that the server makes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// The HTTP header and the gRPC metadata key of the id.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// The longest id that the server takes from a client. Longer ones would fill the log.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Whether the server takes this id from a client. An empty one tells no request from another.
pub(super) fn is_taken(id: &[u8]) -> bool {
    !id.trim_ascii().is_empty() && id.len() <= REQUEST_ID_BYTES_MAX
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_empty_or_long_are_not_taken() {
        let [most, more] = [REQUEST_ID_BYTES_MAX, REQUEST_ID_BYTES_MAX + 1].map(|bytes| vec![b'i'; bytes]);
        let taken = [&b"a"[..], b" a ", &most, b"", b" ", b" \t ", &more].map(is_taken);
        assert_eq!(taken, [true, true, true, false, false, false, false]);
    }
}
