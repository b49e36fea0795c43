//! A request as it waits and runs: its tensors, and where its answer goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use tfweb_engine::{batch, Error, Tensor};
use tfweb_limits::{Deadline, Permit, Stage};

use crate::batcher::Waiting;
use crate::observation::{CountedRows, ModelObservation};
use crate::trace::TraceLink;

/// The answer to one request.
#[derive(Debug)]
pub struct Prediction {
    /// The outputs, in the signature's order; windows onto the run's own memory.
    pub outputs: Vec<Tensor>,
    /// How long the request waited before its (first) run began.
    pub queue_time: Duration,
    /// How long its run took, merging and splitting included; of several, from the first's start to the last's end.
    pub run_time: Duration,
    /// The runs that served it, where it is traced.
    pub runs: Vec<TraceLink>,
}

/// The run that served a request.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) begun: Instant,
    /// Where it is traced.
    pub(crate) link: Option<TraceLink>,
}

pub(crate) type Answer = Result<Prediction, Error>;

/// One request on its way from the handle to its reply.
pub(crate) struct Request {
    pub(crate) inputs: Vec<Tensor>,
    /// Rows in `inputs` still to be run; 1 where the request runs alone.
    rows: CountedRows,
    /// Rows of the whole request; more than `rows` once parts were taken off.
    rows_total: usize,
    batchable: bool,
    deadline: Deadline,
    since: Instant,
    /// Where it is traced.
    pub(crate) trace: Option<TraceLink>,
    reply: Reply,
}

enum Reply {
    /// To the caller; the permit goes when the reply does.
    Caller(Caller),
    /// To the others of a request that runs in parts; the number orders them.
    Parts(Arc<Parts>, usize),
}

struct Caller {
    sender: oneshot::Sender<Answer>,
    started: Arc<AtomicBool>,
    _permit: Permit,
}

/// Gathers the answers of a request's parts.
struct Parts {
    state: Mutex<PartsState>,
}

struct PartsState {
    /// Gone once answered.
    caller: Option<Caller>,
    answers: Vec<Option<Vec<Tensor>>>,
    rows_missing: usize,
    begun: Option<Instant>,
    runs: Vec<TraceLink>,
}

impl Request {
    pub(crate) fn new(
        inputs: Vec<Tensor>,
        batch_rows_max: usize,
        deadline: Deadline,
        sender: oneshot::Sender<Answer>,
        started: Arc<AtomicBool>,
        permit: Permit,
        observation: Arc<ModelObservation>,
    ) -> Self {
        // A door that does not check shapes may bring inputs whose rows disagree: TensorFlow judges those, alone.
        let rows = rows_of(&inputs, batch_rows_max > 1);
        let (batchable, rows_total) = (rows.is_some(), rows.unwrap_or(1));
        let reply = Reply::Caller(Caller { sender, started, _permit: permit });
        let rows = CountedRows::queue(rows_total, batch_rows_max, observation);
        Self { inputs, rows, rows_total, batchable, deadline, since: Instant::now(), trace: None, reply }
    }

    /// Answers `DeadlineExceeded` if its time has passed; else gives it back.
    pub(crate) fn unless_late(self, now: Instant) -> Option<Self> {
        if !self.deadline.has_passed(now) {
            return Some(self);
        }
        self.fail(&Deadline::passed(Stage::Queue));
        None
    }

    /// The rows that others wait for at a time.
    pub(crate) fn turn_rows(&self) -> usize {
        self.rows.turn_rows()
    }

    /// Whether it is a part of a larger request.
    pub(crate) fn is_part(&self) -> bool {
        matches!(self.reply, Reply::Parts(..))
    }

    pub(crate) fn observation(&self) -> &ModelObservation {
        self.rows.observation()
    }

