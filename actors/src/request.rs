//! A request as it waits and runs: its tensors, its rows, and the caller that waits for its answer.

use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::{Error, Tensor};
use tfweb_limits::{Deadline, Ledger, Stage};

use crate::batcher::Waiting;
use crate::caller::{Caller, Prediction, Run};
use crate::gauges::{CountedRows, RowGauges};
use crate::observer::TraceLink;
use crate::parts::{split_off_front, Part, PartOutputs};

/// One request, or a part of one, on its way from the handle to its answer.
pub(crate) struct Request {
    pub(crate) inputs: Vec<Tensor>,
    /// The rows in `inputs`, which still have to run; 1 if the request runs alone.
    rows: CountedRows,
    /// The rows of the whole request: more than `rows` once parts were taken off.
    rows_total: usize,
    /// The bytes of one row of `inputs`, on average over the whole request.
    row_bytes: usize,
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
    /// To the other parts of a request that runs in parts.
    Part(Part),
}

impl Request {
    /// Makes a request that begins to wait now. Its inputs have `bytes` bytes.
    pub(crate) fn new(
        inputs: Vec<Tensor>,
        bytes: usize,
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
        let (row_bytes, queued) = (bytes.div_ceil(rows_total), Instant::now());
        let rows = CountedRows::queue(rows_total, batch_rows_max, gauges);
        Self { inputs, rows, rows_total, row_bytes, batchable, deadline, queued, trace, reply: Reply::Caller(caller) }
    }

    /// The end of the request's time.
    pub(crate) const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// How many rows its next part has.
    pub(crate) fn part_rows(&self, batch_rows_max: usize) -> usize {
        self.gauges().part_rows(batch_rows_max, self.row_bytes)
    }

    /// The inputs of its first row; all of its inputs if it runs alone.
    pub(crate) fn one_row(&self) -> Vec<Tensor> {
        self.inputs.iter().map(|tensor| if self.batchable { tensor.slice_rows(0, 1) } else { tensor.clone() }).collect()
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
        matches!(self.reply, Reply::Part(_))
    }

    pub(crate) fn gauges(&self) -> &RowGauges {
        self.rows.gauges()
    }

    /// Notes that a run of the request begins at `now`.
    pub(crate) fn mark_started(&mut self, now: Instant) {
        self.rows.run();
        match &self.reply {
            Reply::Caller(caller) => caller.mark_started(),
            Reply::Part(part) => part.mark_started(now),
        }
    }

    /// Answers with the outputs of a run. If they are those of a part, and no rows that can be joined with those of the other
    /// parts, gives back the whole request: only a run of all its rows tells its outputs.
    pub(crate) fn succeed(self, outputs: Vec<Tensor>, run: Run, ledger: &Arc<Ledger>) -> Option<Self> {
        let Self { rows: counted, rows_total, row_bytes, deadline, queued, trace, reply, .. } = self;
        let (rows, again) = (counted.rows(), counted.template());
        // A caller that sees the answer must not find its rows still counted as running.
        drop(counted);
        match reply {
            Reply::Caller(caller) => {
                caller.send(Ok(Prediction::new(outputs.into(), queued, run.begun, run.link.into_iter().collect())));
                None
            }
            Reply::Part(part) => {
                let whole = part.succeed(PartOutputs { rows, outputs, run }, queued, ledger)?;
                let (inputs, rows, reply) = (whole.inputs, again(rows_total), Reply::Caller(whole.caller));
                Some(Self { inputs, rows, rows_total, row_bytes, batchable: false, deadline, queued, trace, reply })
            }
        }
    }

    /// Answers with an error. The error of a part answers the whole request.
    pub(crate) fn fail(self, error: &Error) {
        drop(self.rows);
        match self.reply {
            Reply::Caller(caller) => caller.send(Err(error.clone())),
            Reply::Part(part) => part.fail(error),
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
            Reply::Part(part) => part.is_abandoned(),
        }
    }

    fn stacks_with(&self, other: &Self) -> bool {
        let same_row = |(a, b): (&Tensor, &Tensor)| a.dtype() == b.dtype() && a.dims()[1..] == b.dims()[1..];
        self.batchable && other.batchable && self.inputs.iter().zip(&other.inputs).all(same_row)
    }

