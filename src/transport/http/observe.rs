//! Observes every request of a listener, if the access log or traces are on.

use std::sync::Arc;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{web, HttpMessage};

use super::answers::{Answers, REQUEST_ID_HEADER};
use super::protocol::HttpProtocol;
use crate::observe::{Arrival, Exchange, Head, Status, Telemetry, Transport};

/// The parts that the middleware needs.
pub(super) struct Observed {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) answers: Arc<Answers>,
    pub(super) protocols: Arc<[Arc<dyn HttpProtocol>]>,
}

/// The middleware around all routes.
///
/// # Errors
/// Those of the routes.
pub(super) async fn observe(
    observed: web::Data<Observed>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    // Chosen here, so that the log and the answer have the same id, and a request without an answer has one too.
    let id = observed.answers.request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID_HEADER, id.clone());
    let exchange = Exchange::begin(&observed.telemetry, head(&observed, id.as_bytes(), &request));
    request.extensions_mut().insert(exchange.slot().clone());

    let result = next.call(request).await;
    let (status, size) = match &result {
        Ok(response) => (response.status(), response.response().body().size()),
        Err(error) => (error.as_response_error().status_code(), BodySize::None),
    };
    let bytes_out = if let BodySize::Sized(bytes) = size { Some(bytes) } else { None };
    exchange.answered(Status::Http(status.as_u16()), bytes_out);
    result
}

fn head(observed: &Observed, id: &[u8], request: &ServiceRequest) -> Head {
    let path = request.path();
    let arrival = Arrival {
        transport: Transport::Http,
        is_probe: observed.protocols.iter().any(|protocol| protocol.is_probe(path)),
        id,
        method: request.method().as_str(),
        path,
        client: request.peer_addr().map(|address| address.ip()),
    };
    Head::new(&arrival, |name| request.headers().get(name).map(|value| value.as_bytes()))
}
