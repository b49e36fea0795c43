//! Asks for a token before anything of a request is read.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{guard, web, HttpRequest, HttpResponse};

use super::answers::Answers;
use super::error;
use super::protocol::HttpProtocol;
use crate::transport::tokens::{Access, Refusal};

/// What decides who may call.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) access: Arc<Access>,
    pub(super) protocols: Arc<[Arc<dyn HttpProtocol>]>,
    pub(super) answers: Arc<Answers>,
}

impl Gate {
    /// Adds a route before all others that takes every request that may not be made, whatever its path.
    pub(super) fn mount(self, config: &mut ServiceConfig) {
        let gate = self.clone();
        let is_refused = move |context: &guard::GuardContext<'_>| gate.refuses(context.head());
        let refuse = move |request: HttpRequest| {
            let response = self.refuse(&request);
            async move { response }
        };
        config.service(web::scope("").guard(guard::fn_guard(is_refused)).default_service(web::to(refuse)));
    }

    fn refuses(&self, head: &actix_web::dev::RequestHead) -> bool {
        // Browsers ask without a token whether they may send one.
        let is_preflight = || head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let is_open = || self.protocols.iter().any(|protocol| protocol.is_open(head.uri.path()));
        self.may_call(&head.headers).is_err() && !(self.answers.cors && is_preflight()) && !is_open()
    }

    fn may_call(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.access.may_call(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes))
    }

    fn refuse(&self, request: &HttpRequest) -> HttpResponse {
        // Tokens may have changed since the guard looked: then the request is refused as it was.
        let refusal = self.may_call(request.headers()).err().unwrap_or(Refusal::Wrong);
        let protocol = self.protocols.iter().find(|protocol| protocol.takes(request.path()));
        let error = refusal.error();
        let mut response = protocol.map_or_else(|| error::respond(&error), |protocol| protocol.refuse(&error));
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(refusal.challenge()));
        self.answers.dress(request, &mut response);
        response
    }
}
