//! The five forms of a request body: columns, one example, an array of examples (these three are JSON), the raw bytes of one
//! example, and multipart/form-data.

use std::sync::Arc;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::{ContentDisposition, DispositionType, HeaderMap, HeaderValue, CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures::{stream, TryStreamExt};
use serde::de::IgnoredAny;
use tfweb_codec::json::{self, Decoded, Form};
use tfweb_engine::{batch, quoted, DType, Dims, Error, Signature, Tensor, TensorSpec};

/// The most memory that decoding takes for each byte of a body: the elements of lists of `1,`, and of text `""`, in vectors that have
/// grown and move. `a_body_becomes_no_more_than_is_counted` measures it.
pub(super) const DECODED_FACTOR: usize = 13;
/// The most bytes of the head of a part, which has the name of its input. It is the limit of actix's parser. Names of inputs have
/// some hundred bytes at most.
const PART_HEAD_BYTES_MAX: usize = 64 << 10;
/// The most parts of a form: more than the rows of a usual batch, and few enough to keep in memory.
const PARTS_MAX: usize = 4096;

/// Decodes a body by its content type. A type that is neither bytes nor a form is read as JSON, because `curl -d` sends JSON with
/// such a type.
///
/// # Errors
/// `InvalidArgument` that names the place.
pub(super) async fn decode(
    content_type: &str,
    body: &Bytes,
    signature: &Signature,
    batch_transpose: bool,
) -> Result<Decoded, Error> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("multipart", "form-data")) => parts(content_type, body, signature).await,
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

async fn parts(content_type: &str, body: &Bytes, signature: &Signature) -> Result<Decoded, Error> {
    let mut values: Vec<Vec<Bytes>> = signature.inputs.iter().map(|_| Vec::new()).collect();
    let mut form = form(content_type, body)?;
    let mut count = 0;
    while let Some(mut field) = form.try_next().await.map_err(|error| bad_part(&error))? {
        count += 1;
        if count > PARTS_MAX {
            return Err(Error::invalid(format!("expected at most {PARTS_MAX} parts in the form, got more")));
        }
        let name = part_name(&field)?;
        let index = signature.input_index(&name).ok_or_else(|| {
            let known: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
            Error::invalid(format!("part {} is no input of {:?}; its inputs are {known:?}", quoted(&name), signature.name))
        })?;
        values[index].push(read_part(&mut field).await?);
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

/// Reads the parts of a body. For multipart/form-data, actix refuses part names that are not UTF-8. This reads the body as
/// multipart/mixed, for which actix ignores names, and [`part_name`] reads them.
fn form(content_type: &str, body: &Bytes) -> Result<Multipart, Error> {
    let parameters = content_type.find(';').map_or("", |at| &content_type[at..]);
    let mut headers = HeaderMap::new();
    // The text comes from a header, so it is a valid header value.
    let content_type = HeaderValue::from_str(&format!("multipart/mixed{parameters}")).map_err(|error| malformed(&error))?;
    headers.insert(CONTENT_TYPE, content_type);
    Ok(Multipart::new(&headers, stream::iter([Ok(body.clone())])))
}

/// The name of a part. A header that is not UTF-8 is read as Latin-1, because older clients write file names in it.
fn part_name(field: &Field) -> Result<String, Error> {
    let expected = || malformed(&"expected the header `Content-Disposition: form-data; name=\"…\"` in each part");
    let header = field.headers().get(CONTENT_DISPOSITION).ok_or_else(expected)?.as_bytes();
    let latin1 = || header.iter().map(|&byte| char::from(byte)).collect();
    let text = std::str::from_utf8(header).map_or_else(|_| latin1(), str::to_owned);
    let disposition = HeaderValue::from_str(&text).ok().and_then(|header| ContentDisposition::from_raw(&header).ok());
    let disposition = disposition.filter(|disposition| disposition.disposition == DispositionType::FormData);
    disposition.and_then(|disposition| disposition.get_name().map(str::to_owned)).ok_or_else(expected)
}

async fn read_part(field: &mut Field) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = field.try_next().await.map_err(|error| malformed(&error))? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The error for what comes before the value of a part.
fn bad_part(error: &MultipartError) -> Error {
    if matches!(error, MultipartError::Payload(PayloadError::Overflow)) {
        return malformed(&format!("expected at most {PART_HEAD_BYTES_MAX} bytes before the value of each part, got more"));
    }
    malformed(error)
}

fn malformed(error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("malformed multipart/form-data: {error}"))
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
    let mut body = serde_json::to_vec(&spec.name).map_err(|error| malformed(&error))?;
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
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(decode(content_type, body, &signature, false))
    }

    #[test]
    fn a_body_becomes_no_more_than_is_counted() {
        if !peak::is_alone("protocols::native::body::tests::a_body_becomes_no_more_than_is_counted") {
            return;
        }
        let columns = |element: &str| format!(r#"{{"x":{}}}"#, peak::list(element));
        let examples = |value: &str| peak::list(&format!(r#"{{"x":{value}}}"#));
        let part = "--XX\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n1\r\n";
        let form = Bytes::from(part.repeat(PARTS_MAX) + "--XX--\r\n");
        let form = move |dtype| decoded(dtype, "multipart/form-data; boundary=XX", &form).unwrap();
        let escaped = format!(r#"{{"x":["{}"]}}"#, "\\u0001".repeat(200_000));
        let bodies = vec![columns("1"), examples("1"), columns("[]"), columns("{}"), columns("\"\""), columns("\"a\""), escaped];
        peak::check(DECODED_FACTOR, bodies, |body| [DType::Float64, DType::String].map(|dtype| decoded(dtype, "", body).is_ok()));
        for dtype in [DType::Float64, DType::String] {
            let (peak, _) = peak::peak(|| form(dtype));
            assert!(peak < DECODED_FACTOR * part.len() * PARTS_MAX, "{peak}");
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
        futures::executor::block_on(decoded).map(|decoded| Dims::from(decoded.inputs[0].dims()))
    }

    #[test]
    fn inputs_with_long_names_can_be_sent_by_form() {
        for name in ["a".repeat(80), "a".repeat(81), "é".repeat(1000), "a".repeat(PART_HEAD_BYTES_MAX - 100)] {
            assert_eq!(shape_of(&name).unwrap()[..], [1], "{} bytes", name.len());
        }
        let error = shape_of(&"a".repeat(PART_HEAD_BYTES_MAX)).unwrap_err().message;
        assert!(error.ends_with("expected at most 65536 bytes before the value of each part, got more"), "{error}");
    }
}
