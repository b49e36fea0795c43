//! Encodes the outputs of a run as a JSON answer of tfweb's own API: as columns, as one example, or as an array of examples,
//! whichever form the request had. Writes no spaces, and reads straight from the tensors' memory. Pure.

use tfweb_engine::{with_scalar, Tensor, TensorSpec};

use super::native::NativeRules;
use super::write::{write_list, write_tensor, write_text, ToJson};

/// Encodes whole tensors: `{"name": tensor, …}` in the order of `outputs`.
#[must_use]
pub fn columns(outputs: &[TensorSpec], tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text_bytes(outputs, tensors, 1));
    write_object(&keys(outputs), tensors.iter(), |tensor, out| write_tensor(&NativeRules, tensor, out), &mut out);
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
    write_list::<NativeRules, _>(0..rows, &mut out, |row, out| write_row(&keys, tensors, row, out));
    out
}

/// Writes each name as an object's key, colon included: once for all rows.
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
    write_object(keys, tensors.iter().map(|tensor| tensor.row(row)), |tensor, out| write_tensor(&NativeRules, &tensor, out), out);
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

/// Estimates the bytes of an answer, so that most answers are written without moving in memory.
pub(super) fn text_bytes(outputs: &[TensorSpec], tensors: &[Tensor], rows: usize) -> usize {
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
