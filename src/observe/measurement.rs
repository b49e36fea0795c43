//! The measurement of one prediction: its signature, the times of its stages, and its result. A protocol begins it, and each step
//! adds what it knows. At its end the prediction is counted once, also if the client went away before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tfweb_actors::TraceLink;
use tfweb_engine::{Code, Error};
use tfweb_limits::Deadline;

use super::labels::ProtocolId;
use super::metrics::{SignatureMeter, SignatureMetrics};
use super::requests::RequestFigures;
use super::stage::{Stage, Timings};
use super::summary::{Summary, SummarySlot};

/// A request that is dropped this shortly before its deadline counts as late. The client's clock started earlier than the
/// server's.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

/// The measurement of one prediction. If it is dropped before [`end`](Self::end), its client has gone away.
pub struct Measurement {
    /// `None` for a part of another prediction, which is counted instead.
    figures: Option<Arc<RequestFigures>>,
    protocol: ProtocolId,
    begun: Instant,
    called: Option<Arc<SignatureMetrics>>,
    /// The time at which the request is dropped because it is late.
    deadline: Option<Deadline>,
    /// How the prediction ended; `None` for a success.
    code: Option<Code>,
    /// The number of rows that the prediction runs.
    pub rows: usize,
    /// The times of the stages.
    pub timings: Timings,
    /// The request's span, if it is traced.
    pub trace: Option<TraceLink>,
    /// The summary and its slot; `None` where neither access log nor traces are on.
    summary: Option<Box<(Summary, Arc<SummarySlot>)>>,
}

impl Measurement {
    /// Begins a measurement. If there is a slot, the end of the measurement puts a summary there.
    #[must_use]
    pub fn begin(figures: &Arc<RequestFigures>, protocol: ProtocolId, slot: Option<Arc<SummarySlot>>) -> Self {
        figures.enter(protocol);
        Self {
            figures: Some(Arc::clone(figures)),
            protocol,
            begun: Instant::now(),
            called: None,
            deadline: None,
            code: Some(Code::Cancelled),
            rows: 0,
            timings: Timings::default(),
            trace: slot.as_ref().and_then(|slot| slot.trace),
            summary: slot.map(|slot| Box::new((Summary::new(protocol), slot))),
        }
    }

    /// Sets the deadline. A request that is dropped then counts as late and not as cancelled.
    #[must_use]
    pub fn until(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Notes a stage that began at `begun` and ends now.
    pub fn took(&mut self, stage: Stage, begun: Instant) {
        self.note(stage, begun, begun.elapsed());
    }

    /// Notes a stage that began at `begun` and took `time`.
    pub fn note(&mut self, stage: Stage, begun: Instant, time: Duration) {
        self.timings.set(stage, time);
        if let Some(summary) = &mut self.summary {
            summary.0.begun[stage as usize] = Some(begun);
        }
    }

    /// Notes the runs that had rows of this prediction.
    pub fn ran(&mut self, runs: Vec<TraceLink>) {
        if let Some(summary) = &mut self.summary {
            summary.0.runs = runs;
        }
    }

    /// Notes the signature that is called.
    pub fn calls(&mut self, meter: &SignatureMeter) {
        if let Some(summary) = &mut self.summary {
            summary.0.signature = Some(Arc::clone(&meter.labels));
        }
        self.called = Some(Arc::clone(&meter.metrics));
    }

    /// Makes a measurement for one of several runs of this request. [`join`](Self::join) takes it back.
    #[must_use]
    pub fn part(&self) -> Self {
        let summary = self.summary.as_ref().map(|summary| Box::new((Summary::new(self.protocol), Arc::clone(&summary.1))));
        Self { figures: None, called: None, timings: Timings::default(), summary, ..*self }
    }

    /// Takes back the measurement of a part. Parts run side by side, so the longest time of each stage counts.
    pub fn join(&mut self, part: &Self) {
        self.called = self.called.take().or_else(|| part.called.clone());
        self.rows = self.rows.max(part.rows);
        self.timings.cover(&part.timings);
        if let (Some(summary), Some(part)) = (&mut self.summary, &part.summary) {
            summary.0.join(&part.0);
        }
    }

    /// Ends the measurement with the request's result, and returns the result.
    ///
    /// # Errors
    /// Those of the result.
    pub fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.code = result.as_ref().err().map(|error| error.code);
        result
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        let Some(figures) = self.figures.take() else {
            return;
        };
        figures.leave(self.protocol);
        if self.code == Some(Code::Cancelled) && self.deadline.is_some_and(|deadline| deadline.left() <= DEADLINE_SLACK) {
            self.code = Some(Code::DeadlineExceeded);
        }
        let metrics = self.called.as_ref().unwrap_or(figures.unknown());
        metrics.count(self.protocol, self.code, self.begun.elapsed(), &self.timings);
        if let Some(summary) = self.summary.take() {
            let (summary, slot) = *summary;
            slot.set(Summary { code: self.code, rows: self.rows, timings: self.timings.clone(), ..summary });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_at_its_deadline_was_late() {
        let figures = Arc::new(RequestFigures::new(&["one", "grpc"]));
        let protocol = ProtocolId { index: 1, name: "grpc" };
        let drop_at = |left: Duration| drop(Measurement::begin(&figures, protocol, None).until(Deadline::after(left)));
        let count = |code: &str| {
            let mut ended = figures.unknown().ended();
            ended.find_map(|(_, known, count)| (known == code).then_some(count)).unwrap_or_default()
        };
        drop_at(Duration::from_secs(60));
        assert_eq!((count("CANCELLED"), count("DEADLINE_EXCEEDED")), (1, 0), "its client has gone away");
        drop_at(DEADLINE_SLACK / 2);
        drop_at(Duration::ZERO);
        assert_eq!((count("CANCELLED"), count("DEADLINE_EXCEEDED")), (1, 2));
        assert_eq!(figures.in_flight(protocol), 0);
    }
}
