//! Words the refusal of inputs: reads them again, in TensorFlow Serving's order and with its checks, until the first check that
//! fails. It is slower than [`super::inputs`]. [`super::predict`] calls it for refused inputs only.

use std::convert::Infallible;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use tfweb_codec::json::ReadRules as _;
use tfweb_engine::{quoted, Code, DType, Dims, Error, Signature, TensorSpec, RANK_MAX};

use super::document::Document;
use super::raw::{self, Kind};
use super::rules::{decode_base64, Rules};
use crate::protocols::tf_serving::dtype_names::error_name;
use crate::transport::elsewhere::INLINE_BYTES_MAX;

/// The most bytes to look at, over all depths of lists, to word a refusal: a fraction of a second. It is less for a body that is
/// read on the HTTP thread, where other requests wait.
const EXPLAINED_BYTES_MAX: usize = 256 << 20;
const EXPLAINED_INLINE_BYTES_MAX: usize = 8 << 20;

/// Why [`super::inputs`] refused the inputs of a document.
pub(super) fn inputs(document: &Document<'_>, signature: &Signature) -> Error {
    match (document.instances, document.inputs) {
        (Some(instances), None) => rows(instances, raw::starts_with_object(instances) == Some(true), signature),
        (_, Some(inputs)) => columns(inputs, signature),
        (None, None) => Error::internal("a document without inputs is refused before they are read; this is a bug"),
    }
}

/// Why `instances` were refused.
fn rows(instances: &RawValue, named: bool, signature: &Signature) -> Error {
    let mut shapes: Vec<Option<Dims>> = vec![None; signature.inputs.len()];
    let bytes = instances.get().len();
    let found = raw::each_value(instances, |row, value| {
        if raw::is_object(value) == named {
            return if named {
                named_row((row, bytes), value, signature, &mut shapes)
            } else {
                plain_row((row, bytes), value, signature, &mut shapes)
            };
        }
        let (expected, got) = if named { ("object", "list") } else { ("value/list", "object") };
        Err(format!("Expecting {expected} but got {got} at item {row} of input list"))
    });
    Error::invalid(found.err().unwrap_or_else(|| "the values of 'instances' do not fit the inputs".into()))
}

fn plain_row(
    (row, bytes): (usize, usize),
    value: &RawValue,
    signature: &Signature,
    shapes: &mut [Option<Dims>],
) -> Result<(), String> {
    item(value, bytes, &signature.inputs[0], &mut shapes[0])
        .map_err(|text| format!("Failed to process element: {row} of 'instances' list. Error: {text}"))
}

fn named_row(
    (row, bytes): (usize, usize),
    object: &RawValue,
    signature: &Signature,
    shapes: &mut [Option<Dims>],
) -> Result<(), String> {
    let mut given = vec![false; signature.inputs.len()];
    raw::each_entry(object, |name, value| {
        let read = match signature.input_index(name) {
            None => Err(format!("INVALID_ARGUMENT: JSON object: does not have named input: {}", raw::shown_text(name))),
            Some(index) if std::mem::replace(&mut given[index], true) => Err("INVALID_ARGUMENT: the key is given twice".into()),
            Some(index) => item(value, bytes, &signature.inputs[index], &mut shapes[index]),
        };
        let name = raw::shown_text(name);
        read.map_err(|text| format!("Failed to process element: {row} key: {name} of 'instances' list. Error: {text}"))
    })?;
    if given.iter().all(|given| *given) {
        return Ok(());
    }
    let names: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let (object, names) = (raw::shown(object), names.join(","));
    Err(format!("Failed to process element: {row} of 'instances' list. JSON object: {object} keys must be equal to: {names}"))
}

/// Checks one row's value of an input. It must have the shape of the values before it.
fn item(value: &RawValue, bytes: usize, spec: &TensorSpec, before: &mut Option<Dims>) -> Result<(), String> {
    let dims = tensor(value, bytes, spec).map_err(|error| format!("{}: {}", error.code.name(), error.message))?;
    let Some(before) = before else {
        *before = Some(dims);
        return Ok(());
    };
    let count = |dims: &Dims| dims.iter().fold(1, |count: usize, dim| count.saturating_mul(*dim));
    let [expected, got] = [count(before), count(&dims)];
    if expected != got {
        return Err(format!("INVALID_ARGUMENT: Expecting tensor size: {expected} but got: {got}"));
    }
    if *before == dims {
        return Ok(());
    }
    Err(format!("INVALID_ARGUMENT: Expecting shape {} but got: {}", shape_text(before), shape_text(&dims)))
}

