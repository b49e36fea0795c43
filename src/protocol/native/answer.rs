//! The answer to a prediction: the outputs in the form the request had, and where its time went.

use actix_web::http::header::{ContentEncoding, HeaderMap, HeaderName, HeaderValue, CONTENT_TYPE, VARY};
use actix_web::{HttpRequest, HttpResponse};
use tfweb_engine::{Signature, Tensor};

use crate::http;
use crate::json::encode;
use crate::json::Form;
use crate::predict::Timings;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Puts the `Server-Timing` header on an answer.
pub(super) fn write_timings(timings: &Timings, headers: &mut HeaderMap) {
    headers.insert(SERVER_TIMING, server_timing(timings));
}

/// The value of a `Server-Timing` header (<https://www.w3.org/TR/server-timing/>), in milliseconds.
fn server_timing(timings: &Timings) -> HeaderValue {
    let Timings { decode, fetch, queue, run, encode } = timings;
    let mut text = Vec::with_capacity(96);
    let mut digits = itoa::Buffer::new();
    for (name, time) in [("decode", decode), ("fetch", fetch), ("queue", queue), ("run", run), ("encode", encode)] {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b";dur=");
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        text.extend_from_slice(digits.format(micros / 1000).as_bytes());
        let thousandths = digits.format(1000 + micros % 1000).as_bytes();
        text.push(b'.');
        text.extend_from_slice(&thousandths[1..]);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("digits and names are a header value; this is a bug")
}

/// Writes outputs in the request's form. Where an output has not a row for each example, there is nothing to divide by
/// example, and the answer is what TensorFlow gave: whole tensors.
pub(super) fn encode(signature: &Signature, form: Form, outputs: &[Tensor]) -> Vec<u8> {
    let specs = &signature.outputs;
    let divides = |rows| outputs.iter().all(|output| output.rows() == Some(rows));
    match form {
        Form::Example if divides(1) => encode::example(specs, outputs),
        Form::Examples(rows) if divides(rows) => encode::examples(specs, outputs, rows),
        Form::Columns | Form::Example | Form::Examples(_) => encode::columns(specs, outputs),
    }
}

/// A JSON answer, compressed if the client asked for it.
pub(super) async fn json(request: &HttpRequest, body: Vec<u8>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    if http::may_compress(&body) {
        response.insert_header((VARY, HeaderValue::from_static("accept-encoding")));
    }
    let (body, gzip) = http::compress(request, body).await;
    if gzip {
        response.insert_header(ContentEncoding::Gzip);
    }
    response.body(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timings_are_milliseconds() {
        let timings = Timings { decode: Duration::from_micros(5), run: Duration::from_micros(12_345), ..Timings::default() };
        assert_eq!(
            server_timing(&timings).to_str().unwrap(),
            "decode;dur=0.005, fetch;dur=0.000, queue;dur=0.000, run;dur=12.345, encode;dur=0.000"
        );
    }
}
