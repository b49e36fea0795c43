//! The five forms of a request body: columns, one example, an array of examples (these three are JSON), the raw bytes of one
//! example, and multipart/form-data.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tfweb_codec::json::{self, Decoded, Form};
use tfweb_engine::{batch, quoted, DType, Dims, Error, Signature, Tensor, TensorSpec};

use super::form::{self, Part};

/// The most memory that decoding takes for each byte of a body: the elements of lists of `1,`, and of text `""`, in vectors that have
/// grown and move. `a_body_becomes_no_more_than_is_counted` measures it.
pub(super) const DECODED_FACTOR: usize = 13;
/// Decodes a body by its content type. A type that is neither bytes nor a form is read as JSON, because `curl -d` sends JSON with
/// such a type.
///
/// # Errors
/// `InvalidArgument` that names the place.
pub(super) fn decode(content_type: &str, body: &Bytes, signature: &Signature, batch_transpose: bool) -> Result<Decoded, Error> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("multipart", "form-data")) => parts(content_type, body, signature),
        Some(("multipart", _)) => {
            Err(Error::invalid(format!("Content-Type: expected multipart/form-data, got {}", quoted(&essence))))
        }
        Some(("image" | "audio" | "video", _)) | Some(("application", "octet-stream")) => raw(&essence, body, signature),
        _ => json::decode(body, signature, batch_transpose),
    }
}

fn raw(essence: &str, body: &Bytes, signature: &Signature) -> Result<Decoded, Error> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(Error::invalid(format!(
            "a body of {essence} is the one string input of a signature; {:?} has {} inputs: send JSON or multipart/form-data",
            signature.name,
            signature.inputs.len()
        )));
    };
    if spec.dtype != DType::String {
        return Err(Error::invalid(format!(
            "a body of {essence} is a string; input {:?} of {:?} is {}: send JSON",
            spec.name, signature.name, spec.dtype
        )));
    }
    let tensor = strings(spec, vec![body.clone()])?;
    Ok(Decoded { inputs: vec![tensor], urls: Vec::new(), form: one_example(signature) })
}

fn one_example(signature: &Signature) -> Form {
    if signature.is_batchable() {
        Form::Example
    } else {
        Form::Columns
    }
}

/// Makes the tensor of a string input. Each value is a row; an input without rows takes one value.
fn strings(spec: &TensorSpec, values: Vec<Bytes>) -> Result<Tensor, Error> {
    let mut dims: Dims = spec.shape.dims().unwrap_or_default().iter().map(|dim| dim.unwrap_or(1)).collect();
    if let (true, Some(rows)) = (spec.shape.has_rows(), dims.first_mut()) {
        *rows = values.len();
    }
    if dims.iter().product::<usize>() != values.len() {
        return Err(Error::invalid(format!(
            "input {:?}: expected a tensor of shape {}, got {} strings; send JSON",
            spec.name,
            spec.shape,
            values.len()
        )));
    }
    Ok(Tensor::from_strings(&dims, Arc::new(values)))
}

fn parts(content_type: &str, body: &Bytes, signature: &Signature) -> Result<Decoded, Error> {
    let mut values: Vec<Vec<Bytes>> = signature.inputs.iter().map(|_| Vec::new()).collect();
    for Part { name, value } in form::parts(content_type, body)? {
        let index = signature.input_index(&name).ok_or_else(|| {
            let known: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
            Error::invalid(format!("part {} is no input of {:?}; its inputs are {known:?}", quoted(&name), signature.name))
        })?;
        values[index].push(value);
    }
    let inputs: Vec<Tensor> =
        signature.inputs.iter().zip(values).map(|(spec, values)| part_tensor(signature, spec, values)).collect::<Result<_, _>>()?;
    if !signature.is_batchable() {
        return Ok(Decoded { inputs, urls: Vec::new(), form: Form::Columns });
    }
    let rows = inputs[0].rows().unwrap_or(1);
    if let Some(other) = inputs.iter().position(|tensor| tensor.rows() != Some(rows)) {
        let [first, second] = [0, other].map(|index| &signature.inputs[index].name);
        let got = inputs[other].rows().unwrap_or(1);
        return Err(Error::invalid(format!(
            "expected as many parts of each input, got {rows} of {first:?} and {got} of {second:?}"
        )));
    }
    Ok(Decoded { inputs, urls: Vec::new(), form: if rows == 1 { Form::Example } else { Form::Examples(rows) } })
}

/// Makes an input's tensor from its parts, one row for each part. Strings are raw bytes, and other dtypes are JSON.
fn part_tensor(signature: &Signature, spec: &TensorSpec, values: Vec<Bytes>) -> Result<Tensor, Error> {
    if values.is_empty() {
        return Err(Error::invalid(format!("input {:?} is missing: expected a part of that name", spec.name)));
    }
    if spec.dtype == DType::String {
        return strings(spec, values);
    }
    let row = |value| json_part(signature, spec, value).map(|row| vec![row]);
    let rows: Vec<Vec<Tensor>> = values.iter().map(row).collect::<Result<_, Error>>()?;
    let rows: Vec<&[Tensor]> = rows.iter().map(Vec::as_slice).collect();
    if rows.len() > 1 && !spec.shape.has_rows() {
        return Err(Error::invalid(format!("input {:?}: expected one part, got {}", spec.name, rows.len())));
    }
    batch::merge(&rows, 0).map_err(|error| Error::invalid(format!("input {:?}: {error}", spec.name)))
}

