//! Errors as this protocol writes them.

use actix_web::http::header::{ContentType, RETRY_AFTER};
use actix_web::http::StatusCode;
use actix_web::HttpResponse;
use serde::Serialize;
use tfweb_engine::{Code, Error};

use crate::http::Failure;

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    code: &'static str,
}

/// The answer to an error.
pub(super) fn respond(status: StatusCode, error: &Error) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    if error.code == Code::Unavailable {
        response.insert_header((RETRY_AFTER, tfweb_limits::RETRY_AFTER.as_secs().to_string()));
    }
    if error.code == Code::Internal {
        response.extensions_mut().insert(Failure(error.message.clone()));
    }
    let body = ErrorBody { error: &error.message, code: error.code.name() };
    response.insert_header(ContentType::json()).body(serde_json::to_string(&body).expect("text serializes; this is a bug"))
}
