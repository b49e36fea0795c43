//! The gate that every call passes before its service. It refuses a call without a valid token before it reads any of it. It ends
//! streams that would last as long as their clients like when the server stops.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Frame;
use tfweb_limits::Ledger;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::http::header::{HeaderValue, AUTHORIZATION};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Bytes, Service};
use tonic::Status;

use super::protocol::GrpcProtocol;
use super::services::Dispatch;
use crate::transport::tokens::Access;

/// The calls of these services are streams that last until their client closes them.
const STREAMING: &str = "/grpc.reflection.";

/// All services, after the gate.
#[derive(Clone)]
pub(super) struct Gate {
    services: Dispatch,
    shared: Arc<Shared>,
}

/// The parts that the gates of all sockets share.
pub(super) struct Shared {
    stopping: watch::Receiver<bool>,
    access: Arc<Access>,
    protocols: Arc<[Arc<dyn GrpcProtocol>]>,
}

impl Shared {
    pub(super) fn new(stopping: watch::Receiver<bool>, access: Arc<Access>, protocols: Arc<[Arc<dyn GrpcProtocol>]>) -> Self {
        Self { stopping, access, protocols }
    }
}

impl Gate {
    pub(super) fn new(services: Dispatch, shared: Shared) -> Self {
        Self { services, shared: Arc::new(shared) }
    }

    /// The memory of all requests.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        self.services.ledger()
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_open = || self.shared.protocols.iter().any(|protocol| protocol.is_open(request.uri().path()));
        if let Some(refusal) = self.shared.access.may_call(authorization).err().filter(|_| !is_open()) {
            let refused = Status::unauthenticated(refusal.error().message).into_http();
            return Box::pin(std::future::ready(Ok(refused)));
        }
        if !request.uri().path().starts_with(STREAMING) {
            return self.services.call(request);
        }
        let mut stopping = self.shared.stopping.clone();
        let stop = Box::pin(async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        });
        self.services.call(request.map(|body| Body::new(UntilStop { body, stop })))
    }
}

/// A client's messages, which end when the server stops.
struct UntilStop {
    body: Body,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for UntilStop {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
