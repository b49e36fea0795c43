//! The handle of one signature of a running model: checks a request, admits it, sends it and waits for its answer.
//!
//! The HTTP and gRPC code sees nothing else of a model. It calls [`ModelHandle::predict`] on its own threads.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, ArbiterHandle};
use futures::channel::oneshot;
use tfweb_engine::{Code, Error, Rows, Session, Signature, Tensor, TensorSpec};
use tfweb_limits::{Admission, Deadline, Full, Ledger, Stage};

use crate::caller::{Caller, Prediction};
use crate::gauges::RowGauges;
use crate::model_actor::{ModelActor, Purge};
use crate::observer::{RunObserver, TraceLink};
use crate::outbox;
use crate::record::SignatureRuns;
use crate::request::{rows_of, Request};
use crate::session_actor::SessionActor;
use crate::watchdog::RunWatch;

/// A request is refused when its expected wait exceeds three quarters of the time it has left. The expectation is not exact: with
/// four quarters, every request of a queue that is as long as it may be would reach its run just before its end or just after.
const EXPECTED_QUARTERS_MAX: u32 = 3;

/// How a model's requests wait and run.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The most rows in one session run, at least 1.
    pub batch_rows_max: usize,
    /// The most requests inside a model, waiting or running.
    pub queue_requests_max: usize,
    /// The most bytes of inputs inside a model.
    pub queue_bytes_max: usize,
    /// How many runs of a model go side by side, at least 1.
    pub run_threads: usize,
}

/// The places where a signature's actors report what they do.
pub struct SignatureFigures {
    /// How many rows wait and run.
    pub gauges: Arc<RowGauges>,
    /// Is told of every run.
    pub observer: Arc<dyn RunObserver>,
}

/// One signature of a running model. A clone is cheap; the model ends with its last handle.
#[derive(Clone)]
pub struct ModelHandle {
    actor: Addr<ModelActor>,
    admission: Arc<Admission>,
    signature: Arc<Signature>,
    /// The most rows in one session run; 1 if no two requests share a run.
    batch_rows_max: usize,
    /// The session's verdict on the rows, if it decides whether requests share runs.
    rows: Option<Arc<Rows>>,
    /// Whether a [`Purge`] is on its way to the actor.
    purging: Arc<AtomicBool>,
    gauges: Arc<RowGauges>,
    watch: Arc<RunWatch>,
}

/// Starts the actors of a model in `arbiter`. Gives a handle for each of the session's signatures, in their order. `figures` gives
/// the figures of the signature that it is asked for. `chosen` gives the most rows in one run of it, if somebody has chosen them for
/// this signature, and then its rows count as independent. `ledger` counts the outputs of requests that run in parts.
///
/// # Errors
/// The system's error if it does not start another thread.
pub fn start_model(
    arbiter: &ArbiterHandle,
    session: &Arc<dyn Session>,
    policy: Policy,
    ledger: &Arc<Ledger>,
    figures: impl Fn(&str) -> SignatureFigures,
    chosen: impl Fn(&str) -> Option<usize>,
) -> io::Result<Vec<ModelHandle>> {
    let figures = session.signatures().iter().map(|signature| figures(&signature.name));
    let (gauges, observers): (Vec<_>, Vec<_>) = figures.map(|figures| (figures.gauges, figures.observer)).unzip();
    let watch = Arc::new(RunWatch::new(policy.run_threads));
    let signatures: Arc<[SignatureRuns]> =
        observers.into_iter().map(|observer| SignatureRuns::new(observer, Arc::clone(ledger))).collect();
    let session_actor = SessionActor::start_in(arbiter, session, &watch, &signatures)?;
    let admission = Admission::new(policy.queue_requests_max, policy.queue_bytes_max);
    let handle = |((index, signature), gauges): ((usize, &Signature), Arc<RowGauges>)| {
        let purging = Arc::new(AtomicBool::new(false));
        let (batch_rows_max, rows) = sharing(signature, policy, chosen(&signature.name), || session.rows(index));
        let (session, purge) = (session_actor.clone(), Arc::clone(&purging));
        let actor = ModelActor::start_in(arbiter, session, index, batch_rows_max, purge, Arc::clone(&gauges));
        ModelHandle {
            actor,
            admission: Arc::clone(&admission),
            signature: Arc::new(signature.clone()),
            batch_rows_max,
            rows: rows.map(Arc::new),
            purging,
            gauges,
            watch: Arc::clone(&watch),
        }
    };
    Ok(session.signatures().iter().enumerate().zip(gauges).map(handle).collect())
}

/// Decides the most rows in one run of a signature. In batches of one row every request runs whole and counts as one row. Gives also
/// what is known about its rows, if that has decided.
fn sharing(signature: &Signature, policy: Policy, chosen: Option<usize>, rows: impl Fn() -> Rows) -> (usize, Option<Rows>) {
    let batch_rows_max = if signature.is_batchable() { chosen.unwrap_or(policy.batch_rows_max) } else { 1 };
    if batch_rows_max == 1 || chosen.is_some() {
        return (batch_rows_max, None);
    }
    let rows = rows();
    let batch_rows_max = if matches!(rows, Rows::Dependent(_)) { 1 } else { batch_rows_max };
    (batch_rows_max, Some(rows))
}

impl ModelHandle {
    /// The signature that this handle runs.
    #[must_use]
    pub const fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// Whether requests share runs.
    #[must_use]
    pub fn is_batchable(&self) -> bool {
        self.batch_rows_max > 1
    }

    /// Why each request runs alone and whole, if its rows would depend on those of others.
    #[must_use]
    pub fn runs_alone(&self) -> Option<&str> {
        match self.rows.as_deref() {
            Some(Rows::Dependent(why)) => Some(why),
            Some(Rows::Independent | Rows::Unproven(_)) | None => None,
        }
    }

