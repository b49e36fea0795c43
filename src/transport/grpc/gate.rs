//! The gate that every call passes before its service. It refuses a call without a valid token before it reads any of it. It
//! counts the other calls. It ends streams that would last as long as their clients like when the server stops.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Frame;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::http::header::{HeaderValue, AUTHORIZATION};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Bytes, Service};
use tonic::service::Routes;
use tonic::Status;

use super::protocol::GrpcProtocol;
use crate::transport::tokens::Access;

/// The calls of these services are streams that last until their client closes them.
const STREAMING: &str = "/grpc.reflection.";

/// All services, after the gate.
#[derive(Clone)]
pub(super) struct Gate {
    services: Routes,
    shared: Arc<Shared>,
}

/// The parts that the gates of all sockets share.
pub(super) struct Shared {
    stopping: watch::Receiver<bool>,
    access: Arc<Access>,
    protocols: Arc<[Arc<dyn GrpcProtocol>]>,
    in_flight: AtomicUsize,
}

impl Shared {
    pub(super) fn new(stopping: watch::Receiver<bool>, access: Arc<Access>, protocols: Arc<[Arc<dyn GrpcProtocol>]>) -> Self {
        Self { stopping, access, protocols, in_flight: AtomicUsize::new(0) }
    }

    /// The number of calls that are not answered yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Gate {
    pub(super) fn new(services: Routes, shared: Arc<Shared>) -> Self {
        Self { services: services.prepare(), shared }
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.services, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_open = || self.shared.protocols.iter().any(|protocol| protocol.is_open(request.uri().path()));
        if let Some(refusal) = self.shared.access.may_call(authorization).err().filter(|_| !is_open()) {
            let refused = Status::unauthenticated(refusal.error().message).into_http();
            return Box::pin(std::future::ready(Ok(refused)));
        }
        let request = if request.uri().path().starts_with(STREAMING) {
            let mut stopping = self.shared.stopping.clone();
            let stop = Box::pin(async move {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            });
            request.map(|body| Body::new(UntilStop { body, stop }))
        } else {
            request
        };
        let in_flight = InFlight::enter(Arc::clone(&self.shared));
        let answer = self.services.call(request);
        Box::pin(async move {
            let _in_flight = in_flight;
            answer.await
        })
    }
}

/// Counts a call as long as it lives.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn enter(shared: Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
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
