//! Whether the process lives, and whether it takes requests.

use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::{web, HttpRequest, HttpResponse};
use serde_json::{json, Value};

use crate::catalog::Model;
use crate::http::{is_get, App};
use crate::protocol::native::{finish, other_method};

/// Mounts the health routes.
pub fn mount(config: &mut web::ServiceConfig) {
    config.route("/livez", web::to(live)).route("/readyz", web::to(ready));
}

async fn live(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    answer(&request, &app, StatusCode::OK, &json!({"status": "live"}))
}

/// 503 while draining, so that a load balancer sends new requests elsewhere; 200 otherwise, for nothing listens before every
/// model is loaded.
async fn ready(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let state = |model: &Model| json!({"name": model.name, "version": model.version, "state": "AVAILABLE"});
    let models: Vec<_> = app.catalog.models().iter().map(state).collect();
    let (status, word) = match app.draining.load(Ordering::Relaxed) {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::OK, "ready"),
    };
    answer(&request, &app, status, &json!({"status": word, "models": models}))
}

fn answer(request: &HttpRequest, app: &App, status: StatusCode, body: &Value) -> HttpResponse {
    if is_get(request.method()) {
        finish(request, app, Ok(HttpResponse::build(status).json(body)))
    } else {
        other_method(request, app, false)
    }
}
