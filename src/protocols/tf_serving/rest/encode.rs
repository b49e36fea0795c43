//! Encodes outputs as `predictions` (rows) or `outputs` (columns), laid out like TensorFlow Serving's: four spaces for each
//! level of objects, and all lists of a value on one line.

use tfweb_codec::json::{self, write_base64, write_text, ReadRules as _, WriteRules};
use tfweb_engine::{Error, Tensor, TensorSpec};

use super::decimal::Decimal;
use super::inputs::Form;
use super::rules::Rules;
use crate::protocols::tf_serving::dtype_names::error_name;

/// The end of an output's name that marks its strings as bytes.
const BYTES_SUFFIX: &str = "_bytes";

/// Encodes the outputs of a run in the form of the request.
///
/// # Errors
/// `InvalidArgument` for outputs without rows, with different numbers of rows, or without a JSON form.
pub(super) fn predict(outputs: &[(&TensorSpec, &Tensor)], form: Form) -> Result<Vec<u8>, Error> {
    if outputs.is_empty() {
        return Err(Error::invalid("Cannot convert empty tensor map to JSON"));
    }
    match form {
        Form::Row => rows(outputs),
        Form::Column => columns(outputs),
    }
}

fn columns(outputs: &[(&TensorSpec, &Tensor)]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(text_bytes(outputs));
    out.extend_from_slice(b"{\n    \"outputs\": ");
    if let [(spec, tensor)] = outputs {
        write_tensor(spec, tensor, 4, &mut out)?;
    } else {
        write_object(outputs.iter().map(|(spec, tensor)| (*spec, Tensor::clone(tensor))), 4, &mut out)?;
    }
    out.extend_from_slice(b"\n}");
    Ok(out)
}

fn rows(outputs: &[(&TensorSpec, &Tensor)]) -> Result<Vec<u8>, Error> {
    let mut rows = None;
    for (TensorSpec { name, .. }, tensor) in outputs {
        let Some(found) = tensor.rows() else {
            return Err(Error::invalid(format!("Tensor name: {name} has no shape information ")));
        };
        let expected = *rows.get_or_insert(found);
        if found != expected {
            let text = format!("Tensor name: {name} has inconsistent batch size: {found} expecting: {expected}");
            return Err(Error::invalid(text));
        }
    }
    let mut out = Vec::with_capacity(text_bytes(outputs));
    out.extend_from_slice(b"{\n    \"predictions\": [");
    let rows = rows.unwrap_or_default();
    for row in 0..rows {
        if let [(spec, tensor)] = outputs {
            if row > 0 {
                out.extend_from_slice(b", ");
            }
            write_tensor(spec, &tensor.row(row), 8, &mut out)?;
        } else {
            out.extend_from_slice(if row > 0 { b",\n        " } else { b"\n        " });
            write_object(outputs.iter().map(|(spec, tensor)| (*spec, tensor.row(row))), 8, &mut out)?;
        }
    }
    out.extend_from_slice(if rows > 0 { b"\n    ]\n}" } else { b"]\n}" });
    Ok(out)
}

fn write_object<'a>(
    outputs: impl Iterator<Item = (&'a TensorSpec, Tensor)>,
    indent: usize,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.push(b'{');
    for (i, (spec, tensor)) in outputs.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_line(indent + 4, out);
        write_text(&spec.name, out);
        out.extend_from_slice(b": ");
        write_tensor(spec, &tensor, indent + 4, out)?;
    }
    write_line(indent, out);
    out.push(b'}');
    Ok(())
}

fn write_line(indent: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + indent, b' ');
}

fn write_tensor(spec: &TensorSpec, tensor: &Tensor, indent: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    if !Rules::has_form(tensor.dtype()) {
        let text = format!("Failed to write JSON value for tensor type: {}", error_name(tensor.dtype()));
        return Err(Error::invalid(text));
    }
    json::write_tensor(&Written { is_bytes: spec.name.ends_with(BYTES_SUFFIX), indent }, tensor, out);
    Ok(())
}

/// TensorFlow Serving's rules for writing the elements of one output.
struct Written {
    /// Whether strings are written as bytes and not as text.
    is_bytes: bool,
    /// The indentation of the line that the output stands in.
    indent: usize,
}

impl WriteRules for Written {
    const SEPARATOR: &'static [u8] = b", ";

    #[inline]
    fn write_float32(&self, value: f32, out: &mut Vec<u8>) {
        value.write(out);
    }

    #[inline]
    fn write_float64(&self, value: f64, out: &mut Vec<u8>) {
        value.write(out);
    }

    fn write_string(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_bytes {
            write_bytes(bytes, self.indent, out);
        } else {
            write_string(bytes, out);
        }
    }
}

/// Appends bytes as `{"b64": …}`.
fn write_bytes(bytes: &[u8], indent: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    write_line(indent + 4, out);
    out.extend_from_slice(b"\"b64\": ");
    write_base64(bytes, out);
    write_line(indent, out);
    out.push(b'}');
}

/// Appends a string. Bytes that are no UTF-8 are written as they are, because clients of this API read them so.
pub(super) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return write_text(text, out);
    }
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let mut quoted = Vec::with_capacity(chunk.valid().len() + 2);
        write_text(chunk.valid(), &mut quoted);
        out.extend_from_slice(&quoted[1..quoted.len() - 1]);
        out.extend_from_slice(chunk.invalid());
    }
    out.push(b'"');
}

/// Estimates the bytes of an answer, so that most answers are written without moving in memory.
fn text_bytes(outputs: &[(&TensorSpec, &Tensor)]) -> usize {
    outputs.iter().map(|(_, tensor)| tensor.element_count() * 13 + tensor.byte_count()).sum::<usize>() + 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfweb_engine::{DType, FeedShape, PartialShape};

    #[test]
    fn rows_need_outputs_of_as_many_rows() {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            tensor: format!("{name}:0"),
            dtype: DType::Float32,
            shape: PartialShape::UNKNOWN,
            feed: FeedShape::ANY,
        };
        let (all, head) = (spec("all"), spec("head"));
        let (three, two) = (Tensor::from_vec(&[3], vec![1.0_f32; 3]), Tensor::from_vec(&[2], vec![1.0_f32; 2]));
        let error = predict(&[(&all, &three), (&head, &two)], Form::Row).unwrap_err();
        assert_eq!(error.message, "Tensor name: head has inconsistent batch size: 2 expecting: 3");
        assert!(predict(&[(&all, &three), (&head, &two)], Form::Column).is_ok());
    }
}
