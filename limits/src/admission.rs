//! Admission: how much may be inside at once. A [`Permit`] is taken before anything is queued and lives until the request is
//! answered or dropped, so that a full house says so at once and nothing piles up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Counts what is inside against two limits. Shared by those who admit.
#[derive(Debug)]
pub struct Admission {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    requests_max: usize,
    bytes_max: usize,
}

/// Why something was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// So many requests are inside, which is the limit.
    Requests(usize),
    /// So many bytes are inside, and the limit.
    Bytes(usize, usize),
}

impl Admission {
    /// Makes an empty house for at most so many requests holding so many bytes together.
    #[must_use]
    pub fn new(requests_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0), requests_max, bytes_max })
    }

    /// How many requests are inside.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Admits one request of `bytes`. One alone is admitted whatever its size: its own door has a limit for that.
    ///
    /// # Errors
    /// [`Full`] with what is inside; nothing is counted then.
    pub fn try_acquire(self: &Arc<Self>, bytes: usize) -> Result<Permit, Full> {
        // Counted first and taken back if too many: the permit's drop takes it back.
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

/// The right to be inside; dropped, its place is free.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Permit {
    /// Admits so many bytes more for the same request, as they come in.
    ///
    /// # Errors
    /// [`Full`] where they would pass the limit; nothing is counted then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let before = self.admission.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before > self.bytes && before.saturating_add(bytes) > self.admission.bytes_max {
            self.admission.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Full::Bytes(before, self.admission.bytes_max));
        }
        self.bytes += bytes;
        Ok(())
    }
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
    fn a_full_house_admits_again_after_a_drop() {
        let admission = Admission::new(2, 1000);
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

    #[test]
    fn growth_counts_against_the_others() {
        let admission = Admission::new(10, 100);
        let mut first = admission.try_acquire(0).unwrap();
        first.grow(500).unwrap();
        let mut second = admission.try_acquire(0).unwrap_err();
        assert_eq!(second, Full::Bytes(500, 100));
        drop(first);
        let mut third = admission.try_acquire(60).unwrap();
        let _fourth = admission.try_acquire(30).unwrap();
        second = third.grow(20).unwrap_err();
        assert_eq!(second, Full::Bytes(90, 100));
        third.grow(10).unwrap();
    }
}
