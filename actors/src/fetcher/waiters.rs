//! The requests that wait for fetches, and the turns and the memory that each of them holds.
//!
//! A [`Waiter`] is one request. A [`Wanted`] is one fetch, which many requests may wait for. Both only keep count: `turns` and
//! `memory` decide by these counts.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures::channel::oneshot;

use super::failure::Failure;

/// The things that are given out by turns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Look-ups of host names.
    LookUps,
    /// Connections to origins.
    Fetches,
}

/// The turns of each [`Kind`] that a request or a host has had.
#[derive(Debug, Default)]
pub(super) struct Tally([Turns; 2]);

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many turns it has now.
    pub(super) held: Cell<usize>,
    /// When it came or had its last turn, by a clock that counts turns. 0 before it came.
    pub(super) last: Cell<u64>,
}

impl Tally {
    pub(super) fn of(&self, kind: Kind) -> &Turns {
        &self.0[kind as usize]
    }
}

/// A request that waits for the fetches of its URLs.
#[derive(Debug)]
pub(super) struct Waiter {
    /// By the index of their URLs.
    wanted: RefCell<Vec<Option<Rc<Wanted>>>>,
    pub(super) tally: Tally,
    bytes_max: usize,
    /// Sent once, to fail the request with its URL of that index.
    refusal: RefCell<Option<oneshot::Sender<(usize, Failure)>>>,
}

impl Waiter {
    /// Makes a request with `urls` URLs, whose bodies hold at most `bytes_max` bytes together. The receiver tells why it fails.
    pub(super) fn new(urls: usize, bytes_max: usize) -> (Rc<Self>, oneshot::Receiver<(usize, Failure)>) {
        let (refuse, refused) = oneshot::channel();
        let waiter = Self {
            wanted: RefCell::new(vec![None; urls]),
            tally: Tally::default(),
            bytes_max,
            refusal: RefCell::new(Some(refuse)),
        };
        (Rc::new(waiter), refused)
    }

    /// Notes that this request waits for the fetch of its URL with that index.
    pub(super) fn waits_for(self: &Rc<Self>, index: usize, wanted: &Rc<Wanted>) {
        self.wanted.borrow_mut()[index] = Some(Rc::clone(wanted));
        let mut waiters = wanted.waiters.borrow_mut();
        waiters.retain(|waiter| waiter.strong_count() > 0);
        waiters.push(Rc::downgrade(self));
        drop(waiters);
        self.check(wanted);
    }

    /// Notes that this request waits for nothing more and holds nothing.
    pub(super) fn leave(&self) {
        self.refusal.take();
        self.wanted.take();
    }

    /// The bytes of memory that its fetches hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.sum(|wanted| wanted.held_bytes.get())
    }

    /// Whether one of its fetches still has to wait: for a turn, for an answer or for memory.
    pub(super) fn lacks(&self) -> bool {
        self.wanted.borrow().iter().flatten().any(|wanted| wanted.lacks.get())
    }

    /// Whether it waits for that fetch.
    pub(super) fn wants(&self, wanted: &Rc<Wanted>) -> bool {
        self.wanted.borrow().iter().flatten().any(|other| Rc::ptr_eq(other, wanted))
    }

    /// Whether it was refused and has not left yet.
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.borrow().is_none()
    }

    /// Fails the request: the others have more need of the memory that it holds.
    pub(super) fn give_way(&self) {
        self.refuse(self.index(|wanted| wanted.lacks.get()), Failure::gave_way());
    }

    /// Fails the request if its bodies are too large together, of which `grown` has grown.
    fn check(&self, grown: &Wanted) {
        if self.sum(|wanted| wanted.body_bytes.get()) > self.bytes_max {
            let index = self.index(|wanted| std::ptr::eq(wanted, grown));
            self.refuse(index, Failure::too_large_together(self.bytes_max));
        }
    }

    fn index(&self, of: impl Fn(&Wanted) -> bool) -> usize {
        self.wanted.borrow().iter().position(|wanted| wanted.as_deref().is_some_and(&of)).unwrap_or_default()
    }

    fn refuse(&self, index: usize, failure: Failure) {
        if let Some(refusal) = self.refusal.take() {
            // The send fails if the request has gone. It needs no answer then.
            let _ = refusal.send((index, failure));
        }
    }

    fn sum(&self, bytes: impl Fn(&Wanted) -> usize) -> usize {
        self.wanted.borrow().iter().flatten().map(|wanted| bytes(wanted)).sum()
    }
}

/// A fetch that requests wait for.
#[derive(Debug)]
pub(super) struct Wanted {
    waiters: RefCell<Vec<Weak<Waiter>>>,
    /// The bytes of the body as far as they are known: those that it declares, or those that have come.
    body_bytes: Cell<usize>,
    /// The memory that it holds.
    held_bytes: Cell<usize>,
    /// Whether it has to wait before it can read on.
    lacks: Cell<bool>,
    /// The memory that it waits for.
    needed_bytes: Cell<usize>,
}

impl Wanted {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            waiters: RefCell::default(),
            body_bytes: Cell::new(0),
            held_bytes: Cell::new(0),
            lacks: Cell::new(true),
            needed_bytes: Cell::new(0),
        })
    }

    /// The requests that wait for it.
    pub(super) fn waiters(&self) -> Vec<Rc<Waiter>> {
        self.waiters.borrow().iter().filter_map(Weak::upgrade).filter(|waiter| !waiter.is_refused()).collect()
    }

    /// Notes how large the body is. The requests whose bodies are too large together fail.
    pub(super) fn has_body_of(&self, bytes: usize) {
        if self.body_bytes.replace(bytes) < bytes {
            self.waiters().iter().for_each(|waiter| waiter.check(self));
        }
    }

    /// Notes that it waits for `bytes` bytes of memory.
    pub(super) fn needs(&self, bytes: usize) {
        self.lacks.set(true);
        self.needed_bytes.set(bytes);
    }

    /// The memory that it waits for.
    pub(super) fn needed_bytes(&self) -> usize {
        self.needed_bytes.get()
    }

    /// Notes that it holds `bytes` bytes of memory and can read on, or has read all.
    pub(super) fn holds(&self, bytes: usize) {
        self.held_bytes.set(bytes);
        self.lacks.set(false);
        self.needed_bytes.set(0);
    }

    /// The failure for a wait that took all of its time, which was `limit`.
    pub(super) fn late(&self, limit: Duration) -> Failure {
        if self.needed_bytes.get() > 0 {
            Failure::no_memory(limit)
        } else {
            Failure::timed_out(limit)
        }
    }
}

#[cfg(test)]
#[path = "waiters_tests.rs"]
mod tests;
