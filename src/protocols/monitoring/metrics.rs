//! `GET /metrics` gives all metrics for Prometheus, and `GET /stats` gives them for people.

use std::sync::Arc;

use actix_web::http::header::{ContentEncoding, HeaderValue, ACCEPT, CONTENT_TYPE, VARY};
use actix_web::{HttpRequest, HttpResponse};
use tfweb_actors::fetcher::FetcherHandle;
use tfweb_engine::tensorflow;
use tfweb_limits::{Deadline, Stage};

use crate::models::{self, Model};
use crate::observe::metrics::{openmetrics, prometheus, stats as stats_page, ModelState, Scrape, VersionState};
use crate::serving::State;
use crate::transport::elsewhere::elsewhere;
use crate::transport::http::compress;
use crate::transport::http::error::respond;

/// The type in the `Accept` header of a scraper that prefers OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers with all metrics, in the format that the scraper prefers.
pub(super) async fn metrics(state: &State, request: &HttpRequest) -> HttpResponse {
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let open = accepted.contains(OPEN_METRICS);
    let content_type = HeaderValue::from_static(if open { OPEN_METRICS_TYPE } else { TEXT_TYPE });
    let deadline = Deadline::after(state.request_timeout);
    let scrape = scrape(state);
    // The page of many models takes tens of milliseconds. Other requests of this thread need not wait, and a scraper that goes away
    // costs nothing.
    let page = elsewhere(deadline, Stage::WriteAnswer, move || {
        let page = prometheus::write(scrape);
        Ok(if open { page } else { openmetrics::to_prometheus(&page) })
    });
    let page = match page.await {
        Ok(page) => page,
        Err(error) => return respond(&error),
    };
    let (body, is_gzip) = compress(request, &state.ledger, deadline, page.into_bytes().into()).await;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, content_type)).insert_header((VARY, "accept, accept-encoding"));
    if is_gzip {
        response.insert_header(ContentEncoding::Gzip);
    }
    response.body(body)
}

/// Answers with all metrics as JSON.
pub(super) fn stats(state: &State) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(stats_page::write(&scrape(state)))
}

/// Gathers all metrics at this moment.
fn scrape(state: &State) -> Scrape {
    Scrape {
        versions: state.registry.all(),
        requests: Arc::clone(&state.requests),
        ledger: Arc::clone(&state.ledger),
        models: state.catalog.models().iter().map(|model| model_state(model)).collect(),
        states: models::State::NAMES,
        fetches: state.fetcher.as_ref().map(FetcherHandle::observe),
        tensorflow: tensorflow::version(),
    }
}

fn model_state(model: &Model) -> ModelState {
    let version = |version: &models::VersionStatus| VersionState { number: version.number, state: version.state.name() };
    ModelState {
        name: model.name.clone(),
        is_ready: model.served().next().is_some(),
        versions: model.versions.iter().map(version).collect(),
    }
}
