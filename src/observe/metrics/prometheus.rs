//! The metrics page for scrapers, as OpenMetrics text.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{text, DescriptorEncoder};
use prometheus_client::registry::{Registry, Unit};
use tfweb_actors::fetcher::Outcome;
use tfweb_limits::{Holding, Ledger};

use super::histogram::Histogram;
use super::openmetrics::{Labels, Page};
use super::process::ProcessFigures;
use super::registry::SignatureMeter;
use super::scrape::Scrape;
use super::signature::{Reason, SignatureMetrics};
use crate::observe::labels::ProtocolId;
use crate::observe::stage::Stage;

const NANOS: f64 = 1e9;
/// The lowest and the highest bound in the histograms of times for scrapers: 500 µs and 10 s.
const TIMES_SHOWN_NANOS: std::ops::RangeInclusive<u64> = 500_000..=10_000_000_000;

/// Writes all metrics.
#[must_use]
pub fn write(scrape: Scrape) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(scrape)));
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("a string takes text; this is a bug");
    page
}

struct Collected(Scrape);

impl fmt::Debug for Collected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Scrape")
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(&mut encoder);
        let scrape = &self.0;
        let series = series(scrape);
        requests(&mut page, scrape, &series)?;
        times(&mut page, &series)?;
        rows(&mut page, &series)?;
        models(&mut page, scrape)?;
        fetches(&mut page, scrape)?;
        memory(&mut page, &scrape.ledger)?;
        process(&mut page, &scrape.tensorflow)
    }
}

/// The metrics of a signature with the values of their labels.
struct Series {
    model: String,
    version: String,
    signature: String,
    metrics: Arc<SignatureMetrics>,
}

impl Series {
    fn labels(&self) -> [(&str, &str); 3] {
        [("model", &self.model), ("version", &self.version), ("signature", &self.signature)]
    }

    fn with<'a>(&'a self, more: Labels<'a>) -> Vec<(&'a str, &'a str)> {
        [&self.labels(), more].concat()
    }
}

fn series(scrape: &Scrape) -> Vec<Series> {
    let mut all = Vec::new();
    for version in &scrape.versions {
        for (signature, SignatureMeter { metrics, .. }) in version.signatures() {
            all.push(Series { model: version.model.clone(), version: version.number.to_string(), signature, metrics });
        }
    }
    all
}

fn requests(page: &mut Page<'_, '_>, scrape: &Scrape, series: &[Series]) -> fmt::Result {
    let [model, version, signature] = [const { String::new() }; 3];
    let unknown = Series { model, version, signature, metrics: Arc::clone(scrape.requests.unknown()) };
    let all = || series.iter().chain([&unknown]);
    let mut family = page.counter("tfweb_requests", "Requests that have ended, by code", None)?;
    for one in all().filter(|one| one.metrics.has_begun()) {
        for (protocol, code, count) in one.metrics.ended() {
            family.count(&one.with(&[("protocol", protocol.name), ("code", code)]), count as f64)?;
        }
    }
    let mut family = page.counter("tfweb_request_failures", "Requests that have failed, by reason", None)?;
    for one in all().filter(|one| one.metrics.has_begun()) {
        for reason in Reason::ALL {
            family.count(&one.with(&[("reason", reason.name())]), one.metrics.failures(reason) as f64)?;
        }
    }
    let mut family = page.gauge("tfweb_in_flight_requests", "Requests that have come and not ended", None)?;
    for protocol in ProtocolId::all(scrape.requests.names()) {
        family.set(&[("protocol", protocol.name)], scrape.requests.in_flight(protocol) as f64)?;
    }
    Ok(())
}

fn times(page: &mut Page<'_, '_>, series: &[Series]) -> fmt::Result {
    for stage in Stage::ALL {
        let name = format!("tfweb_{}_duration", stage.name());
        let mut family = page.histogram(&name, stage.help(), Some(&Unit::Seconds))?;
        for one in series {
            family.distribution(&one.labels(), &one.metrics.times(stage).read(), NANOS, is_round)?;
        }
    }
    Ok(())
}

/// Whether a time is 1, 2.5 or 5 times a power of ten. The histograms have more bounds; scrapers get only these, to keep the page
/// short.
fn is_round(nanos: u64) -> bool {
    let decade = 10_u64.pow(nanos.ilog10());
    TIMES_SHOWN_NANOS.contains(&nanos) && [10, 25, 50].contains(&(nanos * 10 / decade))
}

