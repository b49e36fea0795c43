//! Whether the process lives, and whether it takes requests.

use std::sync::atomic::Ordering;

use actix_web::{web, HttpRequest, HttpResponse};
use serde_json::json;

use crate::catalog::Model;
use crate::http::App;
use crate::protocol::native::{finish, get, resource};

/// Mounts the health routes.
pub fn mount(config: &mut web::ServiceConfig) {
    config.service(resource("/livez", false).route(get().to(live))).service(resource("/readyz", false).route(get().to(ready)));
}

async fn live(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    finish(&request, &app, Ok(HttpResponse::Ok().json(json!({"status": "live"}))))
}

/// 503 while draining, so that a load balancer sends new requests elsewhere; 200 otherwise, for nothing listens before every
/// model is loaded.
async fn ready(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let state = |model: &Model| json!({"name": model.name, "version": model.version, "state": "AVAILABLE"});
    let models: Vec<_> = app.catalog.models().iter().map(state).collect();
    let response = if app.draining.load(Ordering::Relaxed) {
        HttpResponse::ServiceUnavailable().json(json!({"status": "draining", "models": models}))
    } else {
        HttpResponse::Ok().json(json!({"status": "ready", "models": models}))
    };
    finish(&request, &app, Ok(response))
}
