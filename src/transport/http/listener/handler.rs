//! The connections of a worker share these: the handler of requests, and limits.

use std::sync::Arc;

use ::http::HeaderValue;
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::body::BoxBody;
use tfweb_limits::Ledger;

use super::timeouts::Timeouts;

/// Answers requests. An error is an answer too.
pub(super) trait Handler: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>> {}

impl<S: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>>> Handler for S {}

/// The limits of connections.
pub(super) struct Shared {
    pub(super) timeouts: Timeouts,
    /// Counts the memory of requests.
    pub(super) ledger: Arc<Ledger>,
    /// Tells a client how long its connection stays open, so that it sends no request just when the server closes it.
    pub(super) keep_alive: HeaderValue,
}
