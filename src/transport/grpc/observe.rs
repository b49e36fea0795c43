//! Observes the calls of the gRPC door, and gives each its id.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::transport::server::TcpConnectInfo;
use tower_layer::Layer;
use tower_service::Service;

use super::log;
use super::visit::{Door, Head, Status, Visit};
use crate::http::{App, REQUEST_ID_BYTES_MAX};

/// A call's id, in its metadata and in its answer's.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The layer around all services.
#[derive(Clone)]
pub struct Observe(pub Arc<App>);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { app: Arc::clone(&self.0), inner }
    }
}

/// The services within the layer.
#[derive(Clone)]
pub struct Observed<S> {
    app: Arc<App>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = request_id(&self.app, request.headers());
        let visit = self.app.telemetry.observes().then(|| self.app.telemetry.visit(head(&id, &request)));
        if let Some(visit) = &visit {
            request.extensions_mut().insert(Arc::clone(visit.handover()));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            finish(visit, id, &mut response);
            Ok(response)
        })
    }
}

fn request_id(app: &App, headers: &HeaderMap) -> HeaderValue {
    let brought = headers.get(REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).cloned();
    brought.unwrap_or_else(|| {
        HeaderValue::try_from(app.request_ids.make()).expect("letters and digits are a header value; this is a bug")
    })
}

fn head<B>(id: &HeaderValue, request: &Request<B>) -> Head {
    let client = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    let route = (request.method().as_str(), request.uri().path());
    Head::new(Door::Grpc, id.as_bytes(), route, client.map(|address| address.ip()), header)
}

fn finish<R>(visit: Option<Visit>, id: HeaderValue, response: &mut Response<R>) {
    // What has failed before it said anything has its status here; what has not is well as far as can be told.
    let failed = response.extensions().get::<tonic::Status>();
    if let Some(status) = failed.filter(|status| status.code() == tonic::Code::Internal) {
        log::failure(id.as_bytes(), status.message());
    }
    if let Some(visit) = visit {
        visit.answered(Status::Grpc(failed.map_or(tonic::Code::Ok, tonic::Status::code)), None);
    }
    response.headers_mut().insert(REQUEST_ID, id);
}
