//! A session without TensorFlow, for tests of the code above the engine.
//!
//! The session computes a simple function and records the rows of every run. A test can hold its runs, so that requests gather
//! behind them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::batch;
use crate::dtype::DType;
use crate::error::Error;
use crate::feed::FeedShape;
use crate::session::Session;
use crate::shape::PartialShape;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::Tensor;

/// The function that a [`FakeSession`] computes.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// `y = x / 2 + 2`; `x` float32 `[-1]`.
    HalfPlusTwo,
    /// `y = x`; `x` float32 `[-1, -1]`.
    Echo,
    /// `y = x`, after this time.
    Slow(Duration),
    /// `y = x`; fails with `InvalidArgument` if any element is negative.
    FailsOnNegative,
    /// Every run fails with `Internal`.
    AlwaysFails,
    /// `y = x`; panics if any element is negative.
    PanicsOnNegative,
    /// `y` = the elements above zero, so that `y` may have fewer rows than `x`.
    PositiveOnly,
}

/// A session that needs no TensorFlow. See the [module](self).
pub struct FakeSession {
    signatures: Vec<Signature>,
    behaviour: Behaviour,
    progress: Mutex<Progress>,
    /// Tells of every change of the progress. A Condvar serves only one mutex.
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Whether runs wait at their start.
    is_held: bool,
    /// The signature and the rows of every run begun so far.
    runs: Vec<(usize, usize)>,
}

