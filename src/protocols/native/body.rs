//! The five forms of a request body: columns, one example, an array of examples (these three are JSON), the raw bytes of one
//! example, and multipart/form-data.

use std::sync::Arc;

use actix_multipart::{Field, Multipart};
use actix_web::http::header::{ContentDisposition, DispositionType, HeaderMap, HeaderValue, CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures::{stream, TryStreamExt};
use serde::de::IgnoredAny;
use tfweb_codec::json::{self, Decoded, Form};
use tfweb_engine::{batch, quoted, DType, Dims, Error, Signature, Tensor, TensorSpec};

/// The most parts of a form: more than the rows of a usual batch, and few enough to keep in memory.
const PARTS_MAX: usize = 4096;

/// Decodes a body by its content type. A type that is neither bytes nor a form is read as JSON, because `curl -d` sends JSON with
/// such a type.
///
/// # Errors
/// `InvalidArgument` that names the place.
pub(in crate::protocols) async fn decode(
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
    while let Some(mut field) = form.try_next().await.map_err(|error| malformed(&error))? {
        count += 1;
        if count > PARTS_MAX {
            return Err(Error::invalid(format!("expected at most {PARTS_MAX} parts in the form, got more")));
        }
        let name: String = part_name(&field)?.chars().take(80).collect();
        let index = signature.input_index(&name).ok_or_else(|| {
            let known: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
            Error::invalid(format!("part {name:?} is no input of {:?}; its inputs are {known:?}", signature.name))
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