/// Reads one row of an input from JSON text. For an input without rows, it reads the whole tensor.
fn json_part(signature: &Signature, spec: &TensorSpec, text: &Bytes) -> Result<Tensor, Error> {
    // This check names a mistake by its place in the part, and not in the larger text that is built below.
    serde_json::from_slice::<IgnoredAny>(text)
        .map_err(|error| Error::invalid(format!("part {:?}: malformed JSON: {error}", spec.name)))?;
    let alone = Signature { inputs: vec![spec.clone()], outputs: Vec::new(), ..signature.clone() };
    let mut body = serde_json::to_vec(&spec.name).expect("text serializes; this is a bug");
    body.insert(0, b'{');
    body.push(b':');
    body.extend_from_slice(text);
    body.push(b'}');
    let mut decoded = json::decode(&body, &alone, true)?;
    decoded.inputs.pop().ok_or_else(|| Error::internal("a signature of one input gives one tensor; this is a bug"))
}

#[cfg(test)]
mod tests {
    use tfweb_engine::{FeedShape, PartialShape};
    use tfweb_limits::Holding;

    use super::*;
    use crate::transport::http::large_body::keep_tensors;
    use crate::transport::http::peak;

    fn signature(dtype: DType) -> Signature {
        let (shape, feed) = (PartialShape::new(vec![None]), FeedShape::ANY);
        let spec = TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype, shape, feed };
        Signature { name: "test".into(), inputs: vec![spec.clone()], outputs: vec![spec], ..Signature::default() }
    }

    fn decoded(dtype: DType, content_type: &str, body: &Bytes) -> Result<Decoded, Error> {
        let signature = signature(dtype);
        decode(content_type, body, &signature, false)
    }

    #[test]
    fn a_body_becomes_no_more_than_is_counted() {
        if !peak::is_alone("protocols::native::body::tests::a_body_becomes_no_more_than_is_counted") {
            return;
        }
        let columns = |element: &str| format!(r#"{{"x":{}}}"#, peak::list(element));
        let examples = |value: &str| peak::list(&format!(r#"{{"x":{value}}}"#));
        let part = "--XX\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n1\r\n";
        let form = Bytes::from(part.repeat(form::PARTS_MAX) + "--XX--\r\n");
        let form = move |dtype| decoded(dtype, "multipart/form-data; boundary=XX", &form).unwrap();
        let escaped = format!(r#"{{"x":["{}"]}}"#, "\\u0001".repeat(200_000));
        let bodies = vec![columns("1"), examples("1"), columns("[]"), columns("{}"), columns("\"\""), columns("\"a\""), escaped];
        peak::check(DECODED_FACTOR, bodies, |body| [DType::Float64, DType::String].map(|dtype| decoded(dtype, "", body).is_ok()));
        for dtype in [DType::Float64, DType::String] {
            let (peak, _) = peak::peak(|| form(dtype));
            assert!(peak < DECODED_FACTOR * part.len() * form::PARTS_MAX, "{peak}");
        }
    }

    #[test]
    fn what_tensors_hold_is_counted() {
        if !peak::is_alone("protocols::native::body::tests::what_tensors_hold_is_counted") {
            return;
        }
        for (dtype, element) in [(DType::Float64, "1"), (DType::Uint8, "1"), (DType::String, "\"\""), (DType::String, "\"abcde\"")]
        {
            let body = Bytes::from(format!(r#"{{"x":{}}}"#, peak::list(element)));
            let inputs = || decoded(dtype, "", &body).unwrap().inputs;
            let (_, held) = peak::peak(inputs);
            let ledger = tfweb_limits::Ledger::new(1 << 30);
            let mut share = Some(ledger.take(Holding::Decoded, 1 << 30).unwrap());
            keep_tensors(&mut share, &inputs());
            let counted = ledger.bytes(Holding::Decoded);
            assert!(held <= counted + 4096 && counted < 8 * held, "{dtype} {element}: {held} held, {counted} counted");
        }
    }

    /// Sends a form with one part, for the input of this name. Gives the shape of the tensor.
    fn shape_of(name: &str) -> Result<Dims, Error> {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            tensor: "x:0".into(),
            dtype: DType::String,
            shape: PartialShape::new([None]),
            feed: FeedShape::ANY,
        };
        let signature = Signature { name: "s".into(), inputs: vec![spec(name)], outputs: vec![spec("y")], ..Signature::default() };
        let body = format!("--XX\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\nvalue\r\n--XX--\r\n").into();
        let decoded = decode("multipart/form-data; boundary=XX", &body, &signature, false);
        decoded.map(|decoded| Dims::from(decoded.inputs[0].dims()))
    }

    #[test]
    fn inputs_with_long_names_can_be_sent_by_form() {
        for name in ["a".repeat(80), "a".repeat(81), "é".repeat(1000), "a".repeat((64 << 10) - 100)] {
            assert_eq!(shape_of(&name).unwrap()[..], [1], "{} bytes", name.len());
        }
        let error = shape_of(&"a".repeat(64 << 10)).unwrap_err().message;
        assert!(error.ends_with("expected at most 65536 bytes before the value of each part, got more"), "{error}");
    }
}
