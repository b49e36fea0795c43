//! A request as it waits and runs: its tensors, its rows, and the caller that waits for its answer.

use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::{Error, Tensor};
use tfweb_limits::{Deadline, Stage};

use crate::batcher::Waiting;
use crate::caller::{Caller, Prediction, Run};
use crate::gauges::{CountedRows, RowGauges};
use crate::observer::TraceLink;
use crate::parts::{split_off_front, PartOutputs, Parts};

/// One request, or a part of one, on its way from the handle to its answer.
pub(crate) struct Request {
    pub(crate) inputs: Vec<Tensor>,
    /// The rows in `inputs`, which still have to run; 1 if the request runs alone.
    rows: CountedRows,
    /// The rows of the whole request: more than `rows` once parts were taken off.
    rows_total: usize,
    /// Whether the request may share a run with others.
    batchable: bool,
    deadline: Deadline,
    queued: Instant,
    /// The request's span, if it is traced.
    pub(crate) trace: Option<TraceLink>,
    reply: Reply,
}

/// Where the answer of a request goes.
enum Reply {
    /// To the caller.
    Caller(Caller),
    /// To the other parts of a request that runs in parts. The number orders the parts.
    Parts(Arc<Parts>, usize),
}

impl Request {
    /// Makes a request that begins to wait now.
    pub(crate) fn new(
        inputs: Vec<Tensor>,
        batch_rows_max: usize,
        deadline: Deadline,
        trace: Option<TraceLink>,
        caller: Caller,
        gauges: Arc<RowGauges>,
    ) -> Self {
        // The inputs may disagree about their rows, for some protocols do not check shapes. TensorFlow judges such a request,
        // alone.
        let rows = rows_of(&inputs, batch_rows_max > 1);
        let (batchable, rows_total) = (rows.is_some(), rows.unwrap_or(1));
        let rows = CountedRows::queue(rows_total, batch_rows_max, gauges);
        Self { inputs, rows, rows_total, batchable, deadline, queued: Instant::now(), trace, reply: Reply::Caller(caller) }
    }

    /// Answers `DeadlineExceeded` if the request's time has run out at `now`. Otherwise gives the request back.
    pub(crate) fn unless_late(self, now: Instant) -> Option<Self> {
        if !self.deadline.has_passed(now) {
            return Some(self);
        }
        self.fail(&Deadline::passed(Stage::Queue));
        None
    }

    /// How many rows the request has in one turn: others wait for at most a batch of them.
    pub(crate) fn turn_rows(&self) -> usize {
        self.rows.turn_rows()
    }

    /// Whether this is a part of a larger request.
    pub(crate) fn is_part(&self) -> bool {
        matches!(self.reply, Reply::Parts(..))
    }

    pub(crate) fn gauges(&self) -> &RowGauges {
        self.rows.gauges()
    }

    /// Notes that a run of the request begins at `now`.
    pub(crate) fn mark_started(&mut self, now: Instant) {
        self.rows.run();
        match &self.reply {
            Reply::Caller(caller) => caller.mark_started(),
            Reply::Parts(parts, _) => parts.mark_started(now),
        }
    }

    /// Answers with the outputs of a run.
    pub(crate) fn succeed(self, outputs: Vec<Tensor>, run: Run) {
        let rows = self.rows.rows();
        // A caller that sees the answer must not find its rows still counted as running.
        drop(self.rows);
        match self.reply {
            Reply::Caller(caller) => {
                caller.send(Ok(Prediction::new(outputs, self.queued, run.begun, run.link.into_iter().collect())));
            }
            Reply::Parts(parts, number) => parts.succeed(PartOutputs { number, rows, outputs, run }, self.queued),
        }
    }

    /// Answers with an error. The error of a part answers the whole request.
    pub(crate) fn fail(self, error: &Error) {
        drop(self.rows);
        match self.reply {
            Reply::Caller(caller) => caller.send(Err(error.clone())),
            Reply::Parts(parts, _) => parts.fail(error),
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
            Reply::Caller(caller) => caller.is_gone(),
            Reply::Parts(parts, _) => parts.is_abandoned(),
        }
    }

    fn stacks_with(&self, other: &Self) -> bool {
        let same_row = |(a, b): (&Tensor, &Tensor)| a.dtype() == b.dtype() && a.dims()[1..] == b.dims()[1..];
        self.batchable && other.batchable && self.inputs.iter().zip(&other.inputs).all(same_row)
    }

    fn split(self, rows: usize) -> (Self, Self) {
        let Self { mut inputs, rows: mut rest, rows_total, batchable, deadline, queued, trace, reply } = self;
        let (parts, number) = match reply {
            Reply::Caller(caller) => (Arc::new(Parts::new(caller, rows_total)), 0),
            Reply::Parts(parts, number) => (parts, number),
        };
        let part = |inputs, rows, number| {
            let reply = Reply::Parts(Arc::clone(&parts), number);
            Self { inputs, rows, rows_total, batchable, deadline, queued, trace, reply }
        };
        let front = part(split_off_front(&mut inputs, rows, rest.rows()), rest.split_off(rows), number);
        (front, part(inputs, rest, parts.divide()))
    }
}

/// The number of rows that every input has, at least 1. `None` if the request runs alone.
///
/// A request with an input that has no elements runs alone and whole. Such an input costs nothing to send, however many rows it
/// claims (`[2^58, 0]`), and a run without elements does not tell what a row costs.
pub(crate) fn rows_of(inputs: &[Tensor], batchable: bool) -> Option<usize> {
    let rows = inputs.first()?.rows().filter(|_| batchable)?;
    let counts = |tensor: &Tensor| tensor.rows() == Some(rows) && tensor.element_count() > 0;
    inputs.iter().all(counts).then_some(rows)
}