fn rows(page: &mut Page<'_, '_>, series: &[Series]) -> fmt::Result {
    type Gauge = fn(&SignatureMetrics) -> usize;
    for (name, help, gauge) in [
        ("tfweb_queued_rows", "Rows that wait for a run", (|one| one.gauges.queued_rows()) as Gauge),
        ("tfweb_running_rows", "Rows in a run", |one| one.gauges.running_rows()),
    ] {
        let mut family = page.gauge(name, help, None)?;
        for one in series {
            family.set(&one.labels(), gauge(&one.metrics) as f64)?;
        }
    }
    type Spread = fn(&SignatureMetrics) -> &Histogram;
    for (name, help, spread) in [
        ("tfweb_batch_rows", "Rows of session runs", (|one| &one.runs.rows) as Spread),
        ("tfweb_batch_requests", "Requests, or parts of large ones, of session runs", |one| &one.runs.requests),
    ] {
        let mut family = page.histogram(name, help, None)?;
        for one in series {
            family.distribution(&one.labels(), &spread(&one.metrics).read(), 1.0, u64::is_power_of_two)?;
        }
    }
    Ok(())
}

fn models(page: &mut Page<'_, '_>, scrape: &Scrape) -> fmt::Result {
    let is = |yes: bool| f64::from(u8::from(yes));
    let mut family = page.gauge("tfweb_model_ready", "Whether the model can be called", None)?;
    for model in &scrape.models {
        family.set(&[("model", &model.name)], is(model.is_ready))?;
    }
    let mut family = page.gauge("tfweb_model_state", "1 for the state that a version is in", None)?;
    for model in &scrape.models {
        for version in &model.versions {
            let number = version.number.to_string();
            for &state in scrape.states {
                let labels = [("model", model.name.as_str()), ("version", &number), ("state", state)];
                family.set(&labels, is(version.state == state))?;
            }
        }
    }
    let help = "Time that a version took to load, the trial of its signatures included";
    let mut family = page.gauge("tfweb_model_load", help, Some(&Unit::Seconds))?;
    for version in &scrape.versions {
        let labels = [("model", version.model.as_str()), ("version", &version.number.to_string())];
        family.set(&labels, version.load_time().as_secs_f64())?;
    }
    Ok(())
}

fn fetches(page: &mut Page<'_, '_>, scrape: &Scrape) -> fmt::Result {
    let Some(fetches) = &scrape.fetches else {
        return Ok(());
    };
    let mut family = page.counter("tfweb_url_fetch", "Fetches of URLs that have ended, by result", None)?;
    for outcome in Outcome::ALL {
        family.count(&[("result", outcome.name())], fetches.count(outcome) as f64)?;
    }
    let help = "Bytes of bodies fetched, inflated";
    page.counter("tfweb_url_fetch", help, Some(&Unit::Bytes))?.count(&[], fetches.bytes as f64)?;
    page.gauge("tfweb_url_fetches_in_flight", "Fetches under way", None)?.set(&[], fetches.in_flight as f64)?;
    page.gauge("tfweb_url_fetches_waiting", "Fetches that wait for their turn", None)?.set(&[], fetches.waiting as f64)
}

fn memory(page: &mut Page<'_, '_>, ledger: &Ledger) -> fmt::Result {
    let mut family = page.gauge("tfweb_request_memory", "Memory that all requests hold, by what it holds", Some(&Unit::Bytes))?;
    for holding in Holding::ALL {
        family.set(&[("holding", holding.name())], ledger.bytes(holding) as f64)?;
    }
    let help = "The most memory that all requests may hold";
    page.gauge("tfweb_request_memory_max", help, Some(&Unit::Bytes))?.set(&[], ledger.bytes_max() as f64)
}

fn process(page: &mut Page<'_, '_>, tensorflow: &str) -> fmt::Result {
    let versions = [("version", env!("CARGO_PKG_VERSION")), ("tensorflow", tensorflow)];
    page.gauge("tfweb_build_info", "Versions of what runs; always 1", None)?.set(&versions, 1.0)?;
    // Some systems do not give these. The page then leaves them out.
    let Some(figures) = ProcessFigures::read() else {
        return Ok(());
    };
    let help = "User and system CPU time spent";
    page.counter("process_cpu", help, Some(&Unit::Seconds))?.count(&[], figures.cpu_seconds)?;
    for (name, help, unit, value) in [
        ("process_open_fds", "Open file descriptors", None, figures.open_fds),
        ("process_max_fds", "The most file descriptors that may be open", None, figures.max_fds),
        ("process_threads", "Threads", None, figures.threads),
        ("process_resident_memory", "Memory that is resident", Some(&Unit::Bytes), figures.resident_bytes),
        ("process_virtual_memory", "Memory that is mapped", Some(&Unit::Bytes), figures.virtual_bytes),
        ("process_start_time", "Start of the process since 1970", Some(&Unit::Seconds), figures.start_seconds),
    ] {
        page.gauge(name, help, unit)?.set(&[], value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_round_bounds() {
        let metrics = SignatureMetrics::new(&[]);
        let bounds = metrics.times(Stage::Run).read().bounds;
        let shown: Vec<u64> = bounds.iter().copied().filter(|&bound| is_round(bound)).map(|nanos| nanos / 1000).collect();
        let expect = [500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000];
        assert_eq!((&shown[..13], &shown[13..]), (&expect[..], &[10_000_000][..]));
    }
}