fn shape_text(dims: &Dims) -> String {
    let mut text = String::from("[");
    for (i, dim) in dims.iter().enumerate() {
        let _ = write!(text, "{}{dim}", if i > 0 { "," } else { "" });
    }
    text + "]"
}

/// Why `inputs` were refused.
fn columns(inputs: &RawValue, signature: &Signature) -> Error {
    let bytes = inputs.get().len();
    if !raw::is_object(inputs) {
        let [spec] = signature.inputs.as_slice() else {
            return Error::invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
            );
        };
        return tensor(inputs, bytes, spec).err().unwrap_or_else(|| Error::invalid("the value of 'inputs' does not fit the input"));
    }
    let missing = |spec: &TensorSpec| Error::invalid(format!("Missing named input: {} in 'inputs' object.", spec.name));
    let refusal = |(spec, value): (&TensorSpec, Option<&RawValue>)| {
        value.map_or_else(|| Some(missing(spec)), |value| tensor(value, bytes, spec).err())
    };
    let found = signature.inputs.iter().zip(named_columns(inputs, signature)).find_map(refusal);
    found.unwrap_or_else(|| Error::invalid("the values of 'inputs' do not fit the inputs"))
}

/// The value of each input in an object, in the signature's order. Of two equal keys the first counts.
fn named_columns<'a>(object: &'a RawValue, signature: &Signature) -> Vec<Option<&'a RawValue>> {
    let mut values = vec![None; signature.inputs.len()];
    let Ok(()) = raw::each_entry::<Infallible>(object, |name, value| {
        if let Some(index) = signature.input_index(name) {
            values[index].get_or_insert(value);
        }
        Ok(())
    });
    values
}

/// The shape of a value, which the first value at each depth settles. `bytes` is the size of all inputs together.
fn tensor(value: &RawValue, bytes: usize, spec: &TensorSpec) -> Result<Dims, Error> {
    let mut dims = Dims::new();
    let mut at = Some(value).filter(|value| raw::kind(value) == Kind::Array);
    while let Some(list) = at {
        if dims.len() == RANK_MAX {
            return Err(Error::invalid(format!("lists may be at most {RANK_MAX} deep")));
        }
        let most = if bytes <= INLINE_BYTES_MAX { EXPLAINED_INLINE_BYTES_MAX } else { EXPLAINED_BYTES_MAX };
        if bytes.saturating_mul(dims.len()) > most {
            let text = format!("the lists of input {} are no {} tensor", quoted(&spec.name), spec.dtype);
            return Err(Error::invalid(text));
        }
        dims.push(raw::each_value::<()>(list, |_, _| Ok(())).unwrap_or_default());
        at = raw::first(list).filter(|value| raw::kind(value) == Kind::Array);
    }
    fill(value, 0, &dims, spec)?;
    Ok(dims)
}

fn fill(value: &RawValue, level: usize, dims: &Dims, spec: &TensorSpec) -> Result<(), Error> {
    let rank = dims.len();
    if raw::kind(value) != Kind::Array {
        if level != rank {
            let text = raw::shown(value);
            let level = level + 1;
            return Err(Error::invalid(format!(
                "JSON Value: {text} found at incorrect level: {level} in the JSON DOM. Expected at level: {rank}"
            )));
        }
        return element(value, spec.dtype);
    }
    if level >= rank {
        return Err(Error::invalid(format!("Encountered list at unexpected level: {level} expected < {rank}")));
    }
    // The count comes first: the values may be fewer or more than the shape has.
    let count = raw::each_value::<()>(value, |_, _| Ok(())).unwrap_or_default();
    let expected = dims[level];
    if count != expected {
        let text = format!("Encountered list at unexpected size: {count} at level: {level} expected size: {expected}");
        return Err(Error::invalid(text));
    }
    raw::each_value(value, |_, value| fill(value, level + 1, dims, spec)).map(drop)
}

