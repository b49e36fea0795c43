//! Whether the process lives, and whether it takes requests.

use std::sync::atomic::Ordering;

use actix_web::{web, HttpResponse};
use serde_json::json;

use crate::http::App;
use crate::protocol::native::{get, resource};

/// The health routes.
pub const PATHS: [&str; 2] = ["/livez", "/readyz"];

/// Mounts the health routes.
pub fn mount(config: &mut web::ServiceConfig) {
    let [livez, readyz] = PATHS;
    config.service(resource(livez).route(get().to(live))).service(resource(readyz).route(get().to(ready)));
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

/// 503 while draining, so that a load balancer sends new requests elsewhere; 200 otherwise, for nothing listens before every
/// model is loaded.
async fn ready(app: web::Data<App>) -> HttpResponse {
    let models: Vec<_> = app
        .catalog
        .models()
        .iter()
        .map(|model| json!({"name": model.name, "version": model.version, "state": "AVAILABLE"}))
        .collect();
    if app.draining.load(Ordering::Relaxed) {
        return HttpResponse::ServiceUnavailable().json(json!({"status": "draining", "models": models}));
    }
    HttpResponse::Ok().json(json!({"status": "ready", "models": models}))
}
