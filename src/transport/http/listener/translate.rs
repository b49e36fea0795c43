//! Requests and answers between the types of `http`, which hyper and h2 use, and those of actix, which handlers use. Both versions
//! of HTTP so have the same refusals, limits and metrics.

use std::net::SocketAddr;

use ::http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use ::http::{request, StatusCode};
use actix_http::header::{HeaderName, HeaderValue, HOST};
use actix_http::{Method, Payload, Request, ResponseHead, Uri, Version};
use actix_web::body::BodySize;

use crate::transport::body_limits::REQUEST_BYTES;

/// The memory of a header beside its text, in the maps of both kinds of types. A test measures it.
const HEADER_BYTES: usize = 512;

/// The most memory of a request's head, and of all else that the request holds without counting it.
pub(super) fn request_bytes(parts: &request::Parts) -> usize {
    let uri = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let texts = uri + headers.sum::<usize>();
    // The allocator rounds each text up, by less than a quarter.
    REQUEST_BYTES + texts + texts / 4 + parts.headers.len() * HEADER_BYTES
}

/// Makes the request for a handler; `None` if it is malformed. Copies all texts and drops `parts`, whose texts are windows onto the
/// buffer of the connection: a head of a few bytes would hold all of it.
#[allow(clippy::needless_pass_by_value, reason = "it is dropped here")]
pub(super) fn request(parts: request::Parts, peer: Option<SocketAddr>, payload: Payload) -> Option<Request> {
    let (version, hosts) = match parts.version {
        ::http::Version::HTTP_2 => (Version::HTTP_2, 0..=1),
        ::http::Version::HTTP_11 => (Version::HTTP_11, 1..=1),
        _ => (Version::HTTP_10, 0..=1),
    };
    // RFC 9112, section 3.2.
    if !hosts.contains(&parts.headers.get_all(HOST.as_str()).iter().count()) {
        return None;
    }
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.version = version;
    head.peer_addr = peer;
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = match parts.uri.path_and_query() {
        Some(path) => Uri::try_from(path.as_str()).ok()?,
        None => Uri::from_static("/"),
    };
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    if let Some(authority) = parts.uri.authority() {
        head.headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
    }
    Some(request)
}

/// Makes the head of an answer; `None` if a header cannot be sent.
pub(super) fn answer(answer: &ResponseHead, size: BodySize) -> Option<::http::response::Parts> {
    let (mut head, ()) = ::http::Response::new(()).into_parts();
    head.status = StatusCode::from_u16(answer.status.as_u16()).ok()?;
    for (name, value) in answer.headers() {
        let name = ::http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, ::http::HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    // The connection decides about these.
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        head.headers.remove(name);
    }
    head.headers.remove("keep-alive");
    if let (BodySize::Sized(bytes), false) = (size, answer.status == actix_http::StatusCode::NO_CONTENT) {
        head.headers.insert(::http::header::CONTENT_LENGTH, bytes.into());
    }
    Some(head)
}
