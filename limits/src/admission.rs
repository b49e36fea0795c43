//! Admission: the number of requests, and of bytes, that may be inside at once.
//!
//! A caller takes a [`Permit`] before it queues anything and holds it until the request is answered or dropped. A ledger that is
//! full refuses at once, so nothing piles up behind it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Counts requests and bytes against a limit of each. The callers that admit share it.
#[derive(Debug)]
pub struct Admission {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    requests_max: usize,
    bytes_max: usize,
}

/// The limit that a request would have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many requests as the limit allows are inside.
    Requests(usize),
    /// The bytes inside, and the limit for bytes.
    Bytes(usize, usize),
}

impl Admission {
    /// Makes an empty ledger that admits at most `requests_max` requests, which hold at most `bytes_max` bytes together.
    #[must_use]
    pub fn new(requests_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0), requests_max, bytes_max })
    }

    /// How many requests are inside.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Admits one request of `bytes` bytes. A request that is alone passes whatever its size: its port limits the size of one body.
    ///
    /// # Errors
    /// [`Full`] with the limit that the request would pass. The request is not counted then.
    pub fn try_acquire(self: &Arc<Self>, bytes: usize) -> Result<Permit, Full> {
        // Two callers cannot take the last place together, because each counts itself before it compares. On refusal the drop of
        // the permit takes the count back.
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let permit = Permit { admission: Arc::clone(self), bytes };
        if requests >= self.requests_max {
            return Err(Full::Requests(self.requests_max));
        }
        if before > 0 && before.saturating_add(bytes) > self.bytes_max {
            return Err(Full::Bytes(before, self.bytes_max));
        }
        Ok(permit)
    }
}

/// The place and the bytes of one request inside. Its drop gives both back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ledger_admits_again_after_a_drop() {
        let admission = Admission::new(2, 1000);
        assert_eq!(admission.requests(), 0);
        let first = admission.try_acquire(1).unwrap();
        let _second = admission.try_acquire(1).unwrap();
        assert_eq!(admission.try_acquire(1).unwrap_err(), Full::Requests(2));
        drop(first);
        assert_eq!(admission.requests(), 1, "the refused one is not counted");
        admission.try_acquire(1).unwrap();
    }

    #[test]
    fn bytes_count_together_but_one_alone_passes() {
        let admission = Admission::new(10, 100);
        let large = admission.try_acquire(5000).unwrap();
        assert_eq!(admission.try_acquire(1).unwrap_err(), Full::Bytes(5000, 100));
        drop(large);
        let _half = admission.try_acquire(50).unwrap();
        let _rest = admission.try_acquire(50).unwrap();
        assert_eq!(admission.try_acquire(1).unwrap_err(), Full::Bytes(100, 100));
    }
}
