//! The answer to a prediction. The outputs have the form of the request.

use actix_web::http::header::{ContentEncoding, HeaderValue, CONTENT_TYPE, VARY};
use actix_web::{HttpRequest, HttpResponse};
use tfweb_codec::json::{encode, Form};
use tfweb_engine::{Error, Signature, Tensor};
use tfweb_limits::Deadline;

use crate::serving::State;
use crate::transport::http::large_body::Text;
use crate::transport::http::{compress, may_compress};

/// Writes outputs in the request's form. The answer to one example has whole tensors where an output does not have exactly one
/// row: all of its rows are those of the example.
///
/// # Errors
/// `InvalidArgument` for an array of examples if an output does not have one row for each. Nobody could tell which rows are whose.
pub(super) fn encode(signature: &Signature, form: Form, outputs: &[Tensor]) -> Result<Vec<u8>, Error> {
    let specs = &signature.outputs;
    let odd = |rows| specs.iter().zip(outputs).find(|(_, output)| output.rows() != Some(rows));
    Ok(match form {
        Form::Example if odd(1).is_none() => encode::example(specs, outputs),
        Form::Columns | Form::Example => encode::columns(specs, outputs),
        Form::Examples(rows) => match odd(rows) {
            None => encode::examples(specs, outputs, rows),
            Some((spec, output)) => {
                return Err(Error::invalid(format!(
                "output {:?}: expected a row for each of {rows} examples, got shape {:?}; send the examples one by one, or all as \
                     one object of columns",
                spec.name,
                output.dims()
            )))
            }
        },
    })
}

/// Makes a JSON answer. It is compressed if the client accepts gzip, and if that ends before `deadline`.
pub(super) async fn json(request: &HttpRequest, state: &State, deadline: Deadline, body: Text) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    if may_compress(&body.bytes) {
        response.insert_header((VARY, HeaderValue::from_static("accept-encoding")));
    }
    let (body, gzip) = compress(request, &state.ledger, deadline, body).await;
    if gzip {
        response.insert_header(ContentEncoding::Gzip);
    }
    response.body(body)
}
