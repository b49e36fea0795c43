//! Checks the token of a request before any other part of the request is read.

use std::sync::Arc;

use actix_web::dev::{RequestHead, Url};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{guard, web, HttpRequest, HttpResponse};

use super::answers::Answers;
use super::error;
use super::protocol::HttpProtocol;
use crate::transport::tokens::{Access, Refusal};

/// Decides which requests are refused.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) access: Arc<Access>,
    pub(super) protocols: Arc<[Arc<dyn HttpProtocol>]>,
    pub(super) answers: Arc<Answers>,
}

impl Gate {
    /// Adds a route before all others. It takes every request that must be refused, whatever its path.
    pub(super) fn mount(self, config: &mut ServiceConfig) {
        let gate = self.clone();
        let is_refused = move |context: &guard::GuardContext<'_>| gate.refuses(context.head());
        let refuse = move |request: HttpRequest| {
            let response = self.refuse(&request);
            async move { response }
        };
        config.service(web::scope("").guard(guard::fn_guard(is_refused)).default_service(web::to(refuse)));
    }

    fn refuses(&self, head: &RequestHead) -> bool {
        // A browser sends a preflight without a token, to ask whether it may send one.
        let is_preflight = || head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        // The path as routes read it: `/%6civez` is `/livez`.
        let is_open = || {
            let url = Url::new(head.uri.clone());
            self.protocols.iter().any(|protocol| protocol.is_open(url.path()))
        };
        let may_ask = || is_preflight() && self.answers.cors.allows(&head.headers);
        self.may_call(&head.headers).is_err() && !may_ask() && !is_open()
    }

    fn may_call(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.access.may_call(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes))
    }

    fn refuse(&self, request: &HttpRequest) -> HttpResponse {
        // The tokens may have changed after the guard's check. The request is refused all the same.
        let refusal = self.may_call(request.headers()).err().unwrap_or(Refusal::Wrong);
        let protocol = self.protocols.iter().find(|protocol| protocol.takes(request.path()));
        let error = refusal.error();
        let mut response = protocol.map_or_else(|| error::respond(&error), |protocol| protocol.refuse(&error));
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(refusal.challenge()));
        self.answers.finish(request, &mut response);
        response
    }
}
