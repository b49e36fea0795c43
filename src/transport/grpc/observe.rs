//! Observes the calls of the gRPC listener, and gives each call its id.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::protocol::GrpcProtocol;
use crate::observe::{log, Arrival, Exchange, Head, Status, Telemetry, Transport};
use crate::transport::request_id::{is_taken, RequestIds, REQUEST_ID};

/// The metadata key of a call's id, for the call and its answer.
const REQUEST_ID_KEY: HeaderName = HeaderName::from_static(REQUEST_ID);

/// The address of a call's client, where it has one.
#[derive(Clone, Copy)]
pub(super) struct Client(pub(super) Option<IpAddr>);

/// The middleware around all services.
#[derive(Clone)]
pub(super) struct Observe(Arc<Observer>);

struct Observer {
    telemetry: Arc<Telemetry>,
    request_ids: Arc<RequestIds>,
    protocols: Arc<[Arc<dyn GrpcProtocol>]>,
}

impl Observe {
    pub(super) fn new(telemetry: &Arc<Telemetry>, request_ids: &Arc<RequestIds>, protocols: &Arc<[Arc<dyn GrpcProtocol>]>) -> Self {
        let (telemetry, request_ids, protocols) = (Arc::clone(telemetry), Arc::clone(request_ids), Arc::clone(protocols));
        Self(Arc::new(Observer { telemetry, request_ids, protocols }))
    }
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { observer: Arc::clone(&self.0), inner }
    }
}

/// The services inside the middleware.
#[derive(Clone)]
pub(super) struct Observed<S> {
    observer: Arc<Observer>,
    inner: S,
}

impl<S> Observed<S> {
    pub(super) fn inner(&self) -> &S {
        &self.inner
    }
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
        let observer = &self.observer;
        let id = observer.request_id(request.headers());
        let telemetry = Some(&observer.telemetry).filter(|telemetry| telemetry.observes());
        let exchange = telemetry.map(|telemetry| Exchange::begin(telemetry, observer.head(&id, &request)));
        if let Some(exchange) = &exchange {
            request.extensions_mut().insert(Arc::clone(exchange.slot()));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            finish(exchange, id, &mut response);
            Ok(response)
        })
    }
}

impl Observer {
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let brought = headers.get(REQUEST_ID_KEY).filter(|id| is_taken(id.as_bytes())).cloned();
        brought.unwrap_or_else(|| {
            HeaderValue::try_from(self.request_ids.make()).expect("letters and digits are a header value; this is a bug")
        })
    }

    fn head<B>(&self, id: &HeaderValue, request: &Request<B>) -> Head {
        let client = request.extensions().get().and_then(|Client(address)| *address);
        let path = request.uri().path();
        let arrival = Arrival {
            transport: Transport::Grpc,
            is_probe: self.protocols.iter().any(|protocol| protocol.is_probe(path)),
            id: id.as_bytes(),
            method: request.method().as_str(),
            path,
            client,
        };
        Head::new(&arrival, |name| request.headers().get(name).map(HeaderValue::as_bytes))
    }
}

fn finish<R>(exchange: Option<Exchange>, id: HeaderValue, response: &mut Response<R>) {
    // A call that failed before its first message has its status here. Other failures come in trailers, which are not known yet,
    // so those calls count as OK.
    let failed = response.extensions().get::<tonic::Status>();
    if let Some(status) = failed.filter(|status| status.code() == tonic::Code::Internal) {
        log::failure(id.as_bytes(), status.message());
    }
    if let Some(exchange) = exchange {
        exchange.answered(Status::Grpc(failed.map_or(tonic::Code::Ok, tonic::Status::code)), None);
    }
    response.headers_mut().insert(REQUEST_ID_KEY, id);
}
