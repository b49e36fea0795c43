//! The `Server-Timing` header of an answer: the time of each stage of the request.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::observe::Timings;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Puts the `Server-Timing` header on an answer.
pub fn write(timings: &Timings, headers: &mut HeaderMap) {
    headers.insert(SERVER_TIMING, value(timings));
}

/// The value of a `Server-Timing` header (<https://www.w3.org/TR/server-timing/>), in milliseconds.
fn value(timings: &Timings) -> HeaderValue {
    let Timings { decode, fetch, queue, run, encode } = timings;
    let mut text = Vec::with_capacity(96);
    let mut digits = itoa::Buffer::new();
    let times =
        [("decode;dur=", decode), (", fetch;dur=", fetch), (", queue;dur=", queue), (", run;dur=", run), (", encode;dur=", encode)];
    for (name, time) in times {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(digits.format(micros / 1000).as_bytes());
        let digit = |unit| b'0' + (micros / unit % 10) as u8;
        text.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("digits and names are a header value; this is a bug")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timings_are_milliseconds() {
        let timings = Timings { decode: Duration::from_micros(5), run: Duration::from_micros(12_345), ..Timings::default() };
        assert_eq!(
            value(&timings).to_str().unwrap(),
            "decode;dur=0.005, fetch;dur=0.000, queue;dur=0.000, run;dur=12.345, encode;dur=0.000"
        );
    }
}
