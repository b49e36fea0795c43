//! The framing of an origin's answer: where its head ends, and where its body ends. Pure.
//!
//! This file alone decides the framing, so that the connection and awc cannot disagree. The connection follows the bytes by these
//! rules, and awc reads a head that is written anew ([`Head::for_awc`]). Where RFC 9112 lets clients differ about the end of an
//! answer, the answer is malformed here: one client would take it for whole, and another for a part or for too much.

use super::chunks::Chunks;
use super::malformed::{shown, Malformed};

/// The most header fields of a head. awc accepts no more.
const FIELDS_MAX: usize = 96;
/// The bytes with which every head begins.
const BEGINNING: &[u8] = b"HTTP/";

/// The head of an answer, as far as a fetch needs it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    location: Option<Vec<u8>>,
    /// All encodings of the body, separated by commas.
    encoding: Option<Vec<u8>>,
    pub(super) body: Body,
}

/// The end of a body, of which some bytes may have come already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The body ends after this number of bytes.
    Length(u64),
    /// The body ends with its last chunk.
    Chunked(Chunks),
    /// The body ends with the connection.
    ToEnd,
}

/// Finds the end of a head: behind its first empty line. An earlier call has searched the first `searched` bytes.
///
/// # Errors
/// [`Malformed`] if the bytes do not begin as a head does. An empty line is no beginning either.
pub(super) fn head_end(bytes: &[u8], searched: usize) -> Result<Option<usize>, Malformed> {
    let begun = &bytes[..bytes.len().min(BEGINNING.len())];
    if !BEGINNING.starts_with(begun) {
        return Err(Malformed::new(format!("it begins with {}, expected \"HTTP/\"", shown(begun))));
    }
    // The earlier call may have stopped between the end of a line and the empty line.
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
/// [`Malformed`] if the bytes are no head, or leave open where the body ends.
pub(super) fn read_head(bytes: &[u8]) -> Result<Head, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let mut parser = httparse::ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    let parsed = parser.parse_response(&mut head, bytes).map_err(|error| Malformed::new(error.to_string()))?;
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
        // Only an answer with status 200 has a body that anybody reads.
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
    /// Whether the final answer is still to come (RFC 9110, 15.2). Status 101 counts as final: tfweb asks for no other protocol.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Writes the head anew, so that awc has nothing to judge and reads the same framing.
    ///
    /// awc takes an HTTP/1.1 answer without a length for an empty one. So the new head is HTTP/1.1 and states its framing, or
    /// HTTP/1.0 if the body ends with the connection. awc closes the connection after each.
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
    /// Follows the body's next bytes. Gives how many of them belong to the body.
    ///
    /// # Errors
    /// [`Malformed`] if the chunks are.
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

    /// Whether the whole body has come. A body that ends with the connection never says so.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_whole(),
            Self::ToEnd => false,
        }
    }
}

/// The length on which all values agree. Only digits are accepted, for clients differ about signs.
fn length<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<u64>, Malformed> {
    let mut known = None;
    for value in values {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok());
        let length = length.ok_or_else(|| Malformed::new(format!("its Content-Length is {}, expected digits", shown(value))))?;
        if let Some(other) = known.replace(length).filter(|&other| other != length) {
            return Err(Malformed::new(format!("its Content-Length is {other} and {length}")));
        }
    }
    Ok(known)
}

/// Whether the body comes in chunks. No other coding is accepted, and this one only in HTTP/1.1.
fn is_chunked<'a>(codings: impl Iterator<Item = &'a [u8]>, version: u8) -> Result<bool, Malformed> {
    let codings: Vec<&[u8]> = codings.collect();
    match codings[..] {
        [] => Ok(false),
        [coding] if version == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => {
            let codings = shown(&codings.join(&b", "[..]));
            Err(Malformed::new(format!("its Transfer-Encoding in HTTP/1.{version} is {codings}, expected \"chunked\" in HTTP/1.1")))
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
