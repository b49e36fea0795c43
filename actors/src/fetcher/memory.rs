//! The memory of fetched bodies: those that are read, and those whose requests have not run yet.
//!
//! A fetch takes memory before it reads. It waits if none is free. A request that holds memory while one of its fetches has to wait
//! is in the way of others. If they do the same, all wait for each other. So while memory is short for the fetch that waits first,
//! such requests give way: they fail, the largest first. The memory that is left is held by requests that need nothing more. They
//! end, and the first goes on.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tfweb_limits::{Holding, Ledger, Share};
use tokio::sync::Notify;

use super::failure::Failure;
use super::waiters::{Waiter, Wanted};

/// The memory of all fetched bodies.
pub(super) struct Memory {
    /// Counts the fetched bodies against their own limit.
    fetched: Arc<Ledger>,
    /// Counts all that requests hold.
    all: Arc<Ledger>,
    /// Told when memory is given back, and when the first that waits goes.
    changed: Arc<Notify>,
    /// The fetches that wait. Those that came first are first.
    waiting: RefCell<VecDeque<Rc<Wanted>>>,
    waiters: RefCell<Vec<Rc<Waiter>>>,
}

/// Memory for the bytes of one body. Its drop gives it back, on whatever thread.
pub(super) struct Room {
    fetched: Share,
    all: Share,
    changed: Arc<Notify>,
}

/// A request whose fetches may take memory. Its drop takes the request off.
pub(super) struct Admitted {
    memory: Rc<Memory>,
    waiter: Rc<Waiter>,
}

impl Memory {
    /// Makes memory for `bytes_max` bytes, which count into the ledger of all requests too.
    pub(super) fn new(bytes_max: usize, all: Arc<Ledger>) -> Rc<Self> {
        let (fetched, changed) = (Ledger::new(bytes_max), Arc::new(Notify::new()));
        Rc::new(Self { fetched, all, changed, waiting: RefCell::default(), waiters: RefCell::default() })
    }

    /// Makes a request known as one that may hold memory.
    pub(super) fn admit(self: &Rc<Self>, waiter: Rc<Waiter>) -> Admitted {
        self.waiters.borrow_mut().push(Rc::clone(&waiter));
        Admitted { memory: Rc::clone(self), waiter }
    }

    /// Makes room for no bytes, which may grow.
    pub(super) fn room(&self) -> Room {
        Room {
            fetched: self.fetched.empty(Holding::Fetched),
            all: self.all.empty(Holding::Fetched),
            changed: Arc::clone(&self.changed),
        }
    }

    /// Takes `more` bytes for the body of a fetch. Waits until they are free and the fetches that came before have theirs.
    ///
    /// # Errors
    /// `Unavailable` if all requests together hold as many bytes as they may.
    ///
    /// # Cancel safety
    /// A dropped future takes nothing.
    pub(super) async fn grow(&self, room: &mut Room, wanted: &Rc<Wanted>, more: usize) -> Result<(), Failure> {
        if !self.waiting.borrow().is_empty() || room.fetched.grow(more).is_err() {
            wanted.needs(more);
            let _queued = Queued::new(self, wanted);
            loop {
                let changed = self.changed.notified();
                let is_first = self.waiting.borrow().front().is_some_and(|first| Rc::ptr_eq(first, wanted));
                if is_first && room.fetched.grow(more).is_ok() {
                    break;
                }
                self.relieve();
                changed.await;
            }
        }
        if let Err(no_room) = room.all.grow(more) {
            return Err(Failure::ledger_full(no_room));
        }
        wanted.holds(room.bytes());
        Ok(())
    }

    /// Lets requests give way until there is enough memory for the fetch that waits first.
    fn relieve(&self) {
        let waiting = self.waiting.borrow();
        let Some(first) = waiting.front() else { return };
        let waiters = self.waiters.borrow();
        let leaving: usize = waiters.iter().filter(|waiter| waiter.is_refused()).map(|waiter| waiter.held_bytes()).sum();
        let held = self.fetched.bytes(Holding::Fetched).saturating_sub(leaving);
        let mut free = self.fetched.bytes_max().saturating_sub(held);
        let in_the_way = waiters.iter().filter(|waiter| !waiter.is_refused() && waiter.lacks() && waiter.held_bytes() > 0);
        let (own, mut others): (Vec<_>, Vec<_>) = in_the_way.partition(|waiter| waiter.wants(first));
        others.sort_by_key(|waiter| Reverse(waiter.held_bytes()));
        for waiter in others {
            if free >= first.needed_bytes() {
                return;
            }
            free += waiter.held_bytes();
            waiter.give_way();
        }
        // The others end by themselves. Where there are none, the fetch would wait for its own request.
        if own.iter().map(|waiter| waiter.held_bytes()).sum::<usize>() >= held && free < first.needed_bytes() {
            own.iter().for_each(|waiter| waiter.give_way());
        }
    }
}

impl Room {
    pub(super) fn bytes(&self) -> usize {
        self.fetched.bytes()
    }

    /// Keeps the memory that a body of `bytes` bytes needs, and gives the rest back.
    pub(super) fn settle(&mut self, bytes: usize) {
        self.fetched.shrink_to(bytes);
        self.all.shrink_to(bytes);
        self.changed.notify_waiters();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.settle(0);
    }
}

impl Admitted {
    /// Notes that the request waits for the fetch of its URL with that index.
    pub(super) fn waits_for(&self, index: usize, wanted: &Rc<Wanted>) {
        self.waiter.waits_for(index, wanted);
        self.memory.relieve();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.waiter.leave();
        self.memory.waiters.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        self.memory.changed.notify_waiters();
    }
}

/// The place of a fetch among those that wait, until it is dropped.
struct Queued<'a> {
    memory: &'a Memory,
    wanted: &'a Rc<Wanted>,
}

impl<'a> Queued<'a> {
    fn new(memory: &'a Memory, wanted: &'a Rc<Wanted>) -> Self {
        memory.waiting.borrow_mut().push_back(Rc::clone(wanted));
        Self { memory, wanted }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.memory.waiting.borrow_mut().retain(|wanted| !Rc::ptr_eq(wanted, self.wanted));
        self.memory.changed.notify_waiters();
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
