//! Errors as this protocol writes them.

use std::fmt;

use actix_web::http::header::{ContentType, RETRY_AFTER};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use tfweb_engine::{Code, Error};

use crate::status;

/// An error on its way to an HTTP client.
#[derive(Debug)]
pub struct ApiError(pub Error);

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    code: &'static str,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        status::http(self.0.code)
    }

    fn error_response(&self) -> HttpResponse {
        if self.0.code == Code::Internal {
            tracing::error!("{}", self.0);
        }
        respond(self.status_code(), &self.0)
    }
}

impl actix_web::Responder for ApiError {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &actix_web::HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

/// The response to an error, with a status that the code alone does not give.
pub(super) fn respond(status: StatusCode, error: &Error) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    if error.code == Code::Unavailable {
        response.insert_header((RETRY_AFTER, tfweb_actors::RETRY_AFTER.as_secs().to_string()));
    }
    let body = ErrorBody { error: &error.message, code: error.code.name() };
    response.insert_header(ContentType::json()).body(serde_json::to_string(&body).expect("text serializes; this is a bug"))
}
