//! Tries each signature when its model is loaded. The trial warms the signature up, finds models that load but cannot run, measures
//! whether operations run faster in the calling thread or in TensorFlow's pool, and finds out whether rows are independent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::comparison;
use crate::dtype::DType;
use crate::error::{Code, Error};
use crate::rows::{self, Rows};
use crate::session::Trial;
use crate::shape::{element_count, Dims};
use crate::signature::{Side, Signature, TensorSpec};
use crate::tensor::Tensor;
use crate::with_scalar::with_scalar;

/// How long the trials of all signatures of a model may take, beside the first run of each, which takes as long as it takes. The time
/// that one signature does not need is for those behind it. Loading a large model takes about as long.
pub(super) const TRIALS_TIME: Duration = Duration::from_secs(3);
/// How long the comparison for one signature may take, so that a model with many signatures still starts quickly.
const COMPARE_TIME: Duration = Duration::from_millis(100);
/// The most runs of each kind in a comparison. After this many, the time of the fastest no longer changes.
const COMPARE_RUNS_MAX: usize = 20;
/// The largest input that is made up. A larger one would slow the start more than the trial gains.
const INPUT_BYTES_MAX: usize = 64 << 20;

/// Where the operations of a run execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterOp {
    /// In the place that the trial of the signature at load finds faster.
    Auto,
    /// In the thread that calls `Session::run`: no hand-over, best for small graphs.
    Caller,
    /// In TensorFlow's own pool, where branches of wide graphs run side by side.
    Pool,
}

/// The result of the trial of one signature.
pub(super) struct Probe {
    /// Whether operations run in the calling thread.
    pub(super) run_in_caller: bool,
    pub(super) trial: Trial,
    pub(super) rows: Rows,
}

/// The time for the trials of the signatures of a model.
pub(super) struct Clock {
    left: Duration,
    /// The signatures that are still to be tried.
    signatures: usize,
}

impl Clock {
    pub(super) const fn new(time: Duration, signatures: usize) -> Self {
        Self { left: time, signatures }
    }

    /// Lets the next signature be tried until the end of its time: half of what is left, and all of it for the last one. Most signatures
    /// need little of theirs.
    fn next<T>(&mut self, try_until: impl FnOnce(Instant) -> T) -> T {
        let begun = Instant::now();
        let share = if self.signatures > 1 { self.left / 2 } else { self.left };
        let tried = try_until(begun + share);
        self.signatures = self.signatures.saturating_sub(1);
        self.left = self.left.saturating_sub(begun.elapsed());
        tried
    }
}

/// Tries one signature. `run` runs it on inputs, in the calling thread if the second argument is true, and otherwise for at most the time
/// of the third.
pub(super) fn probe(
    signature: &Signature,
    inter_op: InterOp,
    clock: &mut Clock,
    run: impl Fn(&[Tensor], bool, Duration) -> Result<Vec<Tensor>, Error>,
) -> Probe {
    let (trial, inputs) = on_zeros(signature, |inputs| run(inputs, inter_op != InterOp::Pool, Duration::MAX));
    clock.next(|end| {
        let rows = if signature.is_batchable() && may_be_tried(signature) && trial.warning().is_none() {
            // In TensorFlow's pool, which can end a run.
            rows::prove(signature, end, &|inputs, time| run(inputs, false, time))
        } else {
            Rows::Unproven("it cannot be tried on made-up rows".to_owned())
        };
        let run_in_caller = match (inter_op, inputs) {
            (InterOp::Caller, _) => true,
            (InterOp::Auto, Some(inputs)) => caller_is_faster(end, |in_caller| run(&inputs, in_caller, Duration::MAX)),
            (InterOp::Auto | InterOp::Pool, _) => false,
        };
        Probe { run_in_caller, trial, rows }
    })
}

/// Tries one signature on zeros, and on an image if it takes strings. Gives the inputs on which it has run.
fn on_zeros(signature: &Signature, run: impl Fn(&[Tensor]) -> Result<Vec<Tensor>, Error>) -> (Trial, Option<Vec<Tensor>>) {
    let mut trial = Trial::NotTried;
    for inputs in trial_inputs(signature) {
        match run(&inputs) {
            Ok(_) => return (Trial::Passed, Some(inputs)),
            // Of several failures, the first is about zeros and empty strings.
            Err(error) if trial == Trial::NotTried => trial = failed(&error),
            Err(_) => {}
        }
    }
    (trial, None)
}