fn element(value: &RawValue, dtype: DType) -> Result<(), Error> {
    let kind = raw::kind(value);
    let mismatch = || {
        let (text, kind, dtype) = (raw::shown(value), kind.name(), error_name(dtype));
        Error::invalid(format!("JSON Value: {text} Type: {kind} is not of expected type: {dtype}"))
    };
    if kind == Kind::Object && dtype == DType::String {
        return base64(value);
    }
    if kind != Kind::Object && !Rules::has_form(dtype) {
        let text = format!("Conversion of JSON Value: {} to type: {}", raw::shown(value), error_name(dtype));
        return Err(Error::new(Code::Unimplemented, text));
    }
    let text = value.get();
    let is_whole = |fits: fn(&str) -> bool| kind == Kind::Number && (text == "-0" || fits(text));
    #[allow(clippy::wildcard_enum_match_arm, reason = "dtypes without a JSON form are left above")]
    let fits = match dtype {
        DType::Float32 | DType::Float64 => kind == Kind::Number,
        DType::String => kind == Kind::String,
        DType::Bool => matches!(kind, Kind::True | Kind::False),
        DType::Int8 => is_whole(|text| text.parse::<i8>().is_ok()),
        DType::Int16 => is_whole(|text| text.parse::<i16>().is_ok()),
        DType::Int32 => is_whole(|text| text.parse::<i32>().is_ok()),
        DType::Int64 => is_whole(|text| text.parse::<i64>().is_ok()),
        DType::Uint8 => is_whole(|text| text.parse::<u8>().is_ok()),
        DType::Uint32 => is_whole(|text| text.parse::<u32>().is_ok()),
        DType::Uint64 => is_whole(|text| text.parse::<u64>().is_ok()),
        _ => false,
    };
    if fits {
        representable(value, kind)
    } else {
        Err(mismatch())
    }
}

/// Refuses numbers that are too large for a float64, and text that is no Unicode.
fn representable(value: &RawValue, kind: Kind) -> Result<(), Error> {
    let is_read = match kind {
        Kind::Number if value.get().starts_with('"') => true,
        Kind::Number => serde_json::from_str::<f64>(value.get()).is_ok(),
        Kind::String => raw::text(value).is_some(),
        Kind::Null | Kind::False | Kind::True | Kind::Object | Kind::Array => true,
    };
    if is_read {
        return Ok(());
    }
    let what = if kind == Kind::Number { "Number too big to be stored in double." } else { "Invalid encoding in string." };
    Err(Error::invalid(format!("JSON Parse error: {what} {}", quoted(value.get()))))
}

fn base64(value: &RawValue) -> Result<(), Error> {
    match raw::base64_text(value) {
        None => Err(Error::invalid(format!("JSON Value: {} not formatted correctly for base64 data", raw::shown(value)))),
        Some(text) => decode_base64(&text).map(drop).ok_or_else(|| Error::invalid("Unable to base64 decode")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tfweb_engine::{FeedShape, PartialShape};

    use super::super::document;
    use super::super::raw::visited;
    use super::*;

    const LARGE_BYTES: usize = 1 << 20;

    fn signature(inputs: usize) -> Signature {
        let spec = |i| {
            let (name, shape) = (format!("x{i:03}"), PartialShape::UNKNOWN);
            TensorSpec { tensor: format!("{name}:0"), name, dtype: DType::Float32, shape, feed: FeedShape::ANY }
        };
        let inputs = (0..inputs).map(spec).collect();
        Signature { name: "s".into(), inputs, ..Signature::default() }
    }

    /// Columns for each input, of `bytes` bytes together; the last value of the last input is null.
    fn refused(inputs: usize, bytes: usize) -> Bytes {
        let zeros = "0,".repeat(bytes / inputs / 2);
        let columns: Vec<String> = (0..inputs).map(|i| format!("\"x{i:03}\":[{zeros}0]")).collect();
        let columns = columns.join(",");
        format!("{{\"inputs\":{{{}null]}}}}", columns.strip_suffix("0]").unwrap()).into()
    }

    #[test]
    fn deep_lists_take_little_time_on_the_http_thread() {
        let (depth, zeros) = (RANK_MAX - 1, "0,".repeat(INLINE_BYTES_MAX / 2 - RANK_MAX - 100));
        let body = format!("{{\"inputs\":{}[{zeros}null]{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(body.len() <= INLINE_BYTES_MAX);
        let mut quoted = String::new();
        let document = document::read(body.as_bytes(), &mut quoted).unwrap();
        visited::take();
        let error = inputs(&document, &signature(1));
        let visited = visited::take();
        assert!(visited <= 2 * EXPLAINED_INLINE_BYTES_MAX, "{visited} bytes looked at, for {error:?}");
    }

    #[test]
    fn more_inputs_do_not_make_a_body_read_more_often() {
        let read = |count| {
            let (body, mut quoted) = (refused(count, LARGE_BYTES), String::new());
            let document = document::read(&body, &mut quoted).unwrap();
            visited::take();
            let error = inputs(&document, &signature(count));
            assert_eq!(error.message, "JSON Value: null Type: Null is not of expected type: float");
            visited::take() / LARGE_BYTES
        };
        let times = [1, 10, 600].map(read);
        assert!(times.iter().all(|&times| times <= 6), "read {times:?} times");
    }
}