    /// Why nobody knows whether the rows of requests that share a run depend on each other. `None` if they are known not to, or if no
    /// requests share a run.
    #[must_use]
    pub fn shares_unproven(&self) -> Option<&str> {
        match self.rows.as_deref() {
            Some(Rows::Unproven(why)) => Some(why),
            Some(Rows::Independent | Rows::Dependent(_)) | None => None,
        }
    }

    /// How many requests of all signatures are inside the model, waiting or running.
    #[must_use]
    pub fn queued_requests(&self) -> usize {
        self.admission.requests()
    }

    /// The number of rows of `inputs`, for logs and figures. 0 if an input without rows is empty; 1 if requests do not share runs.
    #[must_use]
    pub fn rows(&self, inputs: &[Tensor]) -> usize {
        let alone = || usize::from(inputs.iter().all(|tensor| tensor.element_count() > 0));
        rows_of(inputs, self.signature.is_batchable()).unwrap_or_else(alone)
    }

    /// The most rows in one run of these inputs. With fewer dimensions than the signature declares, what is known about rows does not
    /// hold: a constant of the model could broadcast along them.
    fn batch_rows_max(&self, inputs: &[Tensor]) -> usize {
        let has_rank =
            |(spec, tensor): (&TensorSpec, &Tensor)| spec.shape.dims().is_none_or(|declared| declared.len() <= tensor.dims().len());
        if self.signature.inputs.iter().zip(inputs).all(has_rank) {
            self.batch_rows_max
        } else {
            1
        }
    }

    /// How long every run thread of the model has been in its run. `None` if a thread is free or no request waits for one.
    #[must_use]
    pub fn stuck_for(&self) -> Option<Duration> {
        self.watch.stuck_for()
    }

    /// Runs the signature on one request's inputs, which are in the signature's order. `trace` is the request's span if it is
    /// traced.
    ///
    /// # Errors
    /// - `InvalidArgument` at once if the inputs have shapes that must not be fed.
    /// - `Unavailable` at once if the queue is full, or so long that the request would be late; while it runs in parts, if its
    ///   outputs have no room in the memory of all requests.
    /// - `DeadlineExceeded` when `deadline` passes.
    /// - The session's own.
    ///
    /// # Cancel safety
    /// A request whose future is dropped is left out of every batch that is formed later.
    pub async fn predict(&self, inputs: Vec<Tensor>, deadline: Deadline, trace: Option<TraceLink>) -> Result<Prediction, Error> {
        self.signature.check_feeds(inputs.iter().map(Tensor::dims))?;
        // A large request counts as one batch: it waits for its first turn only, and a row in a larger part takes less time.
        let batch_rows_max = self.batch_rows_max(&inputs);
        self.refuse_late(rows_of(&inputs, batch_rows_max > 1).unwrap_or(1).min(batch_rows_max), deadline)?;
        let bytes = inputs.iter().map(Tensor::byte_count).sum();
        let permit = self.admission.try_acquire(bytes).map_err(overloaded)?;
        let (sender, answer) = oneshot::channel();
        let started = Arc::new(AtomicBool::new(false));
        let caller = Caller::new(sender, Arc::clone(&started), permit);
        let request = Request::new(inputs, bytes, batch_rows_max, deadline, trace, caller, Arc::clone(&self.gauges));
        outbox::send(&self.actor, request);
        let mut guard = CallerGuard { handle: self, answered: false };
        let waited = deadline.limit(answer).await;
        guard.answered = waited.is_ok();
        match waited {
            Ok(Ok(answer)) => answer,
            Ok(Err(oneshot::Canceled)) => {
                Err(Error::internal("the request was lost by a panic; this is a bug, see the server's log"))
            }
            Err(_) => Err(Deadline::passed(if started.load(Ordering::Relaxed) { Stage::Run } else { Stage::Queue })),
        }
    }

    /// Refuses a request of `rows` rows whose time would run out while it waits for the requests before it.
    fn refuse_late(&self, rows: usize, deadline: Deadline) -> Result<(), Error> {
        let expected = self.gauges.expected_time(rows);
        if expected.is_zero() {
            return Ok(());
        }
        let left = deadline.left();
        if expected / EXPECTED_QUARTERS_MAX * 4 <= left {
            return Ok(());
        }
        let [expected, left] = [expected, left].map(|time| time.as_millis());
        let text = format!(
            "model is overloaded: the answer is expected after {expected} ms, and the request has {left} ms left, of which a quarter \
             is kept back; retry after 1 s"
        );
        Err(Error::new(Code::Unavailable, text))
    }
}

fn overloaded(full: Full) -> Error {
    let text = match full {
        Full::Requests(limit) => {
            format!("model is overloaded: {limit} requests queued (limit {limit}); retry after 1 s or raise --queue_size")
        }
        Full::Bytes(bytes, limit) => format!("model is overloaded: {bytes} bytes queued (limit {limit}); retry after 1 s"),
    };
    Error::new(Code::Unavailable, text)
}

/// Tells the actor if the caller goes away before it has its answer.
struct CallerGuard<'a> {
    handle: &'a ModelHandle,
    answered: bool,
}

impl Drop for CallerGuard<'_> {
    fn drop(&mut self) {
        // One message serves all callers that go away before the actor handles it.
        if !self.answered && !self.handle.purging.swap(true, Ordering::AcqRel) {
            // A request that still waits in the outbox must reach the actor before the message that purges it.
            outbox::flush();
            self.handle.actor.do_send(Purge);
        }
    }
}
