//! A request that is larger than a batch: its rows are scattered over several runs, and its [`Part`]s gather the outputs.
//!
//! The parts of a request may run side by side and end in any order. The last part to end joins all outputs in the order of the
//! rows and answers the caller. Outputs that are not rows cannot be joined: then the request has to run whole.
//!
//! The outputs of the parts may be much larger than the request. They count into the memory of all requests as each part ends, and
//! twice while they are joined. Where they have no room, the request fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tfweb_engine::{batch, Error, Tensor};
use tfweb_limits::{Holding, Ledger, NoRoom, Share};

use crate::caller::{Caller, Outputs, Prediction, Run};
use crate::observer::TraceLink;

/// The place of one part's answer.
pub(crate) struct Part {
    request: Arc<Mutex<State>>,
    /// Orders the parts.
    number: usize,
}

/// The outputs of one part.
pub(crate) struct PartOutputs {
    /// How many rows the part has.
    pub(crate) rows: usize,
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) run: Run,
}

/// A request that has to run whole, because the outputs of its parts are not their rows.
pub(crate) struct Whole {
    pub(crate) caller: Caller,
    pub(crate) inputs: Vec<Tensor>,
}

struct State {
    /// `None` once the request is answered.
    caller: Option<Caller>,
    /// The inputs of the whole request. The parts share their memory.
    inputs: Vec<Tensor>,
    /// The outputs by part number. `None` for a part that still waits or runs.
    outputs: Vec<Option<Vec<Tensor>>>,
    /// The memory of `outputs`. `None` while there are none.
    share: Option<Share>,
    rows_missing: usize,
    /// When the first run of the request began.
    begun: Option<Instant>,
    runs: Vec<TraceLink>,
}

impl Part {
    /// Makes a request of `rows` rows one that runs in parts. All of its rows are part 0 at first.
    pub(crate) fn first(caller: Caller, inputs: Vec<Tensor>, rows: usize) -> Self {
        let (outputs, runs) = (vec![None], Vec::new());
        let state = State { caller: Some(caller), inputs, outputs, share: None, rows_missing: rows, begun: None, runs };
        Self { request: Arc::new(Mutex::new(state)), number: 0 }
    }

    /// Divides the last part: gives what stays behind. The part that was taken off keeps the number before it.
    pub(crate) fn divide(&self) -> Self {
        let mut state = self.lock();
        state.outputs.push(None);
        Self { request: Arc::clone(&self.request), number: state.outputs.len() - 1 }
    }

    /// Notes that a run of the part begins at `now`.
    pub(crate) fn mark_started(&self, now: Instant) {
        let mut state = self.lock();
        state.begun.get_or_insert(now);
        if let Some(caller) = &state.caller {
            caller.mark_started();
        }
    }

    /// Whether the request needs no answer any more: it has one, or its caller has gone away.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned()
    }

    /// Takes the outputs of the part. The last part answers the request, which was queued at `queued`. Gives the request back if
    /// the outputs are not the part's rows, or do not stack on those of the other parts.
    pub(crate) fn succeed(self, part: PartOutputs, queued: Instant, ledger: &Arc<Ledger>) -> Option<Whole> {
        let mut state = self.lock();
        if state.is_abandoned() {
            return None;
        }
        if part.outputs.iter().any(|output| output.rows() != Some(part.rows)) {
            return state.take_whole();
        }
        if let Err(full) = state.take_outputs(self.number, part, ledger) {
            drop(state);
            self.fail(&full.error());
            return None;
        }
        if state.rows_missing > 0 {
            return None;
        }
        let parts: Vec<Vec<Tensor>> = std::mem::take(&mut state.outputs).into_iter().flatten().collect();
        let share = state.share.take().unwrap_or_else(|| ledger.empty(Holding::Answers));
        drop(state);
        match join(parts, share) {
            Err(full) => self.fail(&full.error()),
            Ok(None) => return self.lock().take_whole(),
            Ok(Some(outputs)) => self.answer(outputs, queued),
        }
        None
    }

    /// Answers the whole request with the error of this part.
    pub(crate) fn fail(self, error: &Error) {
        let mut state = self.lock();
        let caller = state.caller.take();
        // The outputs of parts that have ended need not wait for those that have not.
        let outputs = (std::mem::take(&mut state.outputs), state.share.take());
        drop(state);
        drop(outputs);
        if let Some(caller) = caller {
            caller.send(Err(error.clone()));
        }
    }

    fn answer(self, outputs: Outputs, queued: Instant) {
        let mut state = self.lock();
        let (caller, runs, begun) = (state.caller.take(), std::mem::take(&mut state.runs), state.begun.unwrap_or(queued));
        drop(state);
        if let Some(caller) = caller {
            caller.send(Ok(Prediction::new(outputs, queued, begun, runs)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Part {
    /// A panic may drop a part that has neither outputs nor an error. Its request ends then, or it would wait for the other parts
    /// in vain.
    fn drop(&mut self) {
        let mut state = self.lock();
        let lost = if matches!(state.outputs.get(self.number), Some(None)) { state.caller.take() } else { None };
        drop(state);
        drop(lost);
    }
}

impl State {
    fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_none_or(Caller::is_gone)
    }

    /// Keeps the outputs of part `number`, if they have room.
    fn take_outputs(&mut self, number: usize, part: PartOutputs, ledger: &Arc<Ledger>) -> Result<(), NoRoom> {
        let share = self.share.get_or_insert_with(|| ledger.empty(Holding::Answers));
        share.grow(held_bytes(&part.outputs))?;
        self.outputs[number] = Some(part.outputs);
        self.rows_missing -= part.rows;
        self.runs.extend(part.run.link);
        Ok(())
    }

    fn take_whole(&mut self) -> Option<Whole> {
        (self.outputs, self.share) = (Vec::new(), None);
        let caller = self.caller.take()?;
        Some(Whole { caller, inputs: std::mem::take(&mut self.inputs) })
    }
}

/// Joins the outputs of all parts, whose memory is `share`. Gives `None` if they do not stack.
fn join(parts: Vec<Vec<Tensor>>, mut share: Share) -> Result<Option<Outputs>, NoRoom> {
    share.grow(share.bytes())?;
    let Ok(outputs) = batch::join(&parts) else {
        return Ok(None);
    };
    drop(parts);
    share.shrink_to(held_bytes(&outputs));
    Ok(Some(Outputs::counted(outputs, share)))
}

fn held_bytes(outputs: &[Tensor]) -> usize {
    outputs.iter().map(Tensor::held_bytes).sum()
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
