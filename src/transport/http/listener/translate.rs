//! Requests and answers between the types of `http`, which hyper and h2 use, and those of actix, which handlers use. Both versions
//! of HTTP so have the same refusals, limits and metrics.

use std::net::SocketAddr;

use ::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use ::http::{request, HeaderMap, StatusCode};
use actix_http::header::{HeaderName, HeaderValue, HOST};
use actix_http::{HttpMessage, Method, Payload, Request, ResponseHead, Uri, Version};
use actix_web::body::BodySize;
use tfweb_engine::Error;

use crate::transport::body_limits::REQUEST_BYTES;
use crate::transport::http::slash::{self, HadSlash};

/// The memory of a header beside its text, in the maps of both kinds of types. A test measures it.
const HEADER_BYTES: usize = 512;

pub(super) const KEEP_ALIVE: ::http::HeaderName = ::http::HeaderName::from_static("keep-alive");

/// The connection decides about these headers of an answer.
static OF_CONNECTION: [::http::HeaderName; 4] = [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE];

/// The names that most requests and answers have, in both kinds of types. To find a name here is less work than to read it.
static NAMES: [(HeaderName, ::http::HeaderName); 9] = [
    names("content-type"),
    names("content-length"),
    names("host"),
    names("x-request-id"),
    names("server-timing"),
    names("user-agent"),
    names("accept"),
    names("accept-encoding"),
    names("authorization"),
];

/// The most memory of a request's head, and of all else that the request holds without counting it.
pub(super) fn request_bytes(parts: &request::Parts) -> usize {
    let uri = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let texts = uri + headers.sum::<usize>();
    // The allocator rounds each text up, by less than a quarter.
    REQUEST_BYTES + texts + texts / 4 + parts.headers.len() * HEADER_BYTES
}

/// Checks what a parser leaves unchecked: the form of the path and the number of Host headers (RFC 9112, section 3.2).
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn check(parts: &request::Parts) -> Result<(), Error> {
    // hyper takes `GET models HTTP/1.1` for a request to the host `models`.
    if parts.uri.scheme().is_none() && parts.uri.authority().is_some() && parts.method != ::http::Method::CONNECT {
        return Err(Error::invalid("malformed HTTP request: expected a path that begins with `/`"));
    }
    let count = parts.headers.get_all(HOST.as_str()).iter().count();
    if count == 1 || (count == 0 && parts.version != ::http::Version::HTTP_11) {
        return Ok(());
    }
    Err(Error::invalid(format!("malformed HTTP request: expected one header Host, got {count}")))
}

/// Makes the request for a handler; `None` if it is malformed. Copies all texts and drops `parts`, whose texts are windows onto the
/// buffer of the connection: a head of a few bytes would hold all of it.
pub(super) fn request(parts: request::Parts, peer: Option<SocketAddr>, payload: Payload) -> Option<Request> {
    let version = match parts.version {
        ::http::Version::HTTP_2 => Version::HTTP_2,
        ::http::Version::HTTP_11 => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.version = version;
    head.peer_addr = peer;
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    let path = slash::without(parts.uri.path());
    let had_slash = path != parts.uri.path();
    head.uri = match (parts.uri.path_and_query(), parts.uri.query()) {
        (Some(_), Some(query)) if had_slash => Uri::try_from([path, "?", query].concat()).ok()?,
        (Some(_), None) if had_slash => Uri::try_from(path).ok()?,
        (Some(path), _) => Uri::try_from(path.as_str()).ok()?,
        (None, _) => Uri::from_static("/"),
    };
    for (name, value) in &parts.headers {
        let name = actix_name(name)?;
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    if let Some(authority) = parts.uri.authority() {
        head.headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
    }
    if had_slash {
        request.extensions_mut().insert(HadSlash);
    }
    Some(request)
}

/// Makes the head of an answer; `None` if a header cannot be sent.
pub(super) fn answer(answer: &ResponseHead, size: BodySize) -> Option<::http::response::Parts> {
    let (mut head, ()) = ::http::Response::new(()).into_parts();
    head.status = StatusCode::from_u16(answer.status.as_u16()).ok()?;
    // Two more: the length, and what the connection says of itself.
    head.headers = HeaderMap::with_capacity(answer.headers().len_keys() + 2);
    for (name, value) in answer.headers() {
        let name = http_name(name)?;
        if !OF_CONNECTION.contains(&name) {
            head.headers.append(name, ::http::HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
    }
    if let (BodySize::Sized(bytes), false) = (size, answer.status == actix_http::StatusCode::NO_CONTENT) {
        head.headers.insert(CONTENT_LENGTH, bytes.into());
    }
    Some(head)
}

const fn names(name: &'static str) -> (HeaderName, ::http::HeaderName) {
    (HeaderName::from_static(name), ::http::HeaderName::from_static(name))
}

fn actix_name(name: &::http::HeaderName) -> Option<HeaderName> {
    let known = NAMES.iter().find(|(_, known)| known == name);
    known.map_or_else(|| HeaderName::from_bytes(name.as_str().as_bytes()).ok(), |(known, _)| Some(known.clone()))
}

fn http_name(name: &HeaderName) -> Option<::http::HeaderName> {
    let known = NAMES.iter().find(|(known, _)| known == name);
    known.map_or_else(|| ::http::HeaderName::from_bytes(name.as_str().as_bytes()).ok(), |(_, known)| Some(known.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: [&str; 5] = ["content-type", "x-request-id", "server-timing", "accept-ranges", "x-a-name-that-few-answers-have"];

    #[test]
    fn headers_are_the_same_in_both_kinds_of_types() {
        let mut request = ::http::Request::builder().version(::http::Version::HTTP_11).header("host", "a");
        let mut answer = actix_http::Response::new(actix_http::StatusCode::OK);
        for name in SENT.into_iter().chain(NAMES.iter().map(|(_, name)| name.as_str())) {
            request = request.header(name, "a").header(name, "b");
            answer.headers_mut().append(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("a"));
        }
        request.headers_mut().unwrap().insert("host", ::http::HeaderValue::from_static("a"));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let read = parts.headers.clone();
        let made = super::request(parts, None, Payload::None).unwrap();
        assert_eq!(made.head().headers.len(), read.len());
        assert!(read.keys().all(|name| {
            let made: Vec<_> = made.head().headers.get_all(name.as_str()).map(HeaderValue::as_bytes).collect();
            made == read.get_all(name).iter().map(::http::HeaderValue::as_bytes).collect::<Vec<_>>()
        }));
        let sent = super::answer(answer.head(), BodySize::Stream).unwrap().headers;
        assert_eq!(sent.len(), answer.headers().len());
        assert!(answer.headers().iter().all(|(name, _)| sent.contains_key(name.as_str())));
    }

    #[test]
    fn the_connection_decides_about_its_own_headers() {
        let mut answer = actix_http::Response::new(actix_http::StatusCode::OK);
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "vary"] {
            answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static("a"));
        }
        let sent = super::answer(answer.head(), BodySize::Sized(7)).unwrap().headers;
        assert_eq!((sent.len(), &sent["vary"], &sent["content-length"]), (2, &"a".parse().unwrap(), &"7".parse().unwrap()));
    }
}
