//! What the actors need of a session; the real one is [`crate::tensorflow::SavedModelSession`], a fake one
//! [`crate::fake::FakeSession`].

use crate::error::Error;
use crate::signature::Signature;
use crate::tensor::Tensor;

/// A loaded model that can be run from several threads at once.
pub trait Session: Send + Sync {
    /// The model's methods, sorted by name.
    fn signatures(&self) -> &[Signature];

    /// Runs the signature at index `signature` once on the rows of all `requests`.
    ///
    /// Each request holds its tensors in the order of the signature's inputs. Several requests are stacked along their
    /// first dimension; one alone is fed as it is, whatever its shape. Gives the outputs in the signature's order, of all
    /// rows together; their memory is the run's own, shared.
    ///
    /// # Errors
    /// The session's own error: `InvalidArgument` for what the inputs caused, others for what they did not.
    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error>;

    /// What trying the signature at load found wrong with it, in words for the model's owner.
    fn warning(&self, signature: usize) -> Option<&str> {
        let _ = signature;
        None
    }
}
