//! What every answer carries: a request id, CORS headers, the end of its connection.
//!
//! [`Answers::dress`] writes this into the answers. On a small model, layers of middleware would cost more than all the rest of a
//! request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use tfweb_engine::Error;

use super::body::{UnknownEncoding, ENCODINGS};
use super::error::{respond, Failure};
use super::listener::offers::ends_connection;
use crate::observe::log;
use crate::transport::body_limits::BodyLimits;
use crate::transport::request_id::{RequestIds, REQUEST_ID, REQUEST_ID_BYTES_MAX};

/// The request id's header.
pub(super) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static(REQUEST_ID);
/// How long a browser may remember a preflight's answer, in seconds: a day, the most that any browser keeps.
const PREFLIGHT_AGE: &str = "86400";
/// What scripts of other origins may read beyond the body.
const EXPOSED_HEADERS: &str = "server-timing, x-request-id, retry-after";
/// The methods of a path that does not exist, as `Allow` lists them.
const UNKNOWN_PATH_METHODS: &str = "GET, HEAD, OPTIONS";

/// What requests and answers of a listener share.
#[derive(Clone)]
pub struct Answers {
    /// Limits of request bodies.
    pub bodies: BodyLimits,
    /// Whether pages of other origins may call.
    pub cors: bool,
    /// Makes ids for requests that bring none.
    pub request_ids: Arc<RequestIds>,
    /// Whether the server is about to stop.
    pub draining: Arc<AtomicBool>,
    /// Whether each request is observed.
    pub is_observed: bool,
    /// The error of a path that does not exist.
    pub not_found: fn(&str) -> Error,
}

impl Answers {
    /// The id of a request: its own, or else one that is made for it.
    pub(super) fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let brought = headers.get(REQUEST_ID_HEADER).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).cloned();
        brought.unwrap_or_else(|| {
            let made = Bytes::from(self.request_ids.make());
            HeaderValue::from_maybe_shared(made).expect("letters and digits are a header value; this is a bug")
        })
    }

    /// Puts on an answer what every answer carries, and logs the failure if it is one of the server's. The refusal of a body
    /// becomes 415 where its encoding was the reason.
    pub(super) fn dress<B>(&self, request: &HttpRequest, response: &mut HttpResponse<B>) {
        let id = self.request_id(request.headers());
        if response.status().is_server_error() {
            if let Some(Failure(message)) = response.extensions_mut().remove() {
                log::failure(id.as_bytes(), &message);
            }
        }
        if response.status() == StatusCode::BAD_REQUEST && request.extensions().contains::<UnknownEncoding>() {
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ENCODINGS));
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID_HEADER, id);
        // Pages of any origin may call: the API has no cookies that they could misuse. Every answer says so, for a cache may pass
        // it on.
        if self.cors {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if self.cors && request.headers().contains_key(header::ORIGIN) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        }
        if self.draining.load(Ordering::Relaxed) || ends_connection(request) {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
    }

    /// Answers OPTIONS: which methods a path has, and to browsers whether their pages may use them.
    pub(super) fn options(&self, request: &HttpRequest, allow: &'static str) -> HttpResponse {
        let mut response = HttpResponse::NoContent();
        response.insert_header((header::ALLOW, allow));
        if self.cors && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, allow));
            response.insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE));
            if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()));
            }
        }
        response.finish()
    }

    /// Answers a path that does not exist.
    #[must_use]
    pub fn unknown_path(&self, request: &HttpRequest) -> HttpResponse {
        if request.method() == Method::OPTIONS {
            return self.options(request, UNKNOWN_PATH_METHODS);
        }
        respond(&(self.not_found)(request.path()))
    }
}
