//! Bodies of HTTP requests.

use std::sync::LazyLock;

use bytes::Bytes;
use tfweb::protocols::{native, tf_serving::rest};
use tfweb_engine::{DType, Error, FeedShape, PartialShape, Signature, Tensor, TensorSpec};

/// Signatures of every kind that bodies are read for. The first byte of an input chooses one.
static SIGNATURES: LazyLock<Vec<Signature>> = LazyLock::new(|| {
    let rows = |dims: &[Option<usize>]| PartialShape::new([&[None], dims].concat());
    vec![
        signature(&[("x", DType::Float32, rows(&[]))]),
        signature(&[("a", DType::Float64, rows(&[None])), ("x", DType::Int64, rows(&[Some(2)]))]),
        signature(&[("x", DType::String, rows(&[None]))]),
        signature(&[("x", DType::Bool, rows(&[])), ("y", DType::Uint8, rows(&[Some(3), None])), ("z", DType::String, rows(&[]))]),
        signature(&[("x", DType::Float16, PartialShape::new([]))]),
        signature(&[("x", DType::Int32, PartialShape::UNKNOWN)]),
    ]
});

fn signature(inputs: &[(&str, DType, PartialShape)]) -> Signature {
    let spec = |(name, dtype, shape): &(&str, DType, PartialShape)| TensorSpec {
        name: (*name).to_owned(),
        tensor: format!("{name}:0"),
        dtype: *dtype,
        shape: shape.clone(),
        feed: FeedShape::ANY,
    };
    let inputs: Vec<TensorSpec> = inputs.iter().map(spec).collect();
    let method = "tensorflow/serving/predict".to_owned();
    Signature { name: "serving_default".to_owned(), method, outputs: inputs.clone(), inputs, ..Signature::default() }
}

/// Splits an input into a signature, a switch and a body.
fn split(input: &[u8]) -> Option<(&'static Signature, bool, &[u8])> {
    let (&choice, body) = input.split_first()?;
    let choice = usize::from(choice);
    Some((&SIGNATURES[choice / 2 % SIGNATURES.len()], choice % 2 == 1, body))
}

/// An accepted body gives one tensor for each input, with as many elements as its shape says. A refusal is short.
fn check(signature: &Signature, read: Result<Vec<Tensor>, Error>) {
    match read {
        Ok(tensors) => {
            assert_eq!(tensors.len(), signature.inputs.len());
            for (spec, tensor) in signature.inputs.iter().zip(&tensors) {
                assert_eq!(tensor.dtype(), spec.dtype, "{spec:?}");
            }
        }
        Err(error) => assert!(error.message.len() < 4000, "{error}"),
    }
}

pub(crate) fn native_json(input: &[u8]) {
    let Some((signature, transpose, body)) = split(input) else { return };
    let body = Bytes::copy_from_slice(body);
    check(signature, native::fuzzing::inputs("application/json", &body, signature, transpose));
}

pub(crate) fn native_form(input: &[u8]) {
    let Some((signature, transpose, body)) = split(input) else { return };
    let body = Bytes::copy_from_slice(body);
    check(signature, native::fuzzing::inputs("multipart/form-data; boundary=b", &body, signature, transpose));
}

pub(crate) fn tf_serving_predict(input: &[u8]) {
    let Some((signature, _, body)) = split(input) else { return };
    check(signature, rest::fuzzing::inputs(body, signature));
}

pub(crate) fn tf_serving_examples(input: &[u8]) {
    match rest::fuzzing::examples(input) {
        Ok(examples) => assert!(!examples.is_empty()),
        Err(error) => assert!(error.message.len() < 4000, "{error}"),
    }
}
