//! The trait of sessions, by which the actors run a model. `tensorflow::SavedModelSession` is the real session and
//! `fake::FakeSession` one for tests.

use std::time::Duration;

use crate::error::Error;
use crate::rows::Rows;
use crate::signature::Signature;
use crate::tensor::Tensor;

/// A loaded model that can be run from several threads at once.
pub trait Session: Send + Sync {
    /// The signatures of the model, sorted by name.
    fn signatures(&self) -> &[Signature];

    /// Runs the signature at index `signature` once on the rows of all `requests`.
    ///
    /// Each request holds its tensors in the order of the signature's inputs. The rows of several requests are stacked along the
    /// first dimension. A single request is fed as it is, whatever its shape. Gives the outputs of all rows together, in the
    /// signature's order. They share the memory of the run.
    ///
    /// # Errors
    /// `InvalidArgument` if TensorFlow blames the inputs; `DataLoss` if it finds bytes damaged, and `NotFound` if it does not find
    /// what they name, be they an input's or the model's; other codes if it blames neither.
    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error>;

    /// Does the same, and ends the run after `time` if it can.
    ///
    /// # Errors
    /// Those of [`Session::run`]; `DeadlineExceeded` if it has ended the run.
    fn run_within(&self, signature: usize, requests: &[&[Tensor]], _time: Duration) -> Result<Vec<Tensor>, Error> {
        self.run(signature, requests)
    }

    /// Notes that a run of the signature goes on after its time. Later runs are begun so that they can be ended, if there is a way.
    fn note_overdue(&self, _signature: usize) {}

    /// Gives back memory that runs have left. Called when a thread has had no run for a while.
    fn rest(&self) {}

    /// Whether the signature may run on inputs that nobody sent. It must not if a run may change the model.
    fn may_be_tried(&self, _signature: usize) -> bool {
        true
    }

    /// Names the missing assets, if the model was loaded without its initialiser.
    fn lacks(&self) -> Option<String> {
        None
    }

    /// How the trial of the signature at load ended.
    fn trial(&self, _signature: usize) -> Trial {
        Trial::NotTried
    }

    /// Whether the rows of the signature are independent, so that requests may share a run and a large request may be divided.
    fn rows(&self, signature: usize) -> Rows {
        let _ = signature;
        Rows::Unproven("nobody has looked".to_owned())
    }
}

/// How the trial of a signature at load ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Nothing was run.
    NotTried,
    /// It ran.
    Passed,
    /// TensorFlow blamed the made-up values, for this reason. The model may just take no zeros.
    Refused(String),
    /// It failed for another reason.
    Failed(String),
}

impl Trial {
    /// The warning for the model's owner, if the failure is the model's own.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        if let Self::Failed(why) = self {
            Some(why)
        } else {
            None
        }
    }

    /// Why it did not run, if it was tried.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::NotTried | Self::Passed => None,
            Self::Refused(why) | Self::Failed(why) => Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Behaviour, FakeSession};

    #[test]
    fn a_session_that_says_nothing_of_itself_may_be_tried_and_runs_to_the_end() {
        let session = FakeSession::new(Behaviour::HalfPlusTwo);
        let x = [Tensor::from_vec(&[1], vec![1.0_f32])];
        let within = session.run_within(0, &[&x], Duration::ZERO).unwrap();
        assert_eq!(within, session.run(0, &[&x]).unwrap());
        assert_eq!(within, [Tensor::from_vec(&[1], vec![2.5_f32])]);
        assert!(session.may_be_tried(0));
        assert_eq!(session.trial(0), Trial::NotTried);
    }

    #[test]
    fn only_a_failure_of_the_models_own_is_a_warning() {
        let why = "no kernel".to_owned();
        let told = |trial: Trial| (trial.warning().map(str::to_owned), trial.failure().map(str::to_owned));
        assert_eq!(told(Trial::NotTried), (None, None));
        assert_eq!(told(Trial::Passed), (None, None));
        assert_eq!(told(Trial::Refused(why.clone())), (None, Some(why.clone())));
        assert_eq!(told(Trial::Failed(why.clone())), (Some(why.clone()), Some(why)));
    }
}
