//! Errors in tfweb's own form: `{"error": "…", "code": "INVALID_ARGUMENT"}`.

use actix_web::http::header::{ContentType, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use tfweb_engine::{Code, Error};

use crate::status;

/// The text of an internal error, in an answer's extensions. It is logged once, where the request's id is known.
pub(super) struct Failure(pub(super) String);

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    code: &'static str,
}

/// Answers with an error in tfweb's own form.
#[must_use]
pub fn respond(error: &Error) -> HttpResponse {
    let body = ErrorBody { error: &error.message, code: error.code.name() };
    begin(error).body(serde_json::to_string(&body).expect("text serializes; this is a bug"))
}

/// Begins an answer to an error, with the status and the headers that all JSON protocols share.
#[must_use]
pub fn begin(error: &Error) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status::http(error.code));
    response.insert_header(ContentType::json());
    if error.code == Code::Unavailable {
        response.insert_header((RETRY_AFTER, tfweb_limits::RETRY_AFTER.as_secs().to_string()));
    }
    if error.code == Code::Internal {
        response.extensions_mut().insert(Failure(error.message.clone()));
    }
    response
}
