//! The trait of sessions, by which the actors run a model. `tensorflow::SavedModelSession` is the real session and
//! `fake::FakeSession` one for tests.

use crate::error::Error;
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
    /// `InvalidArgument` if TensorFlow blames the inputs; other codes if it does not.
    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error>;

    /// The warning for the model's owner, if the trial of the signature at load has failed.
    fn warning(&self, signature: usize) -> Option<&str> {
        let _ = signature;
        None
    }
}
