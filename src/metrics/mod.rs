//! Figures of what was served, for Prometheus (`GET /metrics`) and for people (`GET /stats`).
//!
//! They are kept where they arise: requests and times in the [`SignatureMetrics`] that a request's record finds without a look-up,
//! rows in what actors observe, fetches in the fetcher. Only a scrape brings them together.

mod exposition;
mod histogram;
mod process;
mod registry;
mod runs;
mod signature;
mod stats;
mod text;

use actix_web::http::header::{ContentEncoding, HeaderValue, ACCEPT, CONTENT_TYPE, VARY};
use actix_web::{web, HttpRequest, HttpResponse};

use crate::http::{is_get, App, Methods};
use crate::protocol::native::{finish, other_method};

pub use registry::{Registry, VersionMetrics};
pub use runs::RunCounter;
pub use signature::{Reason, SignatureMetrics, Stage};

/// What a scraper says that would rather have OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Mounts the routes.
pub fn mount(config: &mut web::ServiceConfig) {
    config.route("/metrics", web::to(metrics)).route("/stats", web::to(stats));
}

async fn metrics(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    if !is_get(request.method()) {
        return other_method(&request, &app, Methods::Read);
    }
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let open = accepted.contains(OPEN_METRICS);
    let page = exposition::write(app.clone().into_inner());
    let page = if open { page } else { text::to_prometheus(&page) };
    let content_type = HeaderValue::from_static(if open { OPEN_METRICS_TYPE } else { TEXT_TYPE });
    let (body, is_gzip) = crate::http::compress(&request, page.into_bytes()).await;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, content_type)).insert_header((VARY, "accept, accept-encoding"));
    if is_gzip {
        response.insert_header(ContentEncoding::Gzip);
    }
    finish(&request, &app, Ok(response.body(body)))
}

async fn stats(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    if !is_get(request.method()) {
        return other_method(&request, &app, Methods::Read);
    }
    let body = stats::write(&app);
    finish(&request, &app, Ok(HttpResponse::Ok().content_type("application/json").body(body)))
}
