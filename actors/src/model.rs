//! One ModelActor per signature: owns the requests that wait for it and forms batches of them. Callers hold a [`ModelHandle`].

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures::channel::oneshot;
use tfweb_engine::{Code, Error, Session, Signature, Tensor};
use tfweb_limits::{Admission, Deadline, Full, Stage};

use crate::batcher::Batcher;
use crate::observation::ModelObservation;
use crate::outbox;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::request::{rows_of, Prediction, Request};
use crate::session::{RequestCredit, RunBatch, RunCredit, SessionActor};
use crate::trace::{RunTracer, TraceLink};

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

/// What callers see of one signature of a running model. Cheap to clone; the model ends when the last handle goes.
#[derive(Clone)]
pub struct ModelHandle {
    actor: Addr<ModelActor>,
    admission: Arc<Admission>,
    signature: Arc<Signature>,
    /// 1 where no two requests share a run.
    batch_rows_max: usize,
    purging: Arc<AtomicBool>,
    observation: Arc<ModelObservation>,
    progress: Arc<Progress>,
}

/// Starts the actors of a model in `arbiter`. Gives a handle for each of the session's signatures, in order; what they do is
/// added to the observations that `observe` gives for their names. A tracer is told of runs of requests that are traced.
///
/// # Errors
/// If the system has no more threads to give.
pub fn start_model(
    arbiter: &ArbiterHandle,
    session: &Arc<dyn Session>,
    policy: Policy,
    observe: impl Fn(&str) -> Arc<ModelObservation>,
    tracer: Option<&Arc<dyn RunTracer>>,
) -> io::Result<Vec<ModelHandle>> {
    let progress = Arc::new(Progress::new(policy.run_threads));
    let session_actor = SessionActor::start_in(arbiter, session, &progress, policy.run_threads, tracer)?;
    let admission = Admission::new(policy.queue_requests_max, policy.queue_bytes_max);
    let handle = |(index, signature): (usize, &Signature)| {
        let purging = Arc::new(AtomicBool::new(false));
        let observation = observe(&signature.name);
        let actor = ModelActor {
            session: session_actor.clone(),
            signature: index,
            batcher: Batcher::new(policy.batch_rows_max),
            asking: false,
            purging: Arc::clone(&purging),
            pace: Pace::default(),
            observation: Arc::clone(&observation),
        };
        ModelHandle {
            actor: ModelActor::start_in_arbiter(arbiter, move |_| actor),
            admission: Arc::clone(&admission),
            signature: Arc::new(signature.clone()),
            // Of batches of one each request runs whole, and counts as one.
            batch_rows_max: if signature.is_batchable() { policy.batch_rows_max } else { 1 },
            purging,
            observation,
            progress: Arc::clone(&progress),
        }
    };
    Ok(session.signatures().iter().enumerate().map(handle).collect())
}

impl ModelHandle {
    /// The signature that is served.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether requests share runs.
    #[must_use]
    pub fn is_batchable(&self) -> bool {
        self.batch_rows_max > 1
    }

    /// How many requests are inside the model, of all its signatures, waiting or running.
    #[must_use]
    pub fn queued_requests(&self) -> usize {
        self.admission.requests()
    }

    /// How many rows inputs have, for logs and figures: 0 where an input is empty, 1 where requests do not share runs.
    #[must_use]
    pub fn rows(&self, inputs: &[Tensor]) -> usize {
        let alone = || usize::from(inputs.iter().all(|tensor| tensor.element_count() > 0));
        rows_of(inputs, self.signature.is_batchable()).unwrap_or_else(alone)
    }

    /// For how long every run thread of the model has been in a run, if requests have come since that need one.
    #[must_use]
    pub fn stuck_for(&self) -> Option<Duration> {
        self.progress.stuck_for()
    }

    /// Runs the signature on one request's inputs, which are in the signature's order. `trace` is its span where it is traced.
    ///
    /// # Errors
    /// `InvalidArgument` at once where the inputs have shapes that may not be fed; `Unavailable` at once where the queue is full,
    /// or so long that the request would be late; `DeadlineExceeded` when `deadline` passes; the session's own.
    ///
    /// # Cancel safety
    /// Dropped, the request is left out of every batch not yet formed.
    pub async fn predict(&self, inputs: Vec<Tensor>, deadline: Deadline, trace: Option<TraceLink>) -> Result<Prediction, Error> {
        self.signature.check_feeds(inputs.iter().map(Tensor::dims))?;
        // Of a large request one batch counts: it waits for its turn, and a row in a larger part takes less time.
        self.check_time(rows_of(&inputs, self.is_batchable()).unwrap_or(1).min(self.batch_rows_max), deadline)?;
        let bytes = inputs.iter().map(Tensor::byte_count).sum();
        let permit = self.admission.try_acquire(bytes).map_err(overloaded)?;
        let (sender, answer) = oneshot::channel();
        let started = Arc::new(AtomicBool::new(false));
        let observation = Arc::clone(&self.observation);
        let mut request = Request::new(inputs, self.batch_rows_max, deadline, sender, Arc::clone(&started), permit, observation);
        request.trace = trace;
        outbox::send(&self.actor, request);
        let mut caller = CallerGuard { handle: self, answered: false };
        let waited = deadline.limit(answer).await;
        caller.answered = waited.is_ok();
        match waited {
            Ok(Ok(answer)) => answer,
            Ok(Err(oneshot::Canceled)) => Err(Error::internal("the model's actor is gone; this is a bug")),
            Err(_) => {
                let stage = if started.load(Ordering::Relaxed) { Stage::Run } else { Stage::Queue };
                Err(Deadline::passed(stage))
            }
        }
    }
}

