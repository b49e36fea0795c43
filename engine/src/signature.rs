//! Signatures: the inputs and outputs of a method of a model.

use crate::dtype::DType;
use crate::error::Error;
use crate::feed::{self, FeedShape};
use crate::shape::PartialShape;

/// One input or output of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name callers use.
    pub name: String,
    /// The name of the tensor in the graph, such as `x:0`.
    pub tensor: String,
    /// The element type.
    pub dtype: DType,
    /// The shape that the signature declares.
    pub shape: PartialShape,
    /// The shapes that may be fed, whatever the signature declares. Meaningless for an output.
    pub feed: FeedShape,
}

/// One method of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The signature's key in the SavedModel, such as `serving_default`.
    pub name: String,
    /// TensorFlow's method name, such as `tensorflow/serving/predict`.
    pub method: String,
    /// The inputs, sorted by name. Requests hold their tensors in this order.
    pub inputs: Vec<TensorSpec>,
    /// The outputs, sorted by name. Answers hold their tensors in this order.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Whether several requests can share a run: the first dimension of every input and output counts rows.
    #[must_use]
    pub fn is_batchable(&self) -> bool {
        !self.inputs.is_empty() && self.inputs.iter().chain(&self.outputs).all(|spec| spec.shape.has_rows())
    }

    /// The first input or output whose dtype is not served.
    #[must_use]
    pub fn unserved(&self) -> Option<&TensorSpec> {
        self.inputs.iter().chain(&self.outputs).find(|spec| !spec.dtype.is_served())
    }

    /// Checks that tensors of these dimensions, one for each input in order, may be fed together.
    ///
    /// # Errors
    /// `InvalidArgument`, which names the first input that may not be fed.
    pub fn check_feeds<'a>(&'a self, dims: impl Iterator<Item = &'a [usize]>) -> Result<(), Error> {
        feed::check_feeds(self.inputs.iter().zip(dims).map(|(spec, dims)| (spec.name.as_str(), &spec.feed, dims)))
    }

    /// The position of the input called `name`.
    #[must_use]
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|spec| spec.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Demands;

    fn spec(shape: PartialShape) -> TensorSpec {
        TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype: DType::Float32, shape, feed: FeedShape::ANY }
    }

    /// A signature of inputs with these names, and the output `y`.
    fn signature(inputs: &[&str]) -> Signature {
        let input = |name: &&str| TensorSpec { name: (*name).into(), ..spec(PartialShape::new([None, Some(2)])) };
        let outputs = vec![TensorSpec { name: "y".into(), ..spec(PartialShape::UNKNOWN) }];
        Signature { name: "s".into(), method: String::new(), inputs: inputs.iter().map(input).collect(), outputs }
    }

    #[test]
    fn inputs_are_found_by_name() {
        let signature = signature(&["a", "b", "c"]);
        assert_eq!(["a", "b", "c", "y"].map(|name| signature.input_index(name)), [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn the_first_input_or_output_that_is_not_served_is_found() {
        let mut signature = signature(&["a", "b"]);
        assert_eq!(signature.unserved(), None);
        signature.outputs[0].dtype = DType::Other(12);
        assert_eq!(signature.unserved().unwrap().name, "y");
        signature.inputs[1].dtype = DType::Other(20);
        assert_eq!(signature.unserved().unwrap().name, "b");
    }

    #[test]
    fn feeds_are_checked_by_the_shape_of_their_input() {
        let mut signature = signature(&["a", "b"]);
        signature.inputs[1].feed = FeedShape::new(signature.inputs[1].shape.clone(), Demands::UNKNOWN, false);
        let check = |dims: [&[usize]; 2]| signature.check_feeds(dims.into_iter());
        assert_eq!(check([&[3], &[3, 2]]), Ok(()));
        assert!(check([&[3], &[3, 1]]).unwrap_err().message.contains("input \"b\": expected shape [-1, 2]"));
    }

    #[test]
    fn batchable_needs_rows_everywhere() {
        let rows = || spec(PartialShape::new([None, Some(2)]));
        let batchable = |inputs, outputs| Signature { name: "s".into(), method: String::new(), inputs, outputs }.is_batchable();
        assert!(batchable(vec![rows(), rows()], vec![rows()]));
        assert!(!batchable(vec![rows()], vec![spec(PartialShape::new([]))]), "scalar output");
        assert!(!batchable(vec![rows()], vec![spec(PartialShape::UNKNOWN)]), "unknown rank");
        assert!(!batchable(vec![spec(PartialShape::new([Some(4)]))], vec![rows()]), "fixed rows");
        assert!(!batchable(vec![], vec![rows()]), "nothing to count rows by");
    }
}