    /// Notes that its run begins, for the words of a later time-out.
    pub(crate) fn mark_started(&mut self, now: Instant) {
        self.rows.run();
        match &self.reply {
            Reply::Caller(caller) => caller.started.store(true, Ordering::Relaxed),
            Reply::Parts(parts, _) => {
                let mut state = parts.lock();
                state.begun.get_or_insert(now);
                if let Some(caller) = &state.caller {
                    caller.started.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Answers with what its run gave.
    pub(crate) fn succeed(self, outputs: Vec<Tensor>, run: Run) {
        let rows = self.rows.rows();
        // Whoever sees the answer should not see its rows still running.
        drop(self.rows);
        match self.reply {
            Reply::Caller(caller) => {
                caller.send(Ok(prediction(outputs, self.since, run.begun, run.link.into_iter().collect())));
            }
            Reply::Parts(parts, number) => parts.succeed(number, rows, outputs, (self.since, run)),
        }
    }

    /// Answers with an error; of a request in parts, the whole.
    pub(crate) fn fail(self, error: &Error) {
        drop(self.rows);
        let caller = match self.reply {
            Reply::Caller(caller) => Some(caller),
            Reply::Parts(parts, _) => parts.lock().caller.take(),
        };
        if let Some(caller) = caller {
            caller.send(Err(error.clone()));
        }
    }

    fn parts(&mut self) -> &Arc<Parts> {
        if let Reply::Caller(_) = &self.reply {
            let state =
                PartsState { caller: None, answers: Vec::new(), rows_missing: self.rows_total, begun: None, runs: Vec::new() };
            let parts = Reply::Parts(Arc::new(Parts { state: Mutex::new(state) }), 0);
            let before = std::mem::replace(&mut self.reply, parts);
            if let (Reply::Caller(caller), Reply::Parts(parts, _)) = (before, &self.reply) {
                parts.lock().caller = Some(caller);
            }
        }
        match &self.reply {
            Reply::Parts(parts, _) => parts,
            Reply::Caller(_) => unreachable!("made into parts just above; this is a bug"),
        }
    }
}

impl Waiting for Request {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn exceeds(&self, batch_rows_max: usize) -> bool {
        self.rows_total > batch_rows_max
    }

    fn is_abandoned(&self) -> bool {
        match &self.reply {
            Reply::Caller(caller) => caller.sender.is_canceled(),
            Reply::Parts(parts, _) => parts.lock().caller.as_ref().is_none_or(|caller| caller.sender.is_canceled()),
        }
    }

    fn stacks_with(&self, other: &Self) -> bool {
        let same_row = |(a, b): (&Tensor, &Tensor)| a.dtype() == b.dtype() && a.dims()[1..] == b.dims()[1..];
        self.batchable && other.batchable && self.inputs.iter().zip(&other.inputs).all(same_row)
    }

    fn split_off_front(&mut self, rows: usize) -> Self {
        let (deadline, since, trace, rows_left) = (self.deadline, self.since, self.trace, self.rows.rows() - rows);
        let parts = Arc::clone(self.parts());
        let number = {
            let mut state = parts.lock();
            // One place for the part taken off, and one for what stays behind.
            if state.answers.is_empty() {
                state.answers.push(None);
            }
            state.answers.push(None);
            state.answers.len() - 2
        };
        let front = self.inputs.iter().map(|tensor| tensor.slice_rows(0, rows)).collect();
        self.inputs = self.inputs.iter().map(|tensor| tensor.slice_rows(rows, rows_left)).collect();
        let front_rows = self.rows.split_off(rows);
        self.reply = Reply::Parts(Arc::clone(&parts), number + 1);
        Self {
            inputs: front,
            rows: front_rows,
            rows_total: self.rows_total,
            batchable: true,
            deadline,
            since,
            trace,
            reply: Reply::Parts(parts, number),
        }
    }
}

impl Parts {
    fn lock(&self) -> std::sync::MutexGuard<'_, PartsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeed(&self, number: usize, rows: usize, outputs: Vec<Tensor>, (since, run): (Instant, Run)) {
        let mut state = self.lock();
        state.answers[number] = Some(outputs);
        state.rows_missing -= rows;
        state.runs.extend(run.link);
        if state.rows_missing > 0 {
            return;
        }
        let Some(caller) = state.caller.take() else {
            return;
        };
        let begun = state.begun.unwrap_or(since);
        let answers: Vec<Vec<Tensor>> = std::mem::take(&mut state.answers).into_iter().flatten().collect();
        let runs = std::mem::take(&mut state.runs);
        drop(state);
        caller.send(batch::join(&answers).map(|outputs| prediction(outputs, since, begun, runs)));
    }
}

impl Caller {
    fn send(self, answer: Answer) {
        // The permit goes first: whoever sees the answer may send the next request at once.
        drop(self._permit);
        // A caller that went away in the meantime needs no answer.
        let _ = self.sender.send(answer);
    }
}

/// The number of rows that every input has, at least 1; none where the request runs alone.
///
/// A request with an input that has no elements runs alone, and whole. Such an input costs nothing to send however many rows it
/// claims (`[2^58, 0]`), and a run without rows tells nothing of what a row costs.
pub(crate) fn rows_of(inputs: &[Tensor], batchable: bool) -> Option<usize> {
    let rows = inputs.first()?.rows().filter(|_| batchable)?;
    let counts = |tensor: &Tensor| tensor.rows() == Some(rows) && tensor.element_count() > 0;
    inputs.iter().all(counts).then_some(rows)
}

fn prediction(outputs: Vec<Tensor>, since: Instant, begun: Instant, runs: Vec<TraceLink>) -> Prediction {
    Prediction { outputs, queue_time: begun.saturating_duration_since(since), run_time: begun.elapsed(), runs }
}
