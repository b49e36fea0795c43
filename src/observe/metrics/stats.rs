//! The metrics page for people: JSON with one object for each signature, and times in milliseconds.

use std::collections::BTreeMap;

use serde::Serialize;
use tfweb_actors::fetcher::Outcome;

use super::histogram::Distribution;
use super::process::ProcessFigures;
use super::scrape::Scrape;
use super::signature::{Reason, SignatureMetrics};
use crate::observe::labels::ProtocolId;
use crate::observe::stage::Stage;

const NANOS_PER_MS: f64 = 1e6;

#[derive(Serialize)]
struct Stats {
    in_flight: BTreeMap<&'static str, usize>,
    signatures: Vec<Signature>,
    /// Requests for models, versions or signatures that are not served.
    unknown: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_fetches: Option<BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

#[derive(Serialize)]
struct Signature {
    model: String,
    version: u64,
    signature: String,
    load_ms: f64,
    queued_rows: usize,
    running_rows: usize,
    requests: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    failures: BTreeMap<&'static str, u64>,
    ms: BTreeMap<&'static str, Spread>,
    batch_rows: Counts,
    batch_requests: Counts,
}

#[derive(Serialize)]
struct Spread {
    count: u64,
    mean: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

/// A spread of whole numbers. For `p50`, half of the runs have at most this number.
#[derive(Serialize)]
struct Counts {
    count: u64,
    mean: Option<f64>,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
}

#[derive(Serialize)]
struct Process {
    cpu_seconds: f64,
    resident_bytes: f64,
    open_fds: f64,
    threads: f64,
    start_seconds: f64,
}

/// Writes all metrics as JSON.
#[must_use]
pub fn write(scrape: &Scrape) -> Vec<u8> {
    let mut signatures = Vec::new();
    for version in &scrape.versions {
        for (name, meter) in version.signatures() {
            let load_ms = round(version.load_time().as_secs_f64() * 1e3);
            signatures.push(signature(&version.model, version.number, name, load_ms, &meter.metrics));
        }
    }
    let fetches = scrape.fetches.as_ref().map(|fetches| {
        let ended = Outcome::ALL.into_iter().map(|outcome| (outcome.name(), fetches.count(outcome)));
        let now = [("bytes", fetches.bytes), ("in_flight", fetches.in_flight as u64), ("waiting", fetches.waiting as u64)];
        ended.chain(now).collect()
    });
    let stats = Stats {
        in_flight: ProtocolId::all(scrape.requests.names())
            .map(|protocol| (protocol.name, scrape.requests.in_flight(protocol)))
            .collect(),
        signatures,
        unknown: requests(scrape.requests.unknown()),
        url_fetches: fetches,
        process: ProcessFigures::read().map(|figures| Process {
            cpu_seconds: figures.cpu_seconds,
            resident_bytes: figures.resident_bytes,
            open_fds: figures.open_fds,
            threads: figures.threads,
            start_seconds: figures.start_seconds,
        }),
    };
    serde_json::to_vec(&stats).expect("names and numbers serialize; this is a bug")
}

fn signature(model: &str, version: u64, signature: String, load_ms: f64, metrics: &SignatureMetrics) -> Signature {
    let ms = |stage: Stage| (stage.name(), spread(&metrics.times(stage).read(), NANOS_PER_MS));
    Signature {
        model: model.to_owned(),
        version,
        signature,
        load_ms,
        queued_rows: metrics.gauges.queued_rows(),
        running_rows: metrics.gauges.running_rows(),
        requests: requests(metrics),
        failures: Reason::ALL.into_iter().map(|reason| (reason.name(), metrics.failures(reason))).collect(),
        // Stages that no request has had are left out.
        ms: Stage::ALL.into_iter().map(ms).filter(|(_, times)| times.count > 0).collect(),
        batch_rows: counts(&metrics.runs.rows.read()),
        batch_requests: counts(&metrics.runs.requests.read()),
    }
}

fn requests(metrics: &SignatureMetrics) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let mut requests: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (protocol, code, count) in metrics.ended() {
        requests.entry(protocol.name).or_default().insert(code, count);
    }
    requests
}

fn spread(values: &Distribution, per_unit: f64) -> Spread {
    let quantile = |q| values.quantile(q).map(|value| round(value / per_unit));
    Spread { count: values.count(), mean: mean(values, per_unit), p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) }
}

fn counts(values: &Distribution) -> Counts {
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| values.bound(q));
    Counts { count: values.count(), mean: mean(values, 1.0), p50, p90, p99 }
}

#[allow(clippy::cast_precision_loss, reason = "they are far below 2^53")]
fn mean(values: &Distribution, per_unit: f64) -> Option<f64> {
    let count = values.count();
    (count > 0).then(|| round(values.sum as f64 / per_unit / count as f64))
}

/// Rounds to thousandths.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
