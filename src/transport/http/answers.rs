//! The headers that every answer has: the request id, and CORS headers.
//!
//! [`Answers::finish`] adds them to an answer. Middleware would cost more than all the rest of a request to a small model.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use tfweb_engine::Error;

use super::body::{Refused, ENCODINGS};
use super::cors::Cors;
use super::error::{respond, Failure};
use crate::observe::log;
use crate::transport::body_limits::BodyLimits;
use crate::transport::request_id::{is_taken, RequestIds, REQUEST_ID};

/// The header of the request id.
pub(super) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static(REQUEST_ID);
/// The `Allow` header of a path that does not exist.
const UNKNOWN_PATH_METHODS: &str = "GET, HEAD, OPTIONS";

/// The settings that all answers of a listener share.
#[derive(Clone)]
pub struct Answers {
    /// The limits of request bodies.
    pub bodies: BodyLimits,
    /// The pages of other origins that may call the server.
    pub cors: Cors,
    /// Makes ids for requests without one.
    pub request_ids: Arc<RequestIds>,
    /// Whether each request is observed.
    pub is_observed: bool,
    /// Makes the error for a path that does not exist.
    pub not_found: fn(&str) -> Error,
    /// Whether OPTIONS of an unknown path is answered like that of a route. The admin port, which no page calls, answers 404.
    pub has_unknown_options: bool,
}

/// The id that was chosen for a request before its answer. It stands in the request's extensions.
struct Kept(HeaderValue);

impl Answers {
    /// The id of a request: the client's, or a new one.
    pub(super) fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let brought = headers.get(REQUEST_ID_HEADER).filter(|id| is_taken(id.as_bytes())).cloned();
        brought.unwrap_or_else(|| {
            let made = Bytes::from(self.request_ids.make());
            HeaderValue::from_maybe_shared(made).expect("letters and digits are a header value; this is a bug")
        })
    }

    /// Adds the common headers to an answer, and logs the failure if it is an internal one. A refusal for an unknown encoding, or
    /// for a body that comes too slowly, gets its status 415 or 408 here.
    pub(super) fn finish<B>(&self, request: &HttpRequest, response: &mut HttpResponse<B>) {
        let id = self.id_of(request);
        if response.status().is_server_error() {
            if let Some(Failure(message)) = response.extensions_mut().remove() {
                log::failure(id.as_bytes(), &message);
            }
        }
        if !response.status().is_success() {
            if let Some(Refused(status)) = request.extensions_mut().remove() {
                *response.status_mut() = status;
                if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ENCODINGS));
                }
            }
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID_HEADER, id);
        self.cors.finish(request.headers(), headers);
    }

    /// Chooses the id of a request before its answer, which will have the same.
    pub(super) fn keep_id(&self, request: &HttpRequest) -> HeaderValue {
        let id = self.id_of(request);
        request.extensions_mut().insert(Kept(id.clone()));
        id
    }

    fn id_of(&self, request: &HttpRequest) -> HeaderValue {
        let kept = request.extensions_mut().remove().map(|Kept(id)| id);
        kept.unwrap_or_else(|| self.request_id(request.headers()))
    }

    /// Answers OPTIONS with the methods of a path. For a preflight it adds the CORS headers.
    pub(super) fn options(&self, request: &HttpRequest, allow: &'static str) -> HttpResponse {
        let mut response = HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish();
        self.cors.answer_preflight(request.headers(), allow, response.headers_mut());
        response
    }

    /// Answers a request for a path that does not exist.
    #[must_use]
    pub fn unknown_path(&self, request: &HttpRequest) -> HttpResponse {
        if self.has_unknown_options && request.method() == Method::OPTIONS {
            return self.options(request, UNKNOWN_PATH_METHODS);
        }
        respond(&(self.not_found)(request.path()))
    }
}
