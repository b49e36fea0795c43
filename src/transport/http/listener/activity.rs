//! The state of a connection. The connection's parts note it, and it tells when the connection may end.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

/// The state of a connection.
pub(super) struct Activity {
    /// The requests that have come and are not answered.
    running: Cell<u32>,
    /// Those of them that wait for bytes of their body.
    awaiting: Cell<u32>,
    /// When the connection last began to wait for its client.
    waits_since: Cell<Instant>,
    has_asked: Cell<bool>,
    is_full: Cell<bool>,
    is_old: Cell<bool>,
    is_stopping: Cell<bool>,
}

impl Activity {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            running: Cell::default(),
            awaiting: Cell::default(),
            waits_since: Cell::new(Instant::now()),
            has_asked: Cell::default(),
            is_full: Cell::default(),
            is_old: Cell::default(),
            is_stopping: Cell::default(),
        })
    }

    /// Notes a request until its answer is sent or dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Running {
        self.running.set(self.running.get() + 1);
        self.has_asked.set(true);
        Running(Rc::clone(self))
    }

    /// Notes a request that waits for bytes of its body, until it has them.
    pub(super) fn await_body(self: &Rc<Self>) -> Awaiting {
        self.awaiting.set(self.awaiting.get() + 1);
        self.waits_since.set(Instant::now());
        Awaiting(Rc::clone(self))
    }

    /// Whether a request has come.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.get()
    }

    /// Whether it has neither a request nor bytes that wait until the client reads.
    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0 && !self.is_full.get()
    }

    /// Since when it has neither.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.is_idle().then(|| self.waits_since.get())
    }

    /// Since when it waits for its client; `None` while the server works for it or sends an answer.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        (self.running.get() == self.awaiting.get() && !self.is_full.get()).then(|| self.waits_since.get())
    }

    /// Notes whether bytes wait until the client reads.
    pub(super) fn set_full(&self, is_full: bool) {
        self.is_full.set(is_full);
    }

    /// Whether the connection should end after its next answer, because it is old.
    pub(super) fn is_old(&self) -> bool {
        self.is_old.get()
    }

    /// Notes that the connection is old.
    pub(super) fn set_old(&self) {
        self.is_old.set(true);
    }

    /// Whether the server stops.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Notes that the server stops.
    pub(super) fn set_stopping(&self) {
        self.is_stopping.set(true);
    }
}

/// A request that is not answered yet.
pub(super) struct Running(Rc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.waits_since.set(Instant::now());
    }
}

/// A request that waits for bytes of its body.
pub(super) struct Awaiting(Rc<Activity>);

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.awaiting.set(self.0.awaiting.get() - 1);
    }
}
