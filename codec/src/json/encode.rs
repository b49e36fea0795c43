//! Encodes tensors as compact JSON, straight from their memory.
//!
//! Called with the outputs of a run: as columns, as one example, or as an array of examples, whichever form the request
//! had. The pieces ([`write_tensor`], [`write_string`], [`write_text`]) serve other JSON protocols too. Pure.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use tfweb_engine::{with_scalar, Tensor, TensorSpec};

use super::floats::ToJson;

/// Encodes whole tensors: `{"name": tensor, …}` in the order of `outputs`.
#[must_use]
pub fn columns(outputs: &[TensorSpec], tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text_bytes(outputs, tensors, 1));
    write_object(&keys(outputs), tensors.iter(), write_tensor, &mut out);
    out
}

/// Encodes one example: `{"name": row 0, …}`, each row without its outer dimension.
///
/// # Panics
/// If a tensor has no rows.
#[must_use]
pub fn example(outputs: &[TensorSpec], tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text_bytes(outputs, tensors, 1));
    write_row(&keys(outputs), tensors, 0, &mut out);
    out
}

/// Encodes an array of `rows` examples, one object per row of the tensors.
///
/// # Panics
/// If a tensor has fewer than `rows` rows.
#[must_use]
pub fn examples(outputs: &[TensorSpec], tensors: &[Tensor], rows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text_bytes(outputs, tensors, rows));
    let keys = keys(outputs);
    write_list(0..rows, &mut out, |row, out| write_row(&keys, tensors, row, out));
    out
}

/// Appends a tensor as nested lists; a scalar as its bare value.
pub fn write_tensor(tensor: &Tensor, out: &mut Vec<u8>) {
    with_scalar!(tensor.dtype(), T => {
        let elements = tensor.as_slice::<T>().unwrap_or_default();
        write_nested(tensor.dims(), &mut elements.iter(), out, &|element, out| element.write_json(out));
    }, else if let Some(strings) = tensor.as_strings() {
        write_nested(tensor.dims(), &mut strings.iter(), out, &write_string);
    });
}

/// Appends a byte string: UTF-8 as text, any other as `{"b64": "…"}` (standard alphabet, padded).
pub fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return write_text(text, out);
    }
    out.extend_from_slice(b"{\"b64\":\"");
    let start = out.len();
    out.resize(start + base64_bytes(bytes.len()), 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("room for the whole base64 text; this is a bug");
    out.extend_from_slice(b"\"}");
}

/// Appends text, quoted and escaped.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail; this is a bug");
}

/// The length of `bytes` bytes in padded base64.
const fn base64_bytes(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Each name as an object's key, colon included: escaped once, not once per row.
fn keys(outputs: &[TensorSpec]) -> Vec<Vec<u8>> {
    let key = |spec: &TensorSpec| {
        let mut key = Vec::with_capacity(spec.name.len() + 3);
        write_text(&spec.name, &mut key);
        key.push(b':');
        key
    };
    outputs.iter().map(key).collect()
}

fn write_row(keys: &[Vec<u8>], tensors: &[Tensor], row: usize, out: &mut Vec<u8>) {
    write_object(keys, tensors.iter().map(|tensor| tensor.row(row)), |tensor, out| write_tensor(&tensor, out), out);
}

fn write_object<T>(keys: &[Vec<u8>], values: impl Iterator<Item = T>, write: impl Fn(T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (key, value)) in keys.iter().zip(values).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        write(value, out);
    }
    out.push(b'}');
}

fn write_list<T>(values: impl Iterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (i, value) in values.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(value, out);
    }
    out.push(b']');
}

fn write_nested<I: Iterator>(dims: &[usize], elements: &mut I, out: &mut Vec<u8>, write: &impl Fn(I::Item, &mut Vec<u8>)) {
    match dims {
        [] => elements.by_ref().take(1).for_each(|element| write(element, out)),
        [count] => write_list(elements.by_ref().take(*count), out, write),
        [count, inner @ ..] => write_list(0..*count, out, |_, out| write_nested(inner, elements, out, write)),
    }
}

/// About how many bytes the answer takes: enough that most answers are written without moving.
fn text_bytes(outputs: &[TensorSpec], tensors: &[Tensor], rows: usize) -> usize {
    let names: usize = outputs.iter().map(|spec| spec.name.len() + 6).sum();
    let values = |tensor: &Tensor| {
        with_scalar!(tensor.dtype(), T => {
            // Each innermost list adds two brackets.
            let lists = tensor.element_count() / tensor.dims().last().copied().unwrap_or(1).max(1);
            tensor.element_count() * T::TEXT_BYTES + lists * 2
        }, else tensor.byte_count() + tensor.byte_count() / 3 + tensor.element_count() * 4)
    };
    names * rows + tensors.iter().map(values).sum::<usize>() + 16
}