/// Makes the inputs to try, one set after another: zeros and empty strings, and for a signature with strings also an image.
fn trial_inputs(signature: &Signature) -> Vec<Vec<Tensor>> {
    if !may_be_tried(signature) {
        return Vec::new();
    }
    let has_strings = signature.inputs.iter().any(|spec| spec.dtype == DType::String);
    let strings: &[&'static [u8]] = if has_strings { &[b"", rows::IMAGES[0]] } else { &[b""] };
    let inputs = |string: &'static [u8]| signature.inputs.iter().map(|spec| blank(spec, string)).collect();
    strings.iter().filter_map(|string| inputs(string)).collect()
}

/// Whether the signature may run on values that are made up. It must not if it has an input that is not served, if it has no inputs, for
/// it can only read or change the model's state, or if made-up values may end the process.
fn may_be_tried(signature: &Signature) -> bool {
    // Zeros are no parts of a ragged or sparse tensor: some operations trust parts that fit together.
    let takes_parts = signature.may_take_parts() || signature.composites.iter().any(|whole| whole.side == Side::Input);
    let is_run = !signature.inputs.is_empty() && !signature.outputs.is_empty() && signature.check_served(Some(&|_| false)).is_ok();
    let is_safe = signature.inputs.iter().all(|spec| spec.feed.may_be_tried());
    is_run && !takes_parts && is_safe
}

/// Makes a tensor of zeros, or of `string`s, in the input's shape. A dimension that may vary gets the size 1. `None` if the rank is not
/// known, or if the tensor would be large.
fn blank(spec: &TensorSpec, string: &'static [u8]) -> Option<Tensor> {
    let dims: Dims = spec.shape.dims()?.iter().map(|dim| dim.unwrap_or(1)).collect();
    let count = element_count(&dims)?;
    if count.checked_mul(8)? > INPUT_BYTES_MAX {
        return None;
    }
    Some(with_scalar!(spec.dtype, T => {
        Tensor::from_vec(&dims, vec![T::default(); count])
    }, else {
        Tensor::from_strings(&dims, Arc::new(vec![Bytes::from_static(string); count]))
    }))
}

fn caller_is_faster(end: Instant, run: impl Fn(bool) -> Result<Vec<Tensor>, Error>) -> bool {
    let time = |in_caller| {
        let start = Instant::now();
        let _ = run(in_caller);
        start.elapsed()
    };
    let _turn = comparison::turn();
    // The fastest run of each kind counts, and the kinds take turns: other work on the machine slows both and speeds up neither.
    let deadline = end.min(Instant::now() + COMPARE_TIME);
    let (mut caller, mut pool) = (Duration::MAX, Duration::MAX);
    for _ in 0..COMPARE_RUNS_MAX {
        caller = caller.min(time(true));
        pool = pool.min(time(false));
        if Instant::now() > deadline {
            break;
        }
    }
    caller <= pool
}

/// Tells a failure of the model from one that may only show that it takes no zeros.
fn failed(error: &Error) -> Trial {
    let cure = if error.message.contains("Could not find variable") {
        "; if it was made with Keras 3, save it with model.export(directory): tf.saved_model.save loses its variables"
    } else {
        ""
    };
    let why = format!("a trial run on zeros failed: {}{cure}", error.message);
    if error.code == Code::InvalidArgument {
        Trial::Refused(why)
    } else {
        Trial::Failed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sessions_own_failures_are_warnings() {
        let refused = failed(&Error::invalid("Expected image (JPEG, PNG, or GIF), got empty file"));
        assert_eq!((refused.warning(), refused.failure().is_some()), (None, true));
        let text = failed(&Error::internal("Could not find variable dense/kernel"));
        assert!(text.warning().unwrap().contains("model.export"), "{text:?}");
        assert!(!failed(&Error::internal("out of luck")).warning().unwrap().contains("Keras"));
        assert_eq!((Trial::Passed.failure(), Trial::NotTried.failure()), (None, None));
    }
}
