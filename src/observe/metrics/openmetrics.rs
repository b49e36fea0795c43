//! Writes metric families as text: OpenMetrics, or Prometheus' older text format.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::histogram::Distribution;

/// The names and values of labels.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

struct LabelSet<'a>(Labels<'a>);

impl EncodeLabelSet for LabelSet<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

/// A page to which families are added one after another.
pub(super) struct Page<'p, 'w>(pub(super) &'p mut DescriptorEncoder<'w>);

impl Page<'_, '_> {
    /// Describes a counter. The encoder appends `_total` to its name.
    pub(super) fn counter<'s>(&'s mut self, name: &'s str, help: &str, unit: Option<&'s Unit>) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, MetricType::Counter).map(Family)
    }

    /// Describes a gauge.
    pub(super) fn gauge<'s>(&'s mut self, name: &'s str, help: &str, unit: Option<&'s Unit>) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge).map(Family)
    }

    /// Describes a histogram.
    pub(super) fn histogram<'s>(&'s mut self, name: &'s str, help: &str, unit: Option<&'s Unit>) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, MetricType::Histogram).map(Family)
    }
}

/// A metric family whose description is written. Its samples follow.
pub(super) struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    /// Writes a sample of a counter.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: f64) -> fmt::Result {
        self.sample(labels, |encoder| ConstCounter::new(value).encode(encoder))
    }

    /// Writes a sample of a gauge.
    pub(super) fn set(&mut self, labels: Labels<'_>, value: f64) -> fmt::Result {
        self.sample(labels, |mut encoder| encoder.encode_gauge(&value))
    }

    /// Writes a sample of a histogram, with those of its bounds that are `shown`; nothing for a histogram without values.
    /// `per_unit` is how many of the recorded values make one unit of the metric.
    #[allow(clippy::cast_precision_loss, reason = "counts and bounds are far below 2^53")]
    pub(super) fn distribution(
        &mut self,
        labels: Labels<'_>,
        values: &Distribution,
        per_unit: f64,
        shown: fn(u64) -> bool,
    ) -> fmt::Result {
        let count = values.count();
        if count == 0 {
            return Ok(());
        }
        let bounds = values.bounds.iter().map(|&bound| (bound as f64 / per_unit, shown(bound))).chain([(f64::INFINITY, true)]);
        let (mut buckets, mut gathered) = (Vec::new(), 0);
        for ((bound, shown), count) in bounds.zip(&values.counts) {
            gathered += count;
            if shown {
                buckets.push((bound, std::mem::take(&mut gathered)));
            }
        }
        let sum = values.sum as f64 / per_unit;
        self.sample(labels, |mut encoder| encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None))
    }

    fn sample(&mut self, labels: Labels<'_>, write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result) -> fmt::Result {
        write(self.0.encode_family(&LabelSet(labels))?)
    }
}

/// Converts OpenMetrics text into Prometheus' text format 0.0.4. There the description of a counter has its full name, and
/// neither units nor an end mark exist.
#[must_use]
pub fn to_prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut described = "";
    for line in open.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            described = help;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = described.strip_prefix(name).unwrap_or_default();
            text += &format!("# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
    use super::*;
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    #[derive(Debug)]
    struct Sample;

    impl Collector for Sample {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut page = Page(&mut encoder);
            page.counter("calls", "Calls", None)?.count(&[("name", "a \"b\"\\\n")], 3.0)?;
            page.gauge("rows", "Rows", None)?.set(&[], 2.0)?;
            let times = Histogram::new(&[1000, 1500, 2000]);
            [1, 1200, 1300, 5000].into_iter().for_each(|value| times.observe(value));
            let mut family = page.histogram("run", "Run", Some(&Unit::Seconds))?;
            family.distribution(&[("name", "c")], &times.read(), 1000.0, |bound| bound % 1000 == 0)
        }
    }

    fn open() -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Sample));
        let mut open = String::new();
        text::encode(&mut open, &registry).unwrap();
        open
    }

    #[test]
    fn both_formats_say_the_same() {
        let samples = r#"calls_total{name="a \"b\"\\\n"} 3.0
rows{} 2.0
run_seconds_sum{name="c"} 7.501
run_seconds_count{name="c"} 4
run_seconds_bucket{le="1.0",name="c"} 1
run_seconds_bucket{le="2.0",name="c"} 3
run_seconds_bucket{le="+Inf",name="c"} 4"#;
        let of = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let (open, plain) = (open(), to_prometheus(&open()));
        assert_eq!(of(&open), samples);
        assert_eq!(of(&plain), samples);
        assert!(open.contains("# TYPE calls counter\n") && open.ends_with("# EOF\n"), "{open}");
        let head = "# HELP calls_total Calls\n# TYPE calls_total counter\n";
        assert!(plain.starts_with(head) && !plain.contains("UNIT") && !plain.contains("EOF"), "{plain}");
    }
}
