//! How an origin's answer is framed: where its head ends, and where its body ends. Pure.
//!
//! One place decides this, so that [`Wire`](super::connection::Wire) and awc cannot disagree: `Wire` follows the bytes by it, and awc
//! is shown a head that is written anew ([`Head::for_awc`]). An answer is malformed where RFC 9112 lets clients differ about its
//! end: what one of them takes for the whole would be a part, or more, to another.

use std::fmt;
use std::io::{self, ErrorKind};

use tfweb_engine::quoted;

use super::chunks::Chunks;

/// The most header fields of a head; awc takes no more.
const FIELDS_MAX: usize = 96;
/// How every head begins.
const BEGINNING: &[u8] = b"HTTP/";

/// Why an origin's bytes are no HTTP answer, or one whose end is in doubt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(String);

impl Malformed {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorKind::InvalidData, malformed)
    }
}

/// The head of an answer, as far as a fetch needs it.
#[derive(Debug)]
pub(super) struct Head {
    status: u16,
    location: Option<Vec<u8>>,
    /// All encodings, separated by commas.
    encoding: Option<Vec<u8>>,
    pub(super) body: Body,
}

/// How a body ends, or the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Behind a number of bytes.
    Length(u64),
    Chunked(Chunks),
    /// With the connection.
    ToEnd,
}

/// Finds where a head ends: behind its first empty line. `searched` bytes were looked at before.
///
/// # Errors
/// If the bytes begin otherwise than a head does, an empty line included.
pub(super) fn head_end(bytes: &[u8], searched: usize) -> Result<Option<usize>, Malformed> {
    let begun = &bytes[..bytes.len().min(BEGINNING.len())];
    if !BEGINNING.starts_with(begun) {
        return Err(Malformed(format!("it begins with {}, expected \"HTTP/\"", shown(begun))));
    }
    // The end of a line may have been the last that was looked at.
    for at in searched.saturating_sub(2)..bytes.len() {
        match bytes[at..] {
            [b'\n', b'\n', ..] => return Ok(Some(at + 2)),
            [b'\n', b'\r', b'\n', ..] => return Ok(Some(at + 3)),
            _ => {}
        }
    }
    Ok(None)
}

/// Reads a head, which ends where [`head_end`] says.
///
/// # Errors
/// If it is none, or leaves open where its body ends.
pub(super) fn read_head(bytes: &[u8]) -> Result<Head, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let mut parser = httparse::ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    let parsed = parser.parse_response(&mut head, bytes).map_err(|error| Malformed(error.to_string()))?;
    let (Some(version), Some(status @ 100..)) = (head.version, head.code) else {
        return Err(Malformed::new("its status is less than 100"));
    };
    if parsed != httparse::Status::Complete(bytes.len()) {
        return Err(Malformed::new("its head does not end with its first empty line"));
    }
    let values = |name: &'static str| {
        let named = head.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value)
    };
    let items = |name| values(name).flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);

    let length = length(items("content-length"))?;
    let is_chunked = is_chunked(items("transfer-encoding"), version)?;
    let body = match length {
        // Nobody reads the body of another answer.
        _ if status != 200 => Body::Length(0),
        _ if is_chunked => Body::Chunked(Chunks::default()),
        Some(bytes) => Body::Length(bytes),
        None => Body::ToEnd,
    };
    let encodings: Vec<&[u8]> = values("content-encoding").collect();
    let encoding = (!encodings.is_empty()).then(|| encodings.join(&b", "[..]));
    Ok(Head { status, location: values("location").next().map(<[u8]>::to_vec), encoding, body })
}

impl Head {
    /// Whether the answer is still to come (RFC 9110, 15.2). A switch of protocols is one, which nobody asked for.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The head as awc reads it the same way, and with nothing in it that awc would have to judge.
    ///
    /// awc takes an HTTP/1.1 answer without a length for an empty one. So an answer of any version is HTTP/1.1 with its framing
    /// stated, and HTTP/1.0 where its body goes on to the end of the connection. Behind each awc closes the connection.
    pub(super) fn for_awc(&self) -> Vec<u8> {
        let (minor, framing) = match &self.body {
            Body::Length(bytes) => (1, format!("content-length: {bytes}\r\n")),
            Body::Chunked(_) => (1, "transfer-encoding: chunked\r\n".to_owned()),
            Body::ToEnd => (0, String::new()),
        };
        let mut head = format!("HTTP/1.{minor} {}\r\n{framing}", self.status).into_bytes();
        for (name, value) in [("location", &self.location), ("content-encoding", &self.encoding)] {
            if let Some(value) = value {
                head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        head.extend_from_slice(b"connection: close\r\n\r\n");
        head
    }
}

impl Body {
    /// Follows the body's next bytes; gives how many of them belong to it.
    ///
    /// # Errors
    /// If its chunks are malformed.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Length(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                Ok(count)
            }
            Self::Chunked(chunks) => chunks.follow(bytes),
            Self::ToEnd => Ok(bytes.len()),
        }
    }

    /// Whether all of it has come, as far as its bytes say.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_whole(),
            Self::ToEnd => false,
        }
    }
}

/// The length that all values agree on; digits only, for some would read a sign and others not.
fn length<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<u64>, Malformed> {
    let mut known = None;
    for value in values {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok());
        let length = length.ok_or_else(|| Malformed(format!("its Content-Length is {}, expected digits", shown(value))))?;
        if let Some(other) = known.replace(length).filter(|&other| other != length) {
            return Err(Malformed(format!("its Content-Length is {other} and {length}")));
        }
    }
    Ok(known)
}

/// Whether a body comes in chunks: the only coding there is, and new in HTTP/1.1.
fn is_chunked<'a>(codings: impl Iterator<Item = &'a [u8]>, version: u8) -> Result<bool, Malformed> {
    let codings: Vec<&[u8]> = codings.collect();
    match codings[..] {
        [] => Ok(false),
        [coding] if version == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => {
            let codings = shown(&codings.join(&b", "[..]));
            Err(Malformed(format!("its Transfer-Encoding in HTTP/1.{version} is {codings}, expected \"chunked\" in HTTP/1.1")))
        }
    }
}

/// An origin's bytes in an error.
fn shown(bytes: &[u8]) -> String {
    quoted(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