impl FakeSession {
    /// Makes a session with the signature `serving_default`, which has the input `x` and the output `y`.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> Self {
        Self::with_signatures(behaviour, &["serving_default"])
    }

    /// Makes a session with several signatures, which all compute the same.
    #[must_use]
    pub fn with_signatures(behaviour: Behaviour, names: &[&str]) -> Self {
        let dims = if matches!(behaviour, Behaviour::Echo) { vec![None, None] } else { vec![None] };
        let spec = |name: &str| {
            let shape = PartialShape::new(dims.clone());
            TensorSpec { name: name.into(), tensor: format!("{name}:0"), dtype: DType::Float32, shape, feed: FeedShape::ANY }
        };
        let signature = |name: &&str| Signature {
            name: (*name).into(),
            method: "tensorflow/serving/predict".into(),
            inputs: vec![spec("x")],
            outputs: vec![spec("y")],
            ..Signature::default()
        };
        Self { signatures: names.iter().map(signature).collect(), behaviour, progress: Mutex::default(), changed: Condvar::new() }
    }

    /// Makes every run wait at its start until [`FakeSession::release`] is called.
    pub fn hold(&self) {
        self.progress().is_held = true;
    }

    /// Lets the waiting runs and all later runs go on.
    pub fn release(&self) {
        self.progress().is_held = false;
        self.changed.notify_all();
    }

    /// The rows of every run begun so far, in order.
    #[must_use]
    pub fn run_rows(&self) -> Vec<usize> {
        self.progress().runs.iter().map(|&(_, rows)| rows).collect()
    }

    /// The index of the signature of every run begun so far, in order.
    #[must_use]
    pub fn run_signatures(&self) -> Vec<usize> {
        self.progress().runs.iter().map(|&(signature, _)| signature).collect()
    }

    /// Waits until `count` runs have begun.
    ///
    /// # Panics
    /// If that takes longer than ten seconds.
    pub fn wait_for_runs(&self, count: usize) {
        let (progress, timeout) = self
            .changed
            .wait_timeout_while(self.progress(), Duration::from_secs(10), |progress| progress.runs.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "expected {count} runs, got {:?}", progress.runs);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // A run that panics on purpose holds no lock, and the progress is valid at every moment.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session for FakeSession {
    fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        let x = batch::merge(requests, 0)?;
        let values = x.as_slice::<f32>().ok_or_else(|| Error::invalid("expected float32"))?;
        let mut progress = self.progress();
        progress.runs.push((signature, x.rows().unwrap_or(0)));
        self.changed.notify_all();
        drop(self.changed.wait_while(progress, |progress| progress.is_held));

        let negative = values.iter().any(|&value| value < 0.0);
        match self.behaviour {
            Behaviour::HalfPlusTwo => Ok(vec![Tensor::from_vec(x.dims(), values.iter().map(|value| value / 2.0 + 2.0).collect())]),
            Behaviour::PositiveOnly => {
                let positive: Vec<f32> = values.iter().copied().filter(|&value| value > 0.0).collect();
                Ok(vec![Tensor::from_vec(&[positive.len()], positive)])
            }
            Behaviour::AlwaysFails => Err(Error::internal("the session is broken")),
            Behaviour::FailsOnNegative if negative => Err(Error::invalid("x must not be negative")),
            Behaviour::PanicsOnNegative if negative => panic!("x must not be negative"),
            Behaviour::Slow(time) => {
                std::thread::sleep(time);
                Ok(vec![x])
            }
            Behaviour::Echo | Behaviour::FailsOnNegative | Behaviour::PanicsOnNegative => Ok(vec![x]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{mpsc, Arc};

    use super::*;
    use crate::error::Code;

    #[test]
    fn half_plus_two_records_its_runs() {
        let session = FakeSession::new(Behaviour::HalfPlusTwo);
        let request = [Tensor::from_vec(&[2], vec![1.0_f32, 2.0])];
        let outputs = session.run(0, &[&request, &request]).unwrap();
        assert_eq!(outputs[0].as_slice::<f32>().unwrap(), [2.5, 3.0, 2.5, 3.0]);
        assert_eq!(session.run_rows(), [4]);
    }

    #[test]
    fn held_runs_end_once_they_are_released() {
        // Many times, for the thread could be late once.
        for _ in 0..100 {
            let (session, is_released) = (Arc::new(FakeSession::new(Behaviour::Echo)), Arc::new(AtomicBool::new(false)));
            session.hold();
            let (ended, end) = mpsc::channel();
            std::thread::spawn({
                let (session, is_released) = (Arc::clone(&session), Arc::clone(&is_released));
                move || {
                    session.run(0, &[&[Tensor::from_vec(&[1, 1], vec![1.0_f32])]]).unwrap();
                    ended.send(is_released.load(Ordering::SeqCst)).unwrap();
                }
            });
            session.wait_for_runs(1);
            assert_eq!(session.run_rows(), [1]);
            is_released.store(true, Ordering::SeqCst);
            session.release();
            assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(true), "the run was held until then");
        }
    }

    #[test]
    fn each_behaviour_has_its_outputs() {
        let x = || [Tensor::from_vec(&[3], vec![0.0_f32, -1.0, 2.0])];
        let run = |behaviour| FakeSession::new(behaviour).run(0, &[&x()]).map_err(|error| error.code);
        for behaviour in [Behaviour::Echo, Behaviour::Slow(Duration::ZERO)] {
            assert_eq!(run(behaviour), Ok(x().to_vec()));
        }
        assert_eq!(run(Behaviour::PositiveOnly), Ok(vec![Tensor::from_vec(&[1], vec![2.0_f32])]));
        assert_eq!(run(Behaviour::AlwaysFails), Err(Code::Internal));
        assert_eq!(run(Behaviour::FailsOnNegative), Err(Code::InvalidArgument));
        assert!(std::panic::catch_unwind(|| run(Behaviour::PanicsOnNegative)).is_err());
        for behaviour in [Behaviour::FailsOnNegative, Behaviour::PanicsOnNegative] {
            let others = [Tensor::from_vec(&[2], vec![0.0_f32, 1.0])];
            assert_eq!(FakeSession::new(behaviour).run(0, &[&others]), Ok(others.to_vec()), "zero is not negative");
        }
    }

    #[test]
    fn signatures_are_told_apart() {
        let session = FakeSession::with_signatures(Behaviour::Echo, &["a", "b"]);
        let of = |name: &str| {
            let tensor = |name: &str| format!("{name}:0");
            (name.to_owned(), "tensorflow/serving/predict".to_owned(), vec![tensor("x")], vec![tensor("y")])
        };
        let tensors = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.tensor.clone()).collect::<Vec<_>>();
        let signature = |signature: &Signature| {
            (signature.name.clone(), signature.method.clone(), tensors(&signature.inputs), tensors(&signature.outputs))
        };
        assert_eq!(session.signatures().iter().map(signature).collect::<Vec<_>>(), [of("a"), of("b")]);
        let x = [Tensor::from_vec(&[1, 1], vec![1.0_f32])];
        for index in [1, 0, 1] {
            session.run(index, &[&x]).unwrap();
        }
        assert_eq!(session.run_signatures(), [1, 0, 1]);
    }
}
