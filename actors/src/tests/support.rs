//! Starts models on a fake session, and sends requests behind a run that is held.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Arbiter;
use futures::future::join_all;
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Error, Rows, Session, Signature, Tensor};
use tfweb_limits::{Deadline, Ledger};

use crate::caller::Prediction;
use crate::model_handle::{start_model, ModelHandle, Policy, SignatureFigures};
use crate::observer::{ObservedRun, RunObserver, TraceLink};

pub(super) const POLICY: Policy = Policy { batch_rows_max: 32, queue_requests_max: 1024, queue_bytes_max: 1 << 20, run_threads: 1 };

/// Takes note of nothing.
struct NoObserver;

impl RunObserver for NoObserver {
    fn begins(&self, _: usize, _: usize) {}

    fn ran(&self, _: &ObservedRun<'_>) -> Option<TraceLink> {
        None
    }
}

pub(super) fn start(behaviour: Behaviour, policy: Policy) -> (Arc<FakeSession>, ModelHandle) {
    let fake = Arc::new(FakeSession::new(behaviour));
    let handles = start_observed(&fake, policy, Arc::new(NoObserver));
    (fake, handles.into_iter().next().unwrap())
}

/// Starts a session that has found this about its rows. `chosen` are the most rows in one run, if its user chooses them.
pub(super) fn start_judged(rows: Rows, chosen: Option<usize>) -> (Arc<FakeSession>, ModelHandle) {
    let fake = Arc::new(FakeSession::new(Behaviour::HalfPlusTwo).with_rows(rows));
    let (session, ledger): (Arc<dyn Session>, _) = (fake.clone(), Ledger::new(1 << 30));
    let figures = |_: &str| SignatureFigures { gauges: Arc::default(), observer: Arc::new(NoObserver) };
    let handles = start_model(&Arbiter::current(), &session, POLICY, &ledger, figures, |_| chosen).unwrap();
    (fake, handles.into_iter().next().unwrap())
}

/// A session whose outputs a test computes from the rows of each run. It notes the values of the runs and their times.
pub(super) struct Own<F> {
    pub(super) fake: FakeSession,
    outputs: F,
    /// The session's own word on its signature.
    pub(super) may_be_tried: AtomicBool,
    /// How often it was told of a run that goes on after its time.
    pub(super) overdue: AtomicUsize,
    runs: Mutex<Vec<(Vec<f32>, Duration)>>,
}

impl<F> Own<F> {
    /// The values of every run that has come to its end.
    pub(super) fn run_values(&self) -> Vec<Vec<f32>> {
        self.runs.lock().unwrap().iter().map(|(values, _)| values.clone()).collect()
    }

    /// The time of every run that has come to its end.
    pub(super) fn run_times(&self) -> Vec<Duration> {
        self.runs.lock().unwrap().iter().map(|(_, time)| *time).collect()
    }
}

impl<F: Fn(&Tensor, Duration) -> Result<Vec<Tensor>, Error> + Send + Sync> Session for Own<F> {
    fn signatures(&self) -> &[Signature] {
        self.fake.signatures()
    }

    fn note_overdue(&self, _: usize) {
        self.overdue.fetch_add(1, Ordering::Relaxed);
    }

    fn may_be_tried(&self, _: usize) -> bool {
        self.may_be_tried.load(Ordering::Relaxed)
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        self.run_within(signature, requests, Duration::MAX)
    }

    fn run_within(&self, signature: usize, requests: &[&[Tensor]], time: Duration) -> Result<Vec<Tensor>, Error> {
        let x = self.fake.run(signature, requests)?.remove(0);
        self.runs.lock().unwrap().push((floats(&x).to_vec(), time));
        (self.outputs)(&x, time)
    }
}

/// Starts a session with outputs of the test's own.
pub(super) fn start_own<F>(policy: Policy, outputs: F) -> (Arc<Own<F>>, ModelHandle)
where
    F: Fn(&Tensor, Duration) -> Result<Vec<Tensor>, Error> + Send + Sync + 'static,
{
    start_counted(policy, &Ledger::new(1 << 30), outputs)
}

/// Does the same, with a ledger of the test's own.
pub(super) fn start_counted<F>(policy: Policy, ledger: &Arc<Ledger>, outputs: F) -> (Arc<Own<F>>, ModelHandle)
where
    F: Fn(&Tensor, Duration) -> Result<Vec<Tensor>, Error> + Send + Sync + 'static,
{
    let fake = FakeSession::new(Behaviour::Slow(Duration::ZERO));
    let own =
        Arc::new(Own { fake, outputs, may_be_tried: AtomicBool::new(true), overdue: AtomicUsize::new(0), runs: Mutex::default() });
    let handles = start_session(own.clone(), policy, ledger, Arc::new(NoObserver));
    (own, handles.into_iter().next().unwrap())
}

/// Starts all signatures of a session on this thread.
pub(super) fn start_all(fake: &Arc<FakeSession>) -> Vec<ModelHandle> {
    start_observed(fake, POLICY, Arc::new(NoObserver))
}

/// Starts all signatures of a session on this thread. `observer` is told of the runs of each.
pub(super) fn start_observed(fake: &Arc<FakeSession>, policy: Policy, observer: Arc<dyn RunObserver>) -> Vec<ModelHandle> {
    start_session(fake.clone(), policy, &Ledger::new(1 << 30), observer)
}

fn start_session(
    session: Arc<dyn Session>,
    policy: Policy,
    ledger: &Arc<Ledger>,
    observer: Arc<dyn RunObserver>,
) -> Vec<ModelHandle> {
    let figures = |_: &str| SignatureFigures { gauges: Arc::default(), observer: Arc::clone(&observer) };
    start_model(&Arbiter::current(), &session, policy, ledger, figures, |_| None).unwrap()
}

pub(super) fn column(values: &[f32]) -> Vec<Tensor> {
    vec![Tensor::from_vec(&[values.len()], values.to_vec())]
}

pub(super) fn floats(tensor: &Tensor) -> &[f32] {
    tensor.as_slice().unwrap()
}

pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(super) fn values(answer: Result<Prediction, Error>) -> Vec<f32> {
    answer.unwrap().outputs[0].as_slice::<f32>().unwrap().to_vec()
}

/// Waits for a condition that the actors or a run thread will meet soon.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(!deadline.left().is_zero(), "waited too long");
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until `count` requests are inside the model and the actor has queued them.
pub(super) async fn until_queued(handle: &ModelHandle, count: usize) {
    until(|| handle.queued_requests() == count).await;
    // The actors run on this thread. In its next turns the outbox sends the requests, and the actor takes them.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// Sends requests while a run of one row is held, releases the run once all of them wait, and gives their answers.
pub(super) async fn behind_a_held_run<T>(
    fake: &FakeSession,
    handle: &ModelHandle,
    requests: Vec<impl Future<Output = T>>,
) -> Vec<T> {
    fake.hold();
    let inside = 1 + requests.len();
    let first = handle.predict(column(&[0.0]), soon(), None);
    let others = async {
        until(|| !fake.run_rows().is_empty()).await;
        join_all(requests).await
    };
    let open = async {
        until_queued(handle, inside).await;
        fake.release();
    };
    futures::join!(first, others, open).1
}
