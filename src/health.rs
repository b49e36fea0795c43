//! Whether the process lives, and whether it takes requests.

use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::{web, HttpRequest, HttpResponse};
use serde_json::{json, Value};

use crate::http::{is_get, App, Methods};
use crate::protocol::native::{self, finish, other_method};

/// Mounts the health routes.
pub fn mount(config: &mut web::ServiceConfig) {
    config.route("/livez", web::to(live)).route("/readyz", web::to(ready));
}

async fn live(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    answer(&request, &app, StatusCode::OK, &json!({"status": "live"}))
}

/// 503 while draining, so that a load balancer sends new requests elsewhere, and while models are missing: all of them, or with
/// `--strict_readiness` any. Names each with its state.
async fn ready(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let models = app.catalog.models();
    let served = models.iter().filter(|model| model.served().next().is_some()).count();
    let is_enough = if app.strict_readiness { served == models.len() } else { served > 0 || models.is_empty() };
    let (status, word) = match (app.draining.load(Ordering::Relaxed), is_enough) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    let states: Vec<_> = models.iter().map(|model| native::model_state(model)).collect();
    answer(&request, &app, status, &json!({"status": word, "models": states}))
}

fn answer(request: &HttpRequest, app: &App, status: StatusCode, body: &Value) -> HttpResponse {
    if is_get(request.method()) {
        finish(request, app, Ok(HttpResponse::build(status).json(body)))
    } else {
        other_method(request, app, Methods::Read)
    }
}
