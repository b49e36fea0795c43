//! `:classify` and `:regress`: JSON examples become serialized `tf.Example`s, the one string input of the signature; its outputs
//! become results.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use serde_json::value::RawValue;
use tfweb_engine::{Code, Error, Signature, Tensor};

use super::decimal::Decimal;
use super::document::Document;
use super::dtypes::proto_name;
use super::elements::decode_base64;
use super::encode::write_string;
use super::raw::{self, Kind};
use crate::wire::tensorflow::feature::Kind as FeatureKind;
use crate::wire::tensorflow::{BytesList, Example, Feature, Features, FloatList, Int64List};

/// What examples are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Classify,
    Regress,
}

impl Task {
    const fn method(self) -> &'static str {
        match self {
            Self::Classify => "tensorflow/serving/classify",
            Self::Regress => "tensorflow/serving/regress",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Classify => "classification",
            Self::Regress => "regression",
        }
    }
}

/// The name of the input (tensorflow/cc/saved_model/signature_constants.h).
const INPUTS: &str = "inputs";

/// Serializes the examples of a document, each with the context before it.
///
/// # Errors
/// `InvalidArgument` for what is no example.
pub(super) fn serialize(document: &Document<'_>) -> Result<Vec<Bytes>, Error> {
    let context = document.context.map(|context| example(context).map(|context| context.encode_to_vec())).transpose()?;
    let context = context.unwrap_or_default();
    let Some(examples) = document.examples else {
        return Err(document.refusal("When method is classify, key 'examples' is expected and was not found"));
    };
    if raw::kind(examples) != Kind::Array {
        return Err(document.refusal("Expecting 'examples' value to be an list/array"));
    }
    let mut serialized = Vec::new();
    raw::each_value(examples, |_, value| {
        // One message behind another is both merged.
        let mut bytes = context.clone();
        example(value)?.encode(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
        serialized.push(Bytes::from(bytes));
        Ok(())
    })?;
    if serialized.is_empty() {
        return Err(document.refusal("'examples' value is an empty array"));
    }
    Ok(serialized)
}

fn example(value: &RawValue) -> Result<Example, Error> {
    if raw::kind(value) != Kind::Object {
        return Err(Error::invalid(format!("Example must be JSON object but got JSON {}", raw::kind(value).name())));
    }
    let mut features = Features::default();
    raw::each_entry(value, |name, content| {
        let mut feature = Feature::default();
        if raw::kind(content) == Kind::Array {
            raw::each_value(content, |_, value| add(&mut feature, name, value))?;
        } else {
            add(&mut feature, name, content)?;
        }
        features.feature.insert(name.to_owned(), feature);
        Ok::<_, Error>(())
    })?;
    Ok(Example { features: Some(features).filter(|features| !features.feature.is_empty()) })
}

/// Adds a value to a feature, whose kind the first one settles.
fn add(feature: &mut Feature, name: &str, value: &RawValue) -> Result<(), Error> {
    let kind = raw::kind(value);
    let unexpected = || {
        let (name, kind) = (raw::shown_text(name), kind.name());
        Error::invalid(format!("Feature: {name} has element with unexpected JSON type: {kind}"))
    };
    match kind {
        Kind::Null | Kind::Array => Err(unexpected()),
        Kind::False | Kind::True => add_integer(feature, name, i64::from(kind == Kind::True)),
        Kind::Object => {
            let text = raw::base64_text(value).ok_or_else(unexpected)?;
            add_bytes(feature, name, decode_base64(&text).ok_or_else(|| Error::invalid("Unable to base64 decode"))?)
        }
        Kind::String => {
            let text = raw::text(value).ok_or_else(|| Error::invalid("JSON Parse error: Invalid encoding in string."))?;
            add_bytes(feature, name, text.into_owned().into_bytes())
        }
        Kind::Number => add_number(feature, name, value),
    }
}

fn add_number(feature: &mut Feature, name: &str, value: &RawValue) -> Result<(), Error> {
    let text = raw::shown(value);
    if let Ok(integer) = text.parse() {
        return add_integer(feature, name, integer);
    }
    if text.parse::<u64>().is_ok() {
        let text = format!("Feature: {} has uint64 element. Only int64 is supported.", raw::shown_text(name));
        return Err(Error::invalid(text));
    }
    let number = match text.as_ref() {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => serde_json::from_str(value.get())
            .map_err(|_| Error::invalid(format!("JSON Parse error: Number too big to be stored in double. {text}")))?,
    };
    match feature.kind.get_or_insert_with(|| FeatureKind::FloatList(FloatList::default())) {
        FeatureKind::FloatList(list) => list.value.push(number as f32),
        other @ (FeatureKind::BytesList(_) | FeatureKind::Int64List(_)) => return Err(other_kind(name, other)),
    }
    Ok(())
}

fn add_integer(feature: &mut Feature, name: &str, value: i64) -> Result<(), Error> {
    match feature.kind.get_or_insert_with(|| FeatureKind::Int64List(Int64List::default())) {
        FeatureKind::Int64List(list) => list.value.push(value),
        other @ (FeatureKind::BytesList(_) | FeatureKind::FloatList(_)) => return Err(other_kind(name, other)),
    }
    Ok(())
}

fn add_bytes(feature: &mut Feature, name: &str, value: Vec<u8>) -> Result<(), Error> {
    match feature.kind.get_or_insert_with(|| FeatureKind::BytesList(BytesList::default())) {
        FeatureKind::BytesList(list) => list.value.push(value.into()),
        other @ (FeatureKind::FloatList(_) | FeatureKind::Int64List(_)) => return Err(other_kind(name, other)),
    }
    Ok(())
}

fn other_kind(name: &str, kind: &FeatureKind) -> Error {
    let kind = match kind {
        FeatureKind::BytesList(_) => "bytes",
        FeatureKind::FloatList(_) => "float",
        FeatureKind::Int64List(_) => "int64",
    };
    Error::invalid(format!("Unexpected element type in feature: {} expecting type: {kind}", raw::shown_text(name)))
}

/// Checks that a signature is of the kind that is asked for, and makes its one input of serialized examples.
///
/// # Errors
/// `InvalidArgument` or `FailedPrecondition` for a signature of another form.
pub(super) fn inputs(task: Task, signature: &Signature, examples: Vec<Bytes>) -> Result<Vec<Tensor>, Error> {
    let (noun, method) = (task.noun(), task.method());
    if signature.method != method {
        let was = &signature.method;
        return Err(Error::invalid(format!("Expected {noun} signature method_name to be {method}. Was: {was}")));
    }
    let [input] = signature.inputs.as_slice() else {
        return Err(Error::invalid("Expected one input Tensor."));
    };
    let precondition = |text: String| Err(Error::new(Code::FailedPrecondition, text));
    match (task, signature.outputs.len()) {
        (Task::Classify, 1 | 2) | (Task::Regress, 1) => {}
        (Task::Classify, count) => {
            return Err(Error::invalid(format!("Expected one or two output Tensors, found {count}")));
        }
        (Task::Regress, _) => return Err(Error::invalid("Expected one output Tensor.")),
    }
    if input.name != INPUTS {
        return precondition(format!("No {noun} inputs found in SignatureDef: {}", signature.name));
    }
    let has = |name| signature.outputs.iter().any(|spec| spec.name == name);
    match task {
        Task::Classify if !has("classes") && !has("scores") => precondition(format!(
            "Expected classification signature outputs to contain at least one of \"classes\" or \"scores\". Signature was: {}",
            signature.name
        )),
        Task::Regress if !has("outputs") => {
            precondition(format!("No regression outputs found in SignatureDef: {}", signature.name))
        }
        Task::Classify | Task::Regress => Ok(vec![Tensor::from_strings(&[examples.len()], Arc::new(examples))]),
    }
}

/// Encodes the outputs of a run as results, one for each of `rows` examples.
///
/// # Errors
/// `InvalidArgument` for outputs that are no results.
pub(super) fn results(task: Task, signature: &Signature, outputs: &[Tensor], rows: usize) -> Result<Vec<u8>, Error> {
    let named = |name| signature.outputs.iter().position(|spec| spec.name == name).map(|index| &outputs[index]);
    let mut out = b"{\n    \"results\": [".to_vec();
    match task {
        Task::Classify => {
            classes(named("classes"), named("scores"), rows, &mut out)?;
            out.extend_from_slice(b"\n    ]\n}");
        }
        Task::Regress => {
            for (i, value) in regressions(named("outputs"), rows)?.iter().enumerate() {
                out.extend_from_slice(if i > 0 { b", " } else { b"" });
                value.write(&mut out);
            }
            out.extend_from_slice(b"]\n}");
        }
    }
    Ok(out)
}

fn classes(classes: Option<&Tensor>, scores: Option<&Tensor>, rows: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut columns = None;
    for (name, tensor, dtype) in [("classes", classes, "DT_STRING"), ("scores", scores, "DT_FLOAT")] {
        let Some(tensor) = tensor else { continue };
        let [found, count] = *tensor.dims() else {
            let text = format!("Expected Tensor shape: [batch_size num_classes] but got {}", shape_text(tensor));
            return Err(Error::invalid(text));
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
    let columns = columns.unwrap_or_default();
    let labels = classes.and_then(Tensor::as_strings);
    let scores = scores.and_then(Tensor::as_slice::<f32>);
    for row in 0..rows {
        out.extend_from_slice(if row > 0 { b", [" } else { b"[" });
        for at in row * columns..(row + 1) * columns {
            out.extend_from_slice(if at > row * columns { b", [" } else { b"[" });
            write_string(labels.map_or(b"", |labels| labels.get(at)), out);
            out.extend_from_slice(b", ");
            scores.map_or(0.0, |scores| scores[at]).write(out);
            out.push(b']');
        }
        out.push(b']');
    }
    Ok(())
}

fn regressions(outputs: Option<&Tensor>, rows: usize) -> Result<&[f32], Error> {
    let outputs = outputs.ok_or_else(|| Error::invalid("Could not find output tensor 'outputs'"))?;
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

fn shape_text(tensor: &Tensor) -> String {
    let dims: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(","))
}
