//! A request that is larger than a batch: its rows are scattered over several runs, and [`Parts`] gathers the outputs.
//!
//! The parts of a request may run side by side and end in any order. The last part to end joins all outputs in the order of the
//! rows and answers the caller.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tfweb_engine::{batch, Error, Tensor};

use crate::caller::{Caller, Prediction, Run};
use crate::observer::TraceLink;

/// Gathers the answers of a request's parts.
pub(crate) struct Parts(Mutex<State>);

/// The outputs of one part.
pub(crate) struct PartOutputs {
    /// The part's number, which orders the parts.
    pub(crate) number: usize,
    /// How many rows the part has.
    pub(crate) rows: usize,
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) run: Run,
}

struct State {
    /// `None` once the request is answered.
    caller: Option<Caller>,
    /// The outputs by part number. `None` for a part that still waits or runs.
    outputs: Vec<Option<Vec<Tensor>>>,
    rows_missing: usize,
    /// When the first run of the request began.
    begun: Option<Instant>,
    runs: Vec<TraceLink>,
}

impl Parts {
    /// Makes a request of `rows` rows one that runs in parts. All of its rows are part 0 at first.
    pub(crate) fn new(caller: Caller, rows: usize) -> Self {
        let (outputs, runs) = (vec![None], Vec::new());
        Self(Mutex::new(State { caller: Some(caller), outputs, rows_missing: rows, begun: None, runs }))
    }

    /// Divides the last part: gives the number of what stays behind. The part that was taken off keeps the number before it.
    pub(crate) fn divide(&self) -> usize {
        let mut state = self.lock();
        state.outputs.push(None);
        state.outputs.len() - 1
    }

    /// Notes that a run of a part begins at `now`.
    pub(crate) fn mark_started(&self, now: Instant) {
        let mut state = self.lock();
        state.begun.get_or_insert(now);
        if let Some(caller) = &state.caller {
            caller.mark_started();
        }
    }

    /// Whether the request needs no answer any more: it has one, or its caller has gone away.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().caller.as_ref().is_none_or(Caller::is_gone)
    }

    /// Takes the outputs of a part. The last part answers the request, which was queued at `queued`.
    pub(crate) fn succeed(&self, part: PartOutputs, queued: Instant) {
        let mut state = self.lock();
        state.outputs[part.number] = Some(part.outputs);
        state.rows_missing -= part.rows;
        state.runs.extend(part.run.link);
        if state.rows_missing > 0 {
            return;
        }
        let Some(caller) = state.caller.take() else {
            return;
        };
        let begun = state.begun.unwrap_or(queued);
        let outputs: Vec<Vec<Tensor>> = std::mem::take(&mut state.outputs).into_iter().flatten().collect();
        let runs = std::mem::take(&mut state.runs);
        drop(state);
        caller.send(batch::join(&outputs).map(|outputs| Prediction::new(outputs, queued, begun, runs)));
    }

    /// Answers the whole request with the error of one part.
    pub(crate) fn fail(&self, error: &Error) {
        let caller = self.lock().caller.take();
        if let Some(caller) = caller {
            caller.send(Err(error.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes `rows` rows off the front of `inputs`, which have `rows_all` rows. Copies no element.
pub(crate) fn split_off_front(inputs: &mut [Tensor], rows: usize, rows_all: usize) -> Vec<Tensor> {
    let split = |tensor: &mut Tensor| {
        let front = tensor.slice_rows(0, rows);
        *tensor = tensor.slice_rows(rows, rows_all - rows);
        front
    };
    inputs.iter_mut().map(split).collect()
}
