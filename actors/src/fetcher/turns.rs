//! Turns: gives out a limited number of look-ups, or of fetches, fairly.
//!
//! One request gets at most a quarter of the turns, and so does one host. So a request to slow hosts leaves turns for others. A turn
//! that is free goes round the requests that wait, and within a request round its hosts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use futures::channel::oneshot;

use super::counters::Counters;
use super::failure::Failure;
use super::hosts::Host;
use super::waiters::{Kind, Waiter, Wanted};

/// One host, or one request, gets the whole divided by this number.
pub(super) const SHARE: usize = 4;

/// Gives out the turns of one kind.
pub(super) struct Turns {
    kind: Kind,
    free: Cell<usize>,
    /// The most turns of one request, and of one host.
    each_max: usize,
    waiting: RefCell<Vec<Waiting>>,
    waiting_max: usize,
    /// Counts the turns that were given and the requests that came.
    clock: Cell<u64>,
    counters: Arc<Counters>,
}

/// A fetch that waits for a turn. Those that came first are first.
struct Waiting {
    wanted: Rc<Wanted>,
    host: Rc<Host>,
    start: oneshot::Sender<Turn>,
}

/// The right to look up a name or to fetch. Its drop gives the turn to the next.
pub(super) struct Turn {
    turns: Rc<Turns>,
    /// The request whose turn it is, among those that wait for the fetch.
    waiter: Rc<Waiter>,
    host: Rc<Host>,
    _in_flight: Option<Counted>,
}

impl Turns {
    /// Makes `turns` free turns, for which at most `waiting_max` fetches wait.
    pub(super) fn new(kind: Kind, turns: usize, waiting_max: usize, counters: &Arc<Counters>) -> Rc<Self> {
        Rc::new(Self {
            kind,
            free: Cell::new(turns),
            each_max: turns.div_ceil(SHARE),
            waiting: RefCell::default(),
            waiting_max,
            clock: Cell::new(0),
            counters: Arc::clone(counters),
        })
    }

    /// Waits for a turn of a request that wants the fetch.
    ///
    /// # Errors
    /// `Unavailable` if `waiting_max` fetches wait already.
    ///
    /// # Cancel safety
    /// A dropped future takes no turn.
    pub(super) async fn take(self: &Rc<Self>, wanted: &Rc<Wanted>, host: &Rc<Host>) -> Result<Turn, Failure> {
        let (start, mut started) = oneshot::channel();
        self.waiting.borrow_mut().push(Waiting { wanted: Rc::clone(wanted), host: Rc::clone(host), start });
        self.give();
        if let Ok(Some(turn)) = started.try_recv() {
            return Ok(turn);
        }
        if self.waiting.borrow().len() > self.waiting_max {
            return Err(Failure::queue_full(self.waiting_max));
        }
        let _waiting = Counted::new(&self.counters, |counters| &counters.waiting);
        Ok(started.await.expect("who waits is given a turn; this is a bug"))
    }

    /// Gives free turns to the fetches that wait.
    fn give(self: &Rc<Self>) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|waiting| !waiting.start.is_canceled());
            let Some((at, waiter)) = self.next(&waiting) else { return };
            let Waiting { host, start, .. } = waiting.remove(at);
            drop(waiting);
            // It is not cancelled. If it were, the drop of the turn would give it on.
            let _ = start.send(Turn::new(self, waiter, host));
        }
    }

    /// Chooses the fetch whose request, and then whose host, had its last turn longest ago.
    fn next(&self, waiting: &[Waiting]) -> Option<(usize, Rc<Waiter>)> {
        if self.free.get() == 0 {
            return None;
        }
        let mut best: Option<((u64, u64), usize, Rc<Waiter>)> = None;
        for (at, Waiting { wanted, host, .. }) in waiting.iter().enumerate() {
            let of_host = host.tally.of(self.kind);
            if of_host.held.get() >= self.each_max {
                continue;
            }
            for waiter in wanted.waiters() {
                let of_waiter = waiter.tally.of(self.kind);
                if of_waiter.last.get() == 0 {
                    of_waiter.last.set(self.tick());
                }
                let since = (of_waiter.last.get(), of_host.last.get());
                if of_waiter.held.get() < self.each_max && best.as_ref().is_none_or(|(best, ..)| since < *best) {
                    best = Some((since, at, waiter));
                }
            }
        }
        best.map(|(_, at, waiter)| (at, waiter))
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

impl Turn {
    fn new(turns: &Rc<Turns>, waiter: Rc<Waiter>, host: Rc<Host>) -> Self {
        turns.free.set(turns.free.get() - 1);
        let now = turns.tick();
        for tally in [&waiter.tally, &host.tally].map(|tally| tally.of(turns.kind)) {
            tally.held.set(tally.held.get() + 1);
            tally.last.set(now);
        }
        let in_flight = match turns.kind {
            Kind::Fetches => Some(Counted::new(&turns.counters, |counters| &counters.in_flight)),
            Kind::LookUps => None,
        };
        Self { turns: Rc::clone(turns), waiter, host, _in_flight: in_flight }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        for tally in [&self.waiter.tally, &self.host.tally].map(|tally| tally.of(self.turns.kind)) {
            tally.held.set(tally.held.get() - 1);
        }
        self.turns.free.set(self.turns.free.get() + 1);
        self.turns.give();
    }
}

/// Counts one in a gauge until it is dropped.
struct Counted {
    counters: Arc<Counters>,
    gauge: fn(&Counters) -> &AtomicUsize,
}

impl Counted {
    fn new(counters: &Arc<Counters>, gauge: fn(&Counters) -> &AtomicUsize) -> Self {
        gauge(counters).fetch_add(1, Ordering::Relaxed);
        Self { counters: Arc::clone(counters), gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
