//! The answer to a prediction. The outputs have the form of the request.

use actix_web::http::header::{ContentEncoding, HeaderValue, CONTENT_TYPE, VARY};
use actix_web::{HttpRequest, HttpResponse};
use tfweb_codec::json::{encode, Form};
use tfweb_engine::{Signature, Tensor};
use tfweb_limits::Deadline;

use crate::serving::State;
use crate::transport::http::large_body::Text;
use crate::transport::http::{compress, may_compress};

/// Writes outputs in the request's form. If an output does not have one row for each example, the outputs cannot be divided by
/// example. The answer then has whole tensors.
pub(super) fn encode(signature: &Signature, form: Form, outputs: &[Tensor]) -> Vec<u8> {
    let specs = &signature.outputs;
    let divides = |rows| outputs.iter().all(|output| output.rows() == Some(rows));
    match form {
        Form::Example if divides(1) => encode::example(specs, outputs),
        Form::Examples(rows) if divides(rows) => encode::examples(specs, outputs, rows),
        Form::Columns | Form::Example | Form::Examples(_) => encode::columns(specs, outputs),
    }
}

/// Makes a JSON answer. It is compressed if the client accepts gzip.
pub(super) async fn json(request: &HttpRequest, state: &State, body: Text) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    if may_compress(&body.bytes) {
        response.insert_header((VARY, HeaderValue::from_static("accept-encoding")));
    }
    let deadline = Deadline::after(state.request_timeout);
    let (body, gzip) = compress(request, &state.ledger, deadline, body).await;
    if gzip {
        response.insert_header(ContentEncoding::Gzip);
    }
    response.body(body)
}
