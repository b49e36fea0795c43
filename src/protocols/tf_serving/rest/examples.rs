//! `:classify` and `:regress`: JSON examples become serialized `tf.Example`s, which are the one string input of the signature. Its
//! outputs become results.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use serde_json::value::RawValue;
use tfweb_codec::examples::with_context;
use tfweb_engine::{Error, Signature, Tensor};

use super::decimal::Decimal;
use super::document::{self, Document};
use super::encode::write_string;
use super::raw::{self, Kind};
use super::rules::decode_base64;
use super::signature::{find, place};
use crate::models::{Catalog, Version, DEFAULT_SIGNATURE};
use crate::protocols::tf_serving::classify_regress::{regressions, Classes, Task};
use crate::protocols::tf_serving::find::Wanted;
use tfweb_proto::tensorflow::feature::Kind as FeatureKind;
use tfweb_proto::tensorflow::{BytesList, Example, Feature, Features, FloatList, Int64List};

/// The most memory that decoding takes for each byte of a body: the features of an example, in a map that has grown and moves.
/// `a_body_becomes_no_more_than_is_counted` measures it.
pub(super) const DECODED_FACTOR: usize = 48;

/// The examples of a request whose version and signature are known.
pub(super) struct Examples {
    pub(super) version: Arc<Version>,
    /// The place of the signature among the version's.
    pub(super) servable: usize,
    pub(super) examples: Vec<Bytes>,
}

/// Reads a body for a version of the model `name`.
///
/// # Errors
/// Those of [`serialize`]; where the body is no JSON object, or names an unknown version or signature.
pub(super) fn read(body: &[u8], catalog: &Catalog, name: &str, wanted: &Wanted) -> Result<Examples, Error> {
    let mut quoted = String::new();
    let document = document::read(body, &mut quoted)?;
    let named = document.signature()?;
    let named = named.as_deref().unwrap_or(DEFAULT_SIGNATURE);
    // The examples are checked before the model is looked for.
    let examples = serialize(&document)?;
    let version = find(catalog, name, wanted)?;
    let servable = place(&version, named)
        .ok_or_else(|| Error::invalid(format!("No signature was found with the name: {}", raw::shown_text(named))))?;
    Ok(Examples { version, servable, examples })
}

/// Serializes the examples of a document, each with the context before it.
///
/// # Errors
/// `InvalidArgument` for a value that is no example; `OutOfRange` for a context that is too large for the examples.
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
        serialized.push(Bytes::from(example(value)?.encode_to_vec()));
        Ok::<_, Error>(())
    })?;
    if serialized.is_empty() {
        return Err(document.refusal("'examples' value is an empty array"));
    }
    with_context(&context, serialized)
}

/// Reads and serializes the examples of a body.
///
/// # Errors
/// Those of [`serialize`]; `InvalidArgument` for a body that is no document.
pub(super) fn serialized(body: &[u8]) -> Result<Vec<Bytes>, Error> {
    serialize(&document::read(body, &mut String::new())?)
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

/// Adds a value to a feature. The first value settles the kind of the feature.
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

/// Encodes the outputs of a run as results, one for each of `rows` examples.
///
/// # Errors
/// `InvalidArgument` for outputs that are neither classes nor regressions.
pub(super) fn results(task: Task, signature: &Signature, outputs: &[Tensor], rows: usize) -> Result<Vec<u8>, Error> {
    let mut out = b"{\n    \"results\": [".to_vec();
    match task {
        Task::Classify => {
            let classes = Classes::of(signature, outputs, rows)?;
            for row in 0..rows {
                out.extend_from_slice(if row > 0 { b", [" } else { b"[" });
                for (i, (label, score)) in classes.row(row).enumerate() {
                    out.extend_from_slice(if i > 0 { b", [" } else { b"[" });
                    write_string(label, &mut out);
                    out.extend_from_slice(b", ");
                    score.write(&mut out);
                    out.push(b']');
                }
                out.push(b']');
            }
            out.extend_from_slice(b"\n    ]\n}");
        }
        Task::Regress => {
            for (i, value) in regressions(signature, outputs, rows)?.iter().enumerate() {
                out.extend_from_slice(if i > 0 { b", " } else { b"" });
                value.write(&mut out);
            }
            out.extend_from_slice(b"]\n}");
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::http::peak;

    fn serialized(body: &[u8]) -> usize {
        let mut quoted = String::new();
        document::read(body, &mut quoted).and_then(|document| serialize(&document)).map_or(0, |examples| examples.len())
    }

    #[test]
    fn a_body_becomes_no_more_than_is_counted() {
        if !peak::is_alone("protocols::tf_serving::rest::examples::tests::a_body_becomes_no_more_than_is_counted") {
            return;
        }
        let examples = |example: &str| format!(r#"{{"examples":{}}}"#, peak::list(example));
        // Names of features that are as short as they can be.
        let features: Vec<String> = (0..114_689_u32).map(|i| format!(r#""{i:x}":1"#)).collect();
        let texts: Vec<String> = (0..114_689_u32).map(|i| format!(r#""{i:x}":"""#)).collect();
        let lists = |element: &str| format!(r#"{{"examples":[{{"a":{}}}]}}"#, peak::list(element));
        let bodies = vec![
            examples("{}"),
            examples(r#"{"":1}"#),
            examples(r#"{"":[]}"#),
            format!(r#"{{"examples":[{{{}}}]}}"#, features.join(",")),
            format!(r#"{{"examples":[{{{}}}]}}"#, texts.join(",")),
            lists("1"),
            lists("\"\""),
            lists(r#"{"b64":""}"#),
        ];
        peak::check(DECODED_FACTOR, bodies, |body| serialized(body));
    }
}