    fn split(self, rows: usize) -> (Self, Self) {
        let Self { mut inputs, rows: mut rest, rows_total, row_bytes, batchable, deadline, queued, trace, reply } = self;
        let part = match reply {
            Reply::Caller(caller) => Part::first(caller, inputs.clone(), rows_total),
            Reply::Part(part) => part,
        };
        let behind = part.divide();
        let front = split_off_front(&mut inputs, rows, rest.rows());
        let request = |inputs, rows, part| {
            let reply = Reply::Part(part);
            Self { inputs, rows, rows_total, row_bytes, batchable, deadline, queued, trace, reply }
        };
        (request(front, rest.split_off(rows), part), request(inputs, rest, behind))
    }
}

/// The number of rows that every input has, at least 1. `None` if the request runs alone.
pub(crate) fn rows_of(inputs: &[Tensor], batchable: bool) -> Option<usize> {
    let rows = inputs.first()?.rows().filter(|rows| batchable && *rows > 0)?;
    inputs.iter().all(|tensor| tensor.rows() == Some(rows)).then_some(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use futures::channel::oneshot;
    use tfweb_limits::Admission;

    use super::*;

    /// A request for batches of 32 rows.
    fn request(input: Tensor) -> Request {
        request_of(input, &Arc::default())
    }

    /// Such a request, which notes in `started` that its first run begins.
    fn request_of(input: Tensor, started: &Arc<AtomicBool>) -> Request {
        let caller = Caller::new(oneshot::channel().0, Arc::clone(started), Admission::new(1, 0).try_acquire(0).unwrap());
        Request::new(vec![input], 0, 32, Deadline::after(Duration::from_secs(20)), None, caller, Arc::default())
    }

    #[test]
    fn a_request_larger_than_a_batch_stays_so_in_its_parts() {
        let of = |rows: usize| request(Tensor::from_vec(&[rows], vec![0_u8; rows]));
        assert!(!of(32).exceeds(32) && of(33).exceeds(32));
        let (front, rest) = of(33).split(32);
        assert_eq!(
            [&front, &rest].map(|part| (part.rows(), part.exceeds(32), part.is_part())),
            [(32, true, true), (1, true, true)]
        );
    }

    #[test]
    fn a_large_request_has_begun_with_its_first_part() {
        let started = Arc::default();
        let (mut front, _rest) = request_of(Tensor::from_vec(&[33], vec![0_u8; 33]), &started).split(32);
        assert!(!started.load(Ordering::Relaxed));
        front.mark_started(Instant::now());
        assert!(started.load(Ordering::Relaxed));
    }

    #[test]
    fn rows_stack_that_have_one_dtype_and_one_shape() {
        let row = request(Tensor::from_vec(&[1, 2], vec![0_u8; 2]));
        for (other, expect) in [
            (Tensor::from_vec(&[3, 2], vec![0_u8; 6]), true),
            (Tensor::from_vec(&[1, 3], vec![0_u8; 3]), false),
            (Tensor::from_vec(&[1, 2], vec![0_i8; 2]), false),
            (Tensor::from_vec(&[], vec![0_u8]), false),
        ] {
            let other = request(other);
            assert_eq!([other.stacks_with(&row), row.stacks_with(&other)], [expect; 2], "{:?}", other.inputs);
        }
    }

    #[test]
    fn rows_count_where_all_inputs_have_as_many() {
        let check = |shapes: &[&[usize]], expect| {
            let tensor = |dims: &&[usize]| Tensor::from_vec(dims, vec![0_u8; dims.iter().product()]);
            let inputs: Vec<Tensor> = shapes.iter().map(tensor).collect();
            assert_eq!(rows_of(&inputs, true), expect, "{shapes:?}");
            assert_eq!(rows_of(&inputs, false), None);
        };
        check(&[&[3]], Some(3));
        check(&[&[3], &[3, 0], &[3, 2, 2]], Some(3));
        check(&[&[3, 0]], Some(3));
        check(&[&[0]], None);
        check(&[&[0, 3], &[0]], None);
        check(&[&[3], &[2]], None);
        check(&[&[3], &[]], None);
        check(&[&[]], None);
        check(&[], None);
    }
}
