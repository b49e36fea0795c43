//! What became of fetches: counted once each, however many requests waited for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its bytes came.
    Fetched,
    /// It was not allowed.
    Refused,
    /// It could not be reached, or gave no good answer.
    Failed,
    /// It was larger than may be.
    TooLarge,
    /// It took longer than may be.
    TimedOut,
    /// There was no place in the queue, or no memory.
    Overloaded,
    /// Nobody waited for it any more.
    Cancelled,
}

impl Outcome {
    /// Every outcome, for tables.
    pub const ALL: [Self; 7] =
        [Self::Fetched, Self::Refused, Self::Failed, Self::TooLarge, Self::TimedOut, Self::Overloaded, Self::Cancelled];

    /// Its name in figures and logs.
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

/// What a fetcher has done since it started, and what it is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchObservation {
    /// Fetches by how they ended, in the order of [`Outcome::ALL`].
    pub ended: [u64; Outcome::ALL.len()],
    /// Bytes of bodies fetched, inflated.
    pub bytes: u64,
    /// Fetches under way.
    pub in_flight: usize,
    /// Fetches that wait for their turn.
    pub waiting: usize,
}

impl FetchObservation {
    /// How many fetches ended so.
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
    pub(super) fn end(&self, outcome: Outcome) {
        self.ended[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

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
