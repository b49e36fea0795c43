//! Classify and regress, for REST and gRPC: which signatures can do them, and how to read their outputs. A signature's method
//! name plays no part, because TensorFlow 2 saves all signatures with the method predict.

use std::sync::Arc;

use bytes::Bytes;
use tfweb_engine::{Error, Signature, Strings, Tensor};

use super::dtype_names::proto_name;

/// Names of inputs and outputs (tensorflow/cc/saved_model/signature_constants.h).
const INPUTS: &str = "inputs";
const CLASSES: &str = "classes";
const SCORES: &str = "scores";
const OUTPUTS: &str = "outputs";

/// The question about each example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Its labels and their scores.
    Classify,
    /// A number.
    Regress,
}

impl Task {
    /// Checks that a signature can do this task.
    ///
    /// # Errors
    /// `Unimplemented` for a signature with an input or output that is not served; `InvalidArgument` for one that cannot.
    pub(crate) fn check(self, signature: &Signature) -> Result<(), Error> {
        signature.check_served(None)?;
        let [input] = signature.inputs.as_slice() else {
            return Err(Error::invalid("Expected one input Tensor."));
        };
        let noun = match (self, signature.outputs.len()) {
            (Self::Classify, 1 | 2) => "classification",
            (Self::Regress, 1) => "regression",
            (Self::Classify, count) => {
                return Err(Error::invalid(format!("Expected one or two output Tensors, found {count}")));
            }
            (Self::Regress, _) => return Err(Error::invalid("Expected one output Tensor.")),
        };
        let name = &signature.name;
        if input.name != INPUTS {
            return Err(Error::invalid(format!("No {noun} inputs found in SignatureDef: {name}")));
        }
        let has = |name| signature.outputs.iter().any(|spec| spec.name == name);
        match self {
            Self::Classify if !has(CLASSES) && !has(SCORES) => Err(Error::invalid(format!(
                "Expected classification signature outputs to contain at least one of \"{CLASSES}\" or \"{SCORES}\". \
                 Signature was: {name}"
            ))),
            Self::Regress if !has(OUTPUTS) => Err(Error::invalid(format!("No regression outputs found in SignatureDef: {name}"))),
            Self::Classify | Self::Regress => Ok(()),
        }
    }
}

/// The input of a run: the serialized examples as strings. TensorFlow refuses them if the signature declares another dtype.
pub(crate) fn inputs(examples: Vec<Bytes>) -> Vec<Tensor> {
    vec![Tensor::from_strings(&[examples.len()], Arc::new(examples))]
}

/// The outputs of a classifier. Each example has the same number of classes.
pub(crate) struct Classes<'t> {
    columns: usize,
    labels: Option<&'t Strings>,
    scores: Option<&'t [f32]>,
}

impl<'t> Classes<'t> {
    /// Reads the outputs of a run on `rows` examples.
    ///
    /// # Errors
    /// `InvalidArgument` for outputs that are not classes.
    pub(crate) fn of(signature: &Signature, outputs: &'t [Tensor], rows: usize) -> Result<Self, Error> {
        let (labels, scores) = (named(signature, outputs, CLASSES), named(signature, outputs, SCORES));
        let mut columns = None;
        for (name, tensor, dtype) in [(CLASSES, labels, "DT_STRING"), (SCORES, scores, "DT_FLOAT")] {
            let Some(tensor) = tensor else { continue };
            let [found, count] = *tensor.dims() else {
                let shape = shape_text(tensor);
                return Err(Error::invalid(format!("Expected Tensor shape: [batch_size num_classes] but got {shape}")));
            };
            let was = proto_name(tensor.dtype());
            if was != dtype {
                return Err(Error::invalid(format!("Expected {name} Tensor of {dtype}. Got: {was}")));
            }
            if found != rows {
                return Err(Error::invalid(format!("Expected {name} output batch size of {rows}. Got: {found}")));
            }
            let before = *columns.get_or_insert(count);
            if before != count {
                let text = format!("Tensors class and score should match in dim_size(1). Got {before} vs. {count}");
                return Err(Error::invalid(text));
            }
        }
        let labels = labels.and_then(Tensor::as_strings);
        Ok(Self { columns: columns.unwrap_or_default(), labels, scores: scores.and_then(Tensor::as_slice) })
    }

    /// The classes of one example, as labels and scores. A missing label is empty, and a missing score is 0.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = (&'t [u8], f32)> {
        let (labels, scores) = (self.labels, self.scores);
        let at = row * self.columns..(row + 1) * self.columns;
        at.map(move |at| (labels.map_or(&b""[..], |labels| labels.get(at)), scores.map_or(0.0, |scores| scores[at])))
    }
}

