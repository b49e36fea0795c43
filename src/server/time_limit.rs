//! Keeps the time limit of a stop, whatever holds it. Every part of a stop has its own limit of time, but a thread that blocks keeps
//! none: its timers do not run.

use std::io;
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The thread that keeps a limit of time. It ends when this is dropped.
pub(super) struct TimeLimit {
    _held: Sender<()>,
    _thread: JoinHandle<()>,
}

impl TimeLimit {
    /// Runs `late` on a thread of its own at `limit`, unless this is dropped before.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn start(limit: Instant, late: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (held, dropped) = channel();
        let wait = move || {
            if dropped.recv_timeout(limit.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
                late();
            }
        };
        Ok(Self { _held: held, _thread: thread::Builder::new().name("tfweb-stop".into()).spawn(wait)? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stop_that_is_held_ends_at_its_limit() {
        let (ends, ended) = channel();
        let limit = TimeLimit::start(Instant::now(), move || ends.send(()).unwrap()).unwrap();
        // This thread stands for one that something holds.
        ended.recv().expect("another thread ends the process");
        drop(limit);
    }

    #[test]
    fn a_stop_that_has_ended_is_not_ended_again() {
        let limit = TimeLimit::start(Instant::now() + Duration::from_secs(1 << 30), || panic!("it is over"));
        let TimeLimit { _held: held, _thread: thread } = limit.unwrap();
        drop(held);
        thread.join().expect("it ends, and does nothing");
    }
}
