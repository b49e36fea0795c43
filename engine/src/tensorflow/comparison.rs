//! Lets comparisons of run times take turns. Models load side by side, and two comparisons at once would measure each other.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest wait for a turn: as long as two comparisons. A model whose runs take long holds up no other.
const WAIT_MAX: Duration = Duration::from_millis(200);

static TURNS: Turns = Turns::new();

struct Turns {
    is_taken: Mutex<bool>,
    ended: Condvar,
}

/// The turn of one comparison. It ends when this is dropped.
pub(super) struct Turn<'t> {
    /// `None` if the wait was too long. Then the comparison runs beside another one.
    taken: Option<&'t Turns>,
}

/// Waits for a turn.
pub(super) fn turn() -> Turn<'static> {
    TURNS.take(WAIT_MAX)
}

impl Turns {
    const fn new() -> Self {
        Self { is_taken: Mutex::new(false), ended: Condvar::new() }
    }

    fn take(&self, wait_max: Duration) -> Turn<'_> {
        let waited = self.ended.wait_timeout_while(self.lock(), wait_max, |is_taken| *is_taken);
        let (mut is_taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_ours = !mem::replace(&mut *is_taken, true);
        Turn { taken: is_ours.then_some(self) }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(turns) = self.taken {
            *turns.lock() = false;
            turns.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_comparison_waits_for_the_one_before_it() {
        let turns = Turns::new();
        let first = turns.take(Duration::MAX);
        thread::scope(|scope| {
            let (ended, order) = mpsc::channel();
            let second = {
                let (turns, ended) = (&turns, ended.clone());
                move || {
                    let turn = turns.take(Duration::MAX);
                    ended.send("second").expect("the test waits");
                    drop(turn);
                }
            };
            scope.spawn(second);
            ended.send("first").expect("the test waits");
            drop(first);
            assert_eq!([order.recv(), order.recv()], [Ok("first"), Ok("second")]);
        });
    }

    #[test]
    fn a_comparison_that_takes_long_holds_up_no_other() {
        let turns = Turns::new();
        let slow = turns.take(Duration::MAX);
        let beside = turns.take(Duration::ZERO);
        assert!(slow.taken.is_some() && beside.taken.is_none());
        drop(beside);
        assert!(*turns.lock(), "the turn is still that of the first");
        drop(slow);
        assert!(turns.take(Duration::ZERO).taken.is_some());
    }
}
