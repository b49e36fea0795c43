//! `GET /livez`, also called `/healthz`, says whether the process works. `GET /readyz` says whether it takes requests.

use actix_web::http::StatusCode;
use actix_web::HttpResponse;
use serde_json::{json, Value};

use crate::models::{Model, ModelSummary};
use crate::serving::{Readiness, State};

/// Answers 503 if a thread or a model is stuck, and names it.
pub(super) fn live(state: &State) -> HttpResponse {
    let stuck = state.health.stuck();
    if stuck.is_empty() {
        return answer(StatusCode::OK, &json!({"status": "live"}));
    }
    answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "stuck", "stuck": stuck}))
}

/// Answers 503 unless the server is ready. Lists each model with its state, and says in a few words why one is not served. Anybody
/// may ask, so the paths and buckets of models are not in it.
pub(super) fn ready(state: &State) -> HttpResponse {
    answer_ready(state, |model| ModelSummary { error: model.reason(), ..model.summary() })
}

/// The same for operators: with the whole errors.
pub(super) fn ready_in_full(state: &State) -> HttpResponse {
    answer_ready(state, Model::summary)
}

fn answer_ready(state: &State, summary: fn(&Model) -> ModelSummary<'_>) -> HttpResponse {
    let models = state.catalog.models();
    let (status, word) = match state.health.readiness() {
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Readiness::Stuck => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
        Readiness::Loading => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        Readiness::Ready => (StatusCode::OK, "ready"),
    };
    let summaries: Vec<_> = models.iter().map(|model| summary(model)).collect();
    answer(status, &json!({"status": word, "models": summaries}))
}

fn answer(status: StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(status).json(body)
}
