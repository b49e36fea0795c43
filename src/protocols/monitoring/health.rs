//! Whether the process lives, and whether it takes requests.

use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::{web, HttpRequest, HttpResponse};
use serde_json::{json, Value};
use tfweb_engine::{quoted, Code, Error};

use crate::http::{is_get, App, Methods};
use crate::protocol::native::{self, finish, other_method};

/// Mounts the health routes.
pub fn mount(config: &mut web::ServiceConfig) {
    config.route("/livez", web::to(live)).route("/readyz", web::to(ready));
}

/// Answers what a port that has only health and the like does not have.
pub async fn not_found(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let text = format!("no route {} on the port for operation; models are served on the other", quoted(request.path()));
    finish(&request, &app, Err(Error::new(Code::NotFound, text)))
}

/// 503 where something does not move. Names it.
async fn live(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let stuck = app.liveness.stuck(&app.catalog);
    if stuck.is_empty() {
        return answer(&request, &app, StatusCode::OK, &json!({"status": "live"}));
    }
    answer(&request, &app, StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "stuck", "stuck": stuck}))
}

/// Whether the server takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is about to stop: a load balancer should send new requests elsewhere.
    Draining,
    /// Something does not move, as `/livez` says in full.
    Stuck,
    /// Models are missing: all of them, or with `--strict_readiness` any.
    Loading,
    /// It does.
    Ready,
}

impl Readiness {
    /// How the server is now.
    #[must_use]
    pub fn of(app: &App) -> Self {
        let models = app.catalog.models();
        let served = models.iter().filter(|model| model.served().next().is_some()).count();
        let is_enough = if app.strict_readiness { served == models.len() } else { served > 0 || models.is_empty() };
        match (app.draining.load(Ordering::Relaxed), is_enough) {
            (true, _) => Self::Draining,
            (false, _) if !app.liveness.stuck(&app.catalog).is_empty() => Self::Stuck,
            (false, false) => Self::Loading,
            (false, true) => Self::Ready,
        }
    }
}

/// 503 unless ready. Names each model with its state.
async fn ready(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let models = app.catalog.models();
    let (status, word) = match Readiness::of(&app) {
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Readiness::Stuck => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
        Readiness::Loading => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        Readiness::Ready => (StatusCode::OK, "ready"),
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