/// How many of its seconds a request may be expected to take, of four: what is expected is not exact, and at a queue that is as
/// long as it may be, every request would come just before its end or just after it.
const EXPECTED_QUARTERS_MAX: u32 = 3;

impl ModelHandle {
    /// Refuses a request whose time would run out while it waits for those before it.
    fn check_time(&self, rows: usize, deadline: Deadline) -> Result<(), Error> {
        let expected = self.observation.expected_time(rows);
        if expected.is_zero() {
            return Ok(());
        }
        let left = deadline.left();
        if expected / EXPECTED_QUARTERS_MAX * 4 <= left {
            return Ok(());
        }
        let [expected, left] = [expected, left].map(|time| time.as_millis());
        let text = format!("model is overloaded: what is queued takes about {expected} ms, of {left} ms left; retry after 1 s");
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

/// Tells the actor when its caller goes away before the answer.
struct CallerGuard<'a> {
    handle: &'a ModelHandle,
    answered: bool,
}

impl Drop for CallerGuard<'_> {
    fn drop(&mut self) {
        // One message for however many go away together.
        if !self.answered && !self.handle.purging.swap(true, Ordering::AcqRel) {
            // Its request goes before the word that it is not wanted.
            outbox::flush();
            self.handle.actor.do_send(Purge);
        }
    }
}

/// Queues requests. Their replies are in them, so that they can be sent with `do_send`: there are never more than permits.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Predict(pub(crate) Vec<Request>);

/// Drops the requests that nobody waits for, so that they hold no memory and no permit.
#[derive(Message)]
#[rtype(result = "()")]
struct Purge;

/// Owns the batching state of one signature. See the [module](self).
pub(crate) struct ModelActor {
    session: Addr<SessionActor>,
    signature: usize,
    batcher: Batcher<Request>,
    /// Whether a credit was asked for and has not come.
    asking: bool,
    purging: Arc<AtomicBool>,
    pace: Pace,
    observation: Arc<ModelObservation>,
}

impl ModelActor {
    fn ask(&mut self, context: &Context<Self>) {
        if !self.asking && !self.batcher.is_empty() {
            self.asking = true;
            self.session.do_send(RequestCredit(context.address().recipient()));
        }
    }
}

impl Actor for ModelActor {
    type Context = Context<Self>;
}

impl Handler<Predict> for ModelActor {
    type Result = ();

    fn handle(&mut self, Predict(requests): Predict, context: &mut Self::Context) {
        for request in requests {
            self.batcher.push(request);
        }
        self.ask(context);
    }
}

impl Handler<RunCredit> for ModelActor {
    type Result = ();

    fn handle(&mut self, credit: RunCredit, context: &mut Self::Context) {
        self.asking = false;
        let now = Instant::now();
        let part_rows = self.observation.part_rows(self.batcher.batch_rows_max());
        let mut rows = 0;
        let requests: Vec<Request> = loop {
            let batch = self.batcher.next_batch(part_rows);
            let empty = batch.is_empty();
            rows += batch.iter().map(Request::turn_rows).sum::<usize>();
            let batch: Vec<Request> = batch.into_iter().filter_map(|request| request.unless_late(now)).collect();
            if empty || !batch.is_empty() {
                break batch;
            }
        };
        self.pace.advance(now, rows, !self.batcher.is_empty());
        self.observation.set_pace(self.pace.per_row());
        if requests.is_empty() {
            self.session.do_send(credit);
        } else {
            self.session.do_send(RunBatch { credit, signature: self.signature, requests });
        }
        self.ask(context);
    }
}

impl Handler<Purge> for ModelActor {
    type Result = ();

    fn handle(&mut self, _: Purge, _: &mut Self::Context) {
        // Reset first: whoever goes away from here on sends a new message.
        self.purging.store(false, Ordering::Release);
        self.batcher.purge();
    }
}
