//! Tells whether threads still move: run threads by when their runs began, an arbiter's thread by a heartbeat.
//!
//! A thread stamps with one store. Any thread may look.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use tfweb_engine::{Error, Session, Signature, Tensor};

/// How often an arbiter's thread stamps its heartbeat.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// The stamp of a thread that is in no run.
const IDLE: u64 = 0;

/// The run threads of one session: since when each has been in its run.
#[derive(Debug)]
pub(crate) struct RunWatch {
    start: Instant,
    /// When each thread's run began, in milliseconds after `start`, and one more so that none is [`IDLE`].
    running_since: Vec<AtomicU64>,
    /// Whether requests wait for which no thread is free.
    requests_wait: AtomicBool,
}

impl RunWatch {
    pub(crate) fn new(run_threads: usize) -> Self {
        let running_since = (0..run_threads).map(|_| AtomicU64::new(IDLE)).collect();
        Self { start: Instant::now(), running_since, requests_wait: AtomicBool::new(false) }
    }

    /// How many run threads there are.
    pub(crate) fn run_threads(&self) -> usize {
        self.running_since.len()
    }

    /// Notes whether requests wait for which no thread is free.
    pub(crate) fn set_waiting(&self, requests_wait: bool) {
        self.requests_wait.store(requests_wait, Ordering::Relaxed);
    }

    /// How long no thread has been free. `None` if a thread is free or no request waits for one.
    pub(crate) fn stuck_for(&self) -> Option<Duration> {
        let since = |stamp: &AtomicU64| match stamp.load(Ordering::Relaxed) {
            IDLE => None,
            began => Some(self.start.elapsed().saturating_sub(Duration::from_millis(began - 1))),
        };
        // The youngest run decides: while it is short, threads still move.
        let newest =
            self.running_since.iter().map(since).try_fold(Duration::MAX, |least, since| since.map(|since| since.min(least)));
        newest.filter(|_| self.requests_wait.load(Ordering::Relaxed))
    }

    fn stamp(&self, thread: usize, stamp: u64) {
        self.running_since[thread].store(stamp, Ordering::Relaxed);
    }
}

/// The session as one run thread sees it: notes when each run of the thread begins and ends.
pub(crate) struct WatchedSession<'a> {
    pub(crate) session: &'a dyn Session,
    pub(crate) watch: &'a RunWatch,
    pub(crate) thread: usize,
}

impl Session for WatchedSession<'_> {
    fn signatures(&self) -> &[Signature] {
        self.session.signatures()
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        let now = u64::try_from(self.watch.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.watch.stamp(self.thread, now + 1);
        let _running = Running(self);
        self.session.run(signature, requests)
    }

    fn warning(&self, signature: usize) -> Option<&str> {
        self.session.warning(signature)
    }
}

/// A run of a thread. Its drop notes the end, also if the run panics.
struct Running<'a>(&'a WatchedSession<'a>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.watch.stamp(self.0.thread, IDLE);
    }
}

/// The heartbeat of an arbiter's thread, which stamps it every second.
#[derive(Debug)]
pub struct Heartbeat {
    start: Instant,
    /// The time of the last stamp, in milliseconds after `start`.
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Starts a heartbeat in `arbiter`. It ends when this is dropped.
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

    /// How long ago the thread last stamped it.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}
