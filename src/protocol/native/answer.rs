//! The answer to a prediction: the outputs in the form the request had, and where its time went.

use std::fmt::Write;
use std::time::Duration;

use actix_web::http::header::ContentType;
use actix_web::HttpResponse;
use tfweb_engine::{Signature, Tensor};

use crate::json::encode;
use crate::json::{Decoded, Form};

/// How long each stage took.
#[derive(Default)]
pub(super) struct Timings {
    pub(super) decode: Duration,
    pub(super) fetch: Duration,
    pub(super) queue: Duration,
    pub(super) run: Duration,
    pub(super) encode: Duration,
}

impl Timings {
    /// The value of a `Server-Timing` header (<https://www.w3.org/TR/server-timing/>), in milliseconds.
    fn header(&self) -> String {
        let stages =
            [("decode", self.decode), ("fetch", self.fetch), ("queue", self.queue), ("run", self.run), ("encode", self.encode)];
        let mut text = String::with_capacity(96);
        for (name, time) in stages {
            let comma = if text.is_empty() { "" } else { ", " };
            let micros = time.as_micros();
            write!(text, "{comma}{name};dur={}.{:03}", micros / 1000, micros % 1000).expect("a string takes text; this is a bug");
        }
        text
    }
}

/// Whether the request asks for nothing, so that nothing need be run.
pub(super) fn is_empty(decoded: &Decoded) -> bool {
    decoded.form == Form::Examples(0)
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

/// A JSON answer.
pub(super) fn json(body: Vec<u8>, timings: &Timings) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).insert_header(("Server-Timing", timings.header())).body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_are_milliseconds() {
        let timings = Timings { decode: Duration::from_micros(5), run: Duration::from_micros(12_345), ..Timings::default() };
        assert_eq!(timings.header(), "decode;dur=0.005, fetch;dur=0.000, queue;dur=0.000, run;dur=12.345, encode;dur=0.000");
    }
}
