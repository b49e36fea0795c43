//! A session whose runs can be held, so that requests gather behind it, and that records the rows of every run.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tfweb_engine::{Error, Rows, Session, Signature, Tensor};

use crate::support::until;

/// Another session behind a gate.
pub(crate) struct Gated {
    inner: Arc<dyn Session>,
    /// Whether the gate hides what the session knows of its rows.
    hides_rows: bool,
    held: Mutex<bool>,
    released: Condvar,
    run_rows: Mutex<Vec<usize>>,
}

impl Gated {
    /// A gate that hides what the session knows of its rows, so that all signatures with rows share runs.
    pub(crate) fn new(inner: Arc<dyn Session>) -> Arc<Self> {
        Self::hiding(inner, true)
    }

    /// A gate that says what the session knows of its rows.
    pub(crate) fn judged(inner: Arc<dyn Session>) -> Arc<Self> {
        Self::hiding(inner, false)
    }

    fn hiding(inner: Arc<dyn Session>, hides_rows: bool) -> Arc<Self> {
        Arc::new(Self { inner, hides_rows, held: Mutex::new(false), released: Condvar::new(), run_rows: Mutex::new(Vec::new()) })
    }

    /// Makes every run wait at its start until [`Gated::release`].
    pub(crate) fn hold(&self) {
        *lock(&self.held) = true;
    }

    /// Lets waiting and later runs go on.
    pub(crate) fn release(&self) {
        *lock(&self.held) = false;
        self.released.notify_all();
    }

    /// The rows of every run begun so far, in order.
    pub(crate) fn run_rows(&self) -> Vec<usize> {
        lock(&self.run_rows).clone()
    }

    /// Waits until `count` runs have begun.
    #[track_caller]
    pub(crate) fn until_runs(&self, count: usize) {
        until(&format!("{count} runs have begun"), || lock(&self.run_rows).len() >= count);
    }
}

impl Session for Gated {
    fn signatures(&self) -> &[Signature] {
        self.inner.signatures()
    }

    fn rows(&self, signature: usize) -> Rows {
        if self.hides_rows {
            Rows::Unproven("hidden".to_owned())
        } else {
            self.inner.rows(signature)
        }
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        self.run_within(signature, requests, Duration::MAX)
    }

    fn run_within(&self, signature: usize, requests: &[&[Tensor]], time: Duration) -> Result<Vec<Tensor>, Error> {
        let rows = requests.iter().map(|request| request[0].rows().unwrap_or(1)).sum();
        lock(&self.run_rows).push(rows);
        drop(self.released.wait_while(lock(&self.held), |held| *held));
        self.inner.run_within(signature, requests, time)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
