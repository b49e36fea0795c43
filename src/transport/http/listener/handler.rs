//! The connections of a worker share these: the handler of requests, and limits.

use std::sync::Arc;

use ::http::{request, HeaderValue};
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::body::BoxBody;
use tfweb_engine::Error;
use tfweb_limits::{Ledger, Share};

use super::timeouts::Timeouts;
use super::translate::{check, request_bytes};
use crate::transport::body_limits::no_room;
use crate::transport::http::protocol::HttpProtocol;
use crate::transport::http::slash;
use crate::transport::request_id::RequestIds;

/// Answers requests. An error is an answer too.
pub(super) trait Handler: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>> {}

impl<S: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>>> Handler for S {}

/// The limits of connections.
pub(super) struct Shared {
    pub(super) timeouts: Timeouts,
    /// Counts the memory of requests.
    pub(super) ledger: Arc<Ledger>,
    /// Know the paths that must be answered always.
    pub(super) protocols: Arc<[Arc<dyn HttpProtocol>]>,
    /// Makes ids for requests that no handler sees.
    pub(super) request_ids: Arc<RequestIds>,
    /// Tells a client how long its connection stays open, so that it sends no request just when the server closes it.
    pub(super) keep_alive: HeaderValue,
}

impl Shared {
    /// Checks the head of a request, and counts it and what else the request holds without counting it. Probes always have room: a
    /// supervisor ends a server that does not answer them.
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed head; `Unavailable` without room.
    pub(super) fn admit(&self, share: &mut Share, parts: &request::Parts) -> Result<(), Error> {
        check(parts)?;
        let counted = share.grow(request_bytes(parts));
        if counted.is_err() && self.protocols.iter().any(|protocol| protocol.is_open(slash::without(parts.uri.path()))) {
            return Ok(());
        }
        counted.map_err(no_room)
    }
}