/// Reads the outputs of a regression on `rows` examples: one number for each.
///
/// # Errors
/// `InvalidArgument` for outputs that are not such numbers.
pub(crate) fn regressions<'t>(signature: &Signature, outputs: &'t [Tensor], rows: usize) -> Result<&'t [f32], Error> {
    let outputs = named(signature, outputs, OUTPUTS);
    let outputs = outputs.ok_or_else(|| Error::invalid(format!("Could not find output tensor '{OUTPUTS}'")))?;
    if !matches!(outputs.dims(), [_] | [_, 1]) {
        let shape = shape_text(outputs);
        let text = format!("Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}");
        return Err(Error::invalid(text));
    }
    let found = outputs.rows().unwrap_or_default();
    if found != rows {
        return Err(Error::invalid(format!("Input batch size did not match output batch size: {rows} vs. {found}")));
    }
    let was = proto_name(outputs.dtype());
    outputs.as_slice().ok_or_else(|| Error::invalid(format!("Expected output Tensor of DT_FLOAT.  Got: {was}")))
}

fn named<'t>(signature: &Signature, outputs: &'t [Tensor], name: &str) -> Option<&'t Tensor> {
    signature.outputs.iter().position(|spec| spec.name == name).map(|index| &outputs[index])
}

fn shape_text(tensor: &Tensor) -> String {
    let dims: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfweb_engine::{DType, FeedShape, PartialShape, TensorSpec};

    fn signature(inputs: &[&str], outputs: &[&str]) -> Signature {
        let spec = |name: &&str| TensorSpec {
            name: (*name).into(),
            tensor: format!("{name}:0"),
            dtype: DType::Float32,
            shape: PartialShape::UNKNOWN,
            feed: FeedShape::ANY,
        };
        let [inputs, outputs] = [inputs, outputs].map(|names| names.iter().map(spec).collect());
        Signature { name: "s".into(), method: "tensorflow/serving/predict".into(), inputs, outputs, ..Signature::default() }
    }

    #[test]
    fn a_signature_does_what_its_names_say() {
        let check = |task: Task, inputs: &[&str], outputs: &[&str], expect: &str| {
            let error = task.check(&signature(inputs, outputs)).err().map_or(String::new(), |error| error.message);
            assert!(error.starts_with(expect) && error.is_empty() == expect.is_empty(), "{error}");
        };
        check(Task::Classify, &["inputs"], &["scores"], "");
        check(Task::Classify, &["inputs"], &["classes", "other"], "");
        check(Task::Regress, &["inputs"], &["outputs"], "");
        check(Task::Regress, &["inputs"], &["outputs", "other"], "Expected one output Tensor.");
        check(Task::Classify, &["inputs"], &["a", "b", "scores"], "Expected one or two output Tensors, found 3");
        check(Task::Classify, &["inputs", "x"], &["scores"], "Expected one input Tensor.");
        check(Task::Classify, &["x"], &["scores"], "No classification inputs found in SignatureDef: s");
        check(Task::Regress, &["inputs"], &["scores"], "No regression outputs found in SignatureDef: s");
    }

    #[test]
    fn classes_and_scores_belong_together() {
        let signature = signature(&["inputs"], &[CLASSES, SCORES]);
        let refused = |classes: Tensor, scores: Tensor| {
            let outputs = [classes, scores];
            Classes::of(&signature, &outputs, 1).err().map(|error| error.message).unwrap_or_default()
        };
        let labels = |dims: &[usize]| Tensor::from_strings(dims, Arc::new(vec![Bytes::new(); dims.iter().product()]));
        let scores = |dims: &[usize]| Tensor::from_vec(dims, vec![0.0_f32; dims.iter().product()]);
        assert_eq!(refused(labels(&[1, 2]), scores(&[1, 2])), "");
        let widths = "Tensors class and score should match in dim_size(1). Got 2 vs. 3";
        assert_eq!(refused(labels(&[1, 2]), scores(&[1, 3])), widths);
        assert_eq!(refused(labels(&[1, 2]), scores(&[2, 2])), "Expected scores output batch size of 1. Got: 2");
        assert_eq!(refused(labels(&[1, 2]), labels(&[1, 2])), "Expected scores Tensor of DT_FLOAT. Got: DT_STRING");
        assert_eq!(refused(scores(&[1, 2]), scores(&[1, 2])), "Expected classes Tensor of DT_STRING. Got: DT_FLOAT");
    }
}
