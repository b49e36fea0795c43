//! Whether threads move: run threads by when their runs began, an arbiter's thread by a heartbeat. Stamped with one store each,
//! and looked at from any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use tfweb_engine::{Error, Session, Signature, Tensor};

/// How often an arbiter shows that it moves.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// The stamp of a thread that is in no run.
const IDLE: u64 = 0;

/// What the run threads of one session are at.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    /// When each thread's run began, in milliseconds after `start`, and one more so that none is [`IDLE`].
    running_since: Vec<AtomicU64>,
    is_asked: AtomicBool,
}

impl Progress {
    pub(crate) fn new(run_threads: usize) -> Self {
        let running_since = (0..run_threads).map(|_| AtomicU64::new(IDLE)).collect();
        Self { start: Instant::now(), running_since, is_asked: AtomicBool::new(false) }
    }

    /// Notes whether there are requests for which no thread is free.
    pub(crate) fn set_asked(&self, is_asked: bool) {
        self.is_asked.store(is_asked, Ordering::Relaxed);
    }

    /// For how long no thread has been free, though requests have come that need one.
    pub(crate) fn stuck_for(&self) -> Option<Duration> {
        let since = |stamp: &AtomicU64| match stamp.load(Ordering::Relaxed) {
            IDLE => None,
            began => Some(self.start.elapsed().saturating_sub(Duration::from_millis(began - 1))),
        };
        // The run that began last must be old: any other that ends shows that threads move.
        let newest =
            self.running_since.iter().map(since).try_fold(Duration::MAX, |least, since| since.map(|since| since.min(least)));
        newest.filter(|_| self.is_asked.load(Ordering::Relaxed))
    }

    fn stamp(&self, thread: usize, stamp: u64) {
        self.running_since[thread].store(stamp, Ordering::Relaxed);
    }
}

/// A session that notes when runs begin and end, for one thread.
pub(crate) struct Watched<'a> {
    pub(crate) session: &'a dyn Session,
    pub(crate) progress: &'a Progress,
    pub(crate) thread: usize,
}

impl Session for Watched<'_> {
    fn signatures(&self) -> &[Signature] {
        self.session.signatures()
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        let now = u64::try_from(self.progress.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.progress.stamp(self.thread, now + 1);
        let _running = Running(self);
        self.session.run(signature, requests)
    }

    fn warning(&self, signature: usize) -> Option<&str> {
        self.session.warning(signature)
    }
}

/// Ends with the run, also with one that panics.
struct Running<'a>(&'a Watched<'a>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.progress.stamp(self.0.thread, IDLE);
    }
}

/// Shows whether an arbiter's thread moves: it stamps this every second.
#[derive(Debug)]
pub struct Heartbeat {
    start: Instant,
    /// Of the last stamp, in milliseconds after `start`.
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Starts it in `arbiter`. Dropped, it ends.
    #[must_use]
    pub fn start(arbiter: &ArbiterHandle) -> Self {
        let (start, last) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let stamps = Arc::downgrade(&last);
        arbiter.spawn(async move {
            while let Some(last) = stamps.upgrade() {
                last.store(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                drop(last);
                tokio::time::sleep(BEAT_EVERY).await;
            }
        });
        Self { start, last }
    }

    /// How long ago it was last stamped.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}
