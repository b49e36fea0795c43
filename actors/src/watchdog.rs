//! Tells whether threads still move: run threads by when their runs began, an arbiter's thread by a heartbeat.
//!
//! A thread stamps with one store. Any thread may look.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use tfweb_engine::{Error, Session, Signature, Tensor, Trial};

/// How often an arbiter's thread stamps its heartbeat.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// The stamp of a thread that is in no run.
const IDLE: u64 = 0;
/// The stamp of a thread that gets no run.
const SPARE: u64 = u64::MAX;

/// The run threads of one session: since when each has been in its run.
#[derive(Debug)]
pub(crate) struct RunWatch {
    start: Instant,
    /// When each thread's run began, in milliseconds after `start`, and one more so that none is [`IDLE`]. The first half are run
    /// threads. The second half are spare at first.
    running_since: Vec<AtomicU64>,
    /// Whether requests wait for which no thread is free.
    requests_wait: AtomicBool,
}

impl RunWatch {
    /// Watches `run_threads` run threads and as many spare ones.
    pub(crate) fn new(run_threads: usize) -> Self {
        let stamps = [IDLE, SPARE].into_iter().flat_map(|stamp| std::iter::repeat_n(stamp, run_threads));
        let running_since = stamps.map(AtomicU64::new).collect();
        Self { start: Instant::now(), running_since, requests_wait: AtomicBool::new(false) }
    }

    /// The numbers of all threads.
    pub(crate) fn threads(&self) -> Range<usize> {
        0..self.running_since.len()
    }

    /// The numbers of the threads that run batches from the start.
    pub(crate) fn run_threads(&self) -> Range<usize> {
        0..self.running_since.len() / 2
    }

    /// The numbers of the threads that are spare at the start.
    pub(crate) fn spare_threads(&self) -> Range<usize> {
        self.run_threads().end..self.running_since.len()
    }

    /// Notes whether a thread that is in no run is spare.
    pub(crate) fn set_spare(&self, thread: usize, is_spare: bool) {
        self.stamp(thread, if is_spare { SPARE } else { IDLE });
    }

    /// Notes whether requests wait for which no thread is free.
    pub(crate) fn set_waiting(&self, requests_wait: bool) {
        self.requests_wait.store(requests_wait, Ordering::Relaxed);
    }

    /// How long no thread has been free. `None` if a thread is free or no request waits for one.
    pub(crate) fn stuck_for(&self) -> Option<Duration> {
        let since = |stamp: &AtomicU64| match stamp.load(Ordering::Relaxed) {
            IDLE => None,
            SPARE => Some(Duration::MAX),
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
        self.run_within(signature, requests, Duration::MAX)
    }

    fn run_within(&self, signature: usize, requests: &[&[Tensor]], time: Duration) -> Result<Vec<Tensor>, Error> {
        let now = u64::try_from(self.watch.start.elapsed().as_millis()).unwrap_or(SPARE - 2);
        self.watch.stamp(self.thread, now + 1);
        let _running = Running(self);
        self.session.run_within(signature, requests, time)
    }

    fn rest(&self) {
        self.session.rest();
    }

    fn may_be_tried(&self, signature: usize) -> bool {
        self.session.may_be_tried(signature)
    }

    fn trial(&self, signature: usize) -> Trial {
        self.session.trial(signature)
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
