//! Counts how fetches end. A fetch counts once, however many requests wait for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The fetch gave the bytes of the body.
    Fetched,
    /// The rules do not allow the URL.
    Refused,
    /// The origin could not be reached, or gave no valid answer.
    Failed,
    /// The body was larger than its limit.
    TooLarge,
    /// The fetch took longer than its limit.
    TimedOut,
    /// The queue was full, or no memory became free in time.
    Overloaded,
    /// No request waited for the fetch any more.
    Cancelled,
}

impl Outcome {
    /// Every outcome, for tables.
    pub const ALL: [Self; 7] =
        [Self::Fetched, Self::Refused, Self::Failed, Self::TooLarge, Self::TimedOut, Self::Overloaded, Self::Cancelled];

    /// The name of the outcome in figures and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The fetches that have ended since the fetcher started, and those under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchObservation {
    /// The number of fetches with each outcome, in the order of [`Outcome::ALL`].
    pub ended: [u64; Outcome::ALL.len()],
    /// The bytes of all fetched bodies, inflated.
    pub bytes: u64,
    /// How many fetches are under way.
    pub in_flight: usize,
    /// How many fetches wait for their turn.
    pub waiting: usize,
}

impl FetchObservation {
    /// How many fetches ended with `outcome`.
    #[must_use]
    pub const fn count(&self, outcome: Outcome) -> u64 {
        self.ended[outcome as usize]
    }
}

/// The counters behind a [`FetchObservation`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    ended: [AtomicU64; Outcome::ALL.len()],
    bytes: AtomicU64,
    pub(super) in_flight: AtomicUsize,
    pub(super) waiting: AtomicUsize,
}

impl Counters {
    /// Counts a fetch that ends.
    pub(super) fn end(&self, outcome: Outcome) {
        self.ended[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the bytes of a fetched body.
    pub(super) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn observe(&self) -> FetchObservation {
        FetchObservation {
            ended: std::array::from_fn(|i| self.ended[i].load(Ordering::Relaxed)),
            bytes: self.bytes.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}
