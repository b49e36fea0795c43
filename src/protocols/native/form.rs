//! Divides a body of multipart/form-data (RFC 7578) into its parts. Pure.
//!
//! The whole body is in memory. A value is a window onto it, which ends before the next boundary, whatever length the part states:
//! RFC 7578, section 4.8, tells readers to ignore every header of a part but those for its name and its type.

use actix_web::http::header::{ContentDisposition, DispositionType, HeaderValue};
use actix_web::mime::{Mime, BOUNDARY};
use bytes::Bytes;
use memchr::memmem::{self, Finder};
use tfweb_engine::Error;

/// The most bytes of the head of a part, which has the name of its input. Names of inputs have some hundred bytes at most.
const PART_HEAD_BYTES_MAX: usize = 64 << 10;
/// The most headers of a part. Browsers send two.
const PART_HEADERS_MAX: usize = 32;
/// The most parts of a form: more than the rows of a usual batch, and few enough to keep in memory.
pub(super) const PARTS_MAX: usize = 4096;
/// The end of a head.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// A part of a form.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) value: Bytes,
}

/// Reads the parts of a body.
///
/// # Errors
/// `InvalidArgument` if the body is no form, ends early, or has too many parts.
pub(super) fn parts(content_type: &str, body: &Bytes) -> Result<Vec<Part>, Error> {
    let boundary = boundary(content_type).ok_or_else(|| malformed("expected a boundary in Content-Type"))?;
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = Finder::new(&delimiter);
    let ended = || malformed("the form ends before its last boundary");
    let mut parts = Vec::new();
    let mut line = next_line(&delimiter, body, 0).ok_or_else(ended)?;
    while !line.is_last {
        if parts.len() == PARTS_MAX {
            return Err(Error::invalid(format!("expected at most {PARTS_MAX} parts in the form, got more")));
        }
        // A part without headers begins with the empty line, whose first half ends the boundary's line.
        let begin = line.end - 2;
        let most = body.len().min(begin + PART_HEAD_BYTES_MAX);
        let Some(head_bytes) = memmem::find(&body[begin..most], EMPTY_LINE) else {
            return Err(if most < body.len() { head_too_large() } else { ended() });
        };
        let value = begin + head_bytes + EMPTY_LINE.len();
        let name = name(&body[line.end..value])?;
        line = next_line(&delimiter, body, value).ok_or_else(ended)?;
        parts.push(Part { name, value: body.slice(value..line.begin) });
    }
    Ok(parts)
}

/// The error for a form that cannot be read.
fn malformed(why: &str) -> Error {
    Error::invalid(format!("malformed multipart/form-data: {why}"))
}

fn head_too_large() -> Error {
    malformed(&format!("expected at most {PART_HEAD_BYTES_MAX} bytes before the value of each part, got more"))
}

fn boundary(content_type: &str) -> Option<String> {
    let boundary = content_type.parse::<Mime>().ok()?.get_param(BOUNDARY)?.as_str().to_owned();
    (!boundary.is_empty()).then_some(boundary)
}

/// The line of a boundary.
struct Line {
    /// The end of the value before it.
    begin: usize,
    /// The place behind it.
    end: usize,
    is_last: bool,
}

/// Finds the next line of a boundary. Text that only begins like one belongs to a value.
fn next_line(delimiter: &Finder<'_>, body: &[u8], mut from: usize) -> Option<Line> {
    let first = &delimiter.needle()[2..];
    loop {
        let (begin, end) = if from == 0 && body.starts_with(first) {
            (0, first.len())
        } else {
            let begin = from + delimiter.find(&body[from..])?;
            (begin, begin + delimiter.needle().len())
        };
        let rest = &body[end..];
        if rest.starts_with(b"--") {
            return Some(Line { begin, end, is_last: true });
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if rest[blanks..].starts_with(b"\r\n") {
            return Some(Line { begin, end: end + blanks + 2, is_last: false });
        }
        from = end;
    }
}

/// The name of a part. A header that is not UTF-8 is read as Latin-1, because older clients write file names in it.
fn name(head: &[u8]) -> Result<String, Error> {
    let expected = || malformed("expected the header `Content-Disposition: form-data; name=\"…\"` in each part");
    let mut headers = [httparse::EMPTY_HEADER; PART_HEADERS_MAX];
    let parsed = httparse::parse_headers(head, &mut headers).map_err(|error| malformed(&error.to_string()))?;
    let httparse::Status::Complete((_, headers)) = parsed else { return Err(expected()) };
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-disposition")).ok_or_else(expected)?.value;
    let latin1 = || header.iter().map(|&byte| char::from(byte)).collect();
    let text = std::str::from_utf8(header).map_or_else(|_| latin1(), str::to_owned);
    let disposition = HeaderValue::from_str(&text).ok().and_then(|header| ContentDisposition::from_raw(&header).ok());
    let disposition = disposition.filter(|disposition| disposition.disposition == DispositionType::FormData);
    disposition.and_then(|disposition| disposition.get_name().map(str::to_owned)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the values of the parts of a body, in which `|` stands for the end of a line.
    #[track_caller]
    fn check(body: &str, expect: &[&str]) {
        let body = Bytes::from(body.replace('|', "\r\n"));
        let values: Vec<Bytes> = parts("multipart/form-data; boundary=XX", &body)
            .unwrap_or_else(|error| panic!("{error}"))
            .into_iter()
            .map(|part| part.value)
            .collect();
        assert_eq!(values, expect.iter().map(|text| text.replace('|', "\r\n")).collect::<Vec<_>>(), "{body:?}");
    }

    #[test]
    fn values_end_with_the_boundary_alone() {
        let head = "content-disposition: form-data; name=\"a\"|";
        for length in ["", "content-length: 2|", "Content-Length: 2000|", "content-length: x|"] {
            check(&format!("--XX|{head}{length}|abcdef|--XX|{length}{head}||--XX--|"), &["abcdef", ""]);
        }
        check(&format!("--XX|{head}|a|--XXX|--X|-|--XX--|--XX--"), &["a|--XXX|--X|-"]);
        check(&format!("a preamble|--XX \t|{head}|\r--XX|--XX--an epilogue|--XX|"), &["\r--XX"]);
        check("--XX--", &[]);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = "content-disposition: form-data; name=\"a\"|";
        let ends = "the form ends before its last boundary";
        let long = format!("--XX|{head}x: {}", "a".repeat(PART_HEAD_BYTES_MAX));
        for (body, expect) in [
            ("", ends),
            ("--X", ends),
            ("--XX|", ends),
            (&format!("--XX|{head}|abc"), ends),
            (&format!("--XX|{head}|abc|--XX"), ends),
            (&format!("--XX|{head}"), ends),
            (&long, "expected at most 65536 bytes before the value of each part, got more"),
            ("--XX||abc|--XX--", "expected the header"),
            (&format!("--XX|{head}--XX--||"), "invalid header name"),
        ] {
            let body = Bytes::from(body.replace('|', "\r\n"));
            let error = parts("multipart/form-data; boundary=XX", &body).err().expect("no form");
            assert!(error.message.starts_with(&format!("malformed multipart/form-data: {expect}")), "{body:?}: {error}");
        }
        let error = parts("multipart/form-data; boundary=", &Bytes::new()).err().expect("no boundary");
        assert_eq!(error.message, "malformed multipart/form-data: expected a boundary in Content-Type");
    }
}
