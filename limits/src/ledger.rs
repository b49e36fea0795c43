//! The ledger of the memory that requests hold: what arrives, what it becomes, and answers until they are sent.
//!
//! Code that is about to hold memory for a client takes a [`Share`] of the ledger first, and keeps it as long as the memory. A ledger
//! that is full refuses at once. So all clients together hold at most the ledger's limit, whatever they send.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tfweb_engine::{Code, Error};

/// The contents of a share's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Heads of requests.
    Heads,
    /// Bodies and messages, as they arrive and inflated.
    Received,
    /// Tensors and messages that were decoded, and what decoding needs meanwhile.
    Decoded,
    /// Bodies fetched from URLs.
    Fetched,
    /// Answers that are not sent yet.
    Answers,
}

impl Holding {
    /// All of them, in the order of a request's way.
    pub const ALL: [Self; 5] = [Self::Heads, Self::Received, Self::Decoded, Self::Fetched, Self::Answers];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heads => "heads",
            Self::Received => "received",
            Self::Decoded => "decoded",
            Self::Fetched => "fetched",
            Self::Answers => "answers",
        }
    }
}

/// The bytes by which heads may pass the limit. A full ledger still has room for a request that asks for nothing more, such as a
/// probe.
const HEADS_MORE: usize = 64 << 20;

/// Counts the bytes that all requests hold against one limit.
#[derive(Debug)]
pub struct Ledger {
    bytes: AtomicUsize,
    bytes_max: usize,
    holdings: [Counts; Holding::ALL.len()],
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    shares: AtomicUsize,
}

/// The ledger has no room for the bytes that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// The bytes that were asked for.
    pub asked: usize,
    /// The bytes that are held.
    pub held: usize,
    /// The limit.
    pub bytes_max: usize,
}

impl NoRoom {
    /// The error for a request that has no room.
    #[must_use]
    pub fn error(self) -> Error {
        let Self { asked, held, bytes_max } = self;
        let text = format!(
            "the server has no room for {asked} bytes more of this request: it holds {held} of {bytes_max} bytes for all; retry \
             after 1 s"
        );
        Error::new(Code::Unavailable, text)
    }
}

impl Ledger {
    /// Makes an empty ledger for at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max, holdings: Default::default() })
    }

    /// The most bytes that are held at once.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The bytes that are held.
    #[must_use]
    pub fn bytes(&self, holding: Holding) -> usize {
        self.counts(holding).bytes.load(Ordering::Relaxed)
    }

    /// How many shares there are.
    #[must_use]
    pub fn shares(&self, holding: Holding) -> usize {
        self.counts(holding).shares.load(Ordering::Relaxed)
    }

    /// Takes a share of `bytes` bytes.
    ///
    /// # Errors
    /// [`NoRoom`] if the bytes would pass the limit. They are not counted then.
    pub fn take(self: &Arc<Self>, holding: Holding, bytes: usize) -> Result<Share, NoRoom> {
        let mut share = self.empty(holding);
        share.grow(bytes)?;
        Ok(share)
    }

    /// Takes a share of no bytes, which may grow.
    pub fn empty(self: &Arc<Self>, holding: Holding) -> Share {
        self.counts(holding).shares.fetch_add(1, Ordering::Relaxed);
        Share { ledger: Arc::clone(self), holding, bytes: 0 }
    }

    fn counts(&self, holding: Holding) -> &Counts {
        &self.holdings[holding as usize]
    }
}

/// A part of the ledger. Its drop gives the bytes back.
#[derive(Debug)]
#[must_use = "the bytes are given back when the share is dropped"]
pub struct Share {
    ledger: Arc<Ledger>,
    holding: Holding,
    bytes: usize,
}

impl Share {
    /// The bytes of this share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`NoRoom`] if the bytes would pass the limit. The share stays as it was then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if bytes == 0 {
            return Ok(());
        }
        // Two callers cannot take the last room together, because each counts itself before it compares.
        let held = self.ledger.bytes.fetch_add(bytes, Ordering::Relaxed);
        let bytes_max = self.ledger.bytes_max.saturating_add(if self.holding == Holding::Heads { HEADS_MORE } else { 0 });
        if held.checked_add(bytes).is_none_or(|sum| sum > bytes_max) {
            self.ledger.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(NoRoom { asked: bytes, held, bytes_max });
        }
        self.counts().bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back all but `bytes`. A share that has less stays as it is.
    pub fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.counts().bytes.fetch_sub(back, Ordering::Relaxed);
        self.ledger.bytes.fetch_sub(back, Ordering::Relaxed);
        self.bytes -= back;
    }

    fn counts(&self) -> &Counts {
        self.ledger.counts(self.holding)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
        self.counts().shares.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_count_against_one_limit() {
        let ledger = Ledger::new(100);
        let received = ledger.take(Holding::Received, 60).unwrap();
        let mut answer = ledger.take(Holding::Answers, 40).unwrap();
        assert_eq!(ledger.take(Holding::Decoded, 1).unwrap_err(), NoRoom { asked: 1, held: 100, bytes_max: 100 });
        assert_eq!(
            answer.grow(usize::MAX).unwrap_err(),
            NoRoom { asked: usize::MAX, held: 100, bytes_max: 100 },
            "no sum overflows"
        );
        assert_eq!(Holding::ALL.map(|holding| ledger.bytes(holding)), [0, 60, 0, 0, 40]);
        assert_eq!(Holding::ALL.map(|holding| ledger.shares(holding)), [0, 1, 0, 0, 1], "what was refused is not counted");
        drop(received);
        answer.grow(60).unwrap();
        assert_eq!((answer.bytes(), ledger.bytes(Holding::Answers)), (100, 100));
    }

    #[test]
    fn a_full_ledger_has_room_for_heads() {
        let ledger = Ledger::new(100);
        let _received = ledger.take(Holding::Received, 100).unwrap();
        let head = ledger.take(Holding::Heads, 1 << 20).unwrap();
        drop(head);
        let _heads = ledger.take(Holding::Heads, HEADS_MORE).unwrap();
        let bytes_max = 100 + HEADS_MORE;
        assert_eq!(ledger.take(Holding::Heads, 1).unwrap_err(), NoRoom { asked: 1, held: bytes_max, bytes_max });
    }

    #[test]
    fn figures_name_what_a_ledger_holds() {
        assert_eq!(Holding::ALL.map(Holding::name), ["heads", "received", "decoded", "fetched", "answers"]);
        assert_eq!(Ledger::new(100).bytes_max(), 100);
    }

    #[test]
    fn what_a_share_gives_back_is_free() {
        let ledger = Ledger::new(100);
        let mut decoded = ledger.take(Holding::Decoded, 100).unwrap();
        decoded.shrink_to(100);
        decoded.shrink_to(30);
        decoded.shrink_to(50);
        assert_eq!((decoded.bytes(), ledger.bytes(Holding::Decoded)), (30, 30));
        let mut empty = ledger.empty(Holding::Fetched);
        assert!(empty.grow(71).is_err());
        empty.grow(70).unwrap();
        drop((decoded, empty));
        assert_eq!(Holding::ALL.map(|holding| (ledger.bytes(holding), ledger.shares(holding))), [(0, 0); 5]);
        assert!(ledger.take(Holding::Received, 101).is_err(), "nor does one alone pass the limit");
    }
}
