//! Observes the requests of the HTTP door.

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{web, HttpMessage};

use super::visit::{Door, Head, Status};
use crate::http::{App, REQUEST_ID};

/// The layer around all routes, where anybody wants to know of each request.
///
/// # Errors
/// Those of the routes.
pub async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else {
        return next.call(request).await;
    };
    // Settled now, so that the answer has the one that the log has, and a request that ends without an answer has one too.
    let id = app.request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let headers = request.headers();
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let client = request.peer_addr().map(|address| address.ip());
    let head = Head::new(Door::Http, id.as_bytes(), (request.method().as_str(), request.path()), client, header);
    let visit = app.telemetry.visit(head);
    request.extensions_mut().insert(visit.handover().clone());

    let result = next.call(request).await;
    let (status, size) = match &result {
        Ok(response) => (response.status(), response.response().body().size()),
        Err(error) => (error.as_response_error().status_code(), BodySize::None),
    };
    let bytes_out = if let BodySize::Sized(bytes) = size { Some(bytes) } else { None };
    visit.answered(Status::Http(status.as_u16()), bytes_out);
    result
}
