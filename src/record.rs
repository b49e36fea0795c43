//! One request as it is measured: which signature it called, how long each stage took, how it ended. A door begins a record, the
//! handlers add what they know, and with its end it is counted: once, also where the caller went away before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tfweb_actors::TraceLink;
use tfweb_engine::{Code, Error};
use tfweb_limits::Deadline;

use crate::catalog::Servable;
use crate::metrics::{SignatureMetrics, Stage};
use crate::predict::Timings;
use crate::telemetry::{Facts, Handover};

/// A request that is dropped so shortly before its deadline was dropped for that: the caller's clock began before ours.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

/// The API by which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Our own, over HTTP.
    Native,
    /// TensorFlow Serving's, over HTTP.
    TfServingRest,
    /// TensorFlow Serving's, over gRPC.
    TfServingGrpc,
}

impl Protocol {
    /// Every protocol, for tables.
    pub const ALL: [Self; 3] = [Self::Native, Self::TfServingRest, Self::TfServingGrpc];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::TfServingRest => "tf_serving_rest",
            Self::TfServingGrpc => "tf_serving_grpc",
        }
    }
}

/// Where requests are recorded.
#[derive(Default)]
pub struct Recorder {
    in_flight: [AtomicUsize; Protocol::ALL.len()],
    /// Of requests that named nothing that is served: what they named becomes no label.
    unknown: Arc<SignatureMetrics>,
}

impl Recorder {
    /// Begins the record of a request.
    #[must_use]
    pub fn begin(self: &Arc<Self>, protocol: Protocol) -> Record {
        self.in_flight[protocol as usize].fetch_add(1, Ordering::Relaxed);
        Record {
            recorder: Some(Arc::clone(self)),
            protocol,
            begun: Instant::now(),
            called: None,
            deadline: None,
            code: Some(Code::Cancelled),
            rows: 0,
            timings: Timings::default(),
            trace: None,
            told: None,
        }
    }

    /// Requests that have come by a protocol and have no answer yet.
    #[must_use]
    pub fn in_flight(&self, protocol: Protocol) -> usize {
        self.in_flight[protocol as usize].load(Ordering::Relaxed)
    }

    /// Figures of the requests that named nothing that is served.
    #[must_use]
    pub fn unknown(&self) -> &Arc<SignatureMetrics> {
        &self.unknown
    }
}

/// What is known of one request so far. Dropped without an end, its caller has gone away.
pub struct Record {
    /// None for a part of another request, which counts in its stead.
    recorder: Option<Arc<Recorder>>,
    protocol: Protocol,
    begun: Instant,
    called: Option<Arc<SignatureMetrics>>,
    /// When who watches over its time drops it.
    deadline: Option<Deadline>,
    /// How it ended; none where all is well.
    code: Option<Code>,
    /// Rows it had run.
    pub rows: usize,
    /// How long its stages took.
    pub timings: Timings,
    /// Its span, where it is traced.
    pub trace: Option<TraceLink>,
    /// What is told at its end, and to whom; none where nobody asked.
    told: Option<Box<(Facts, Arc<Handover>)>>,
}

impl Record {
    /// Takes it for late, and not for cancelled, if it is dropped at its deadline.
    #[must_use]
    pub fn until(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Has its end told to who began the request at its door, if anybody asked.
    #[must_use]
    pub fn told_to(mut self, handover: Option<Arc<Handover>>) -> Self {
        self.trace = handover.as_ref().and_then(|handover| handover.trace);
        self.told = handover.map(|handover| Box::new((Facts::new(self.protocol), handover)));
        self
    }

    /// Notes a stage that began at `begun` and has just ended.
    pub fn took(&mut self, stage: Stage, begun: Instant) {
        self.note(stage, begun, begun.elapsed());
    }

    /// Notes when a stage began, and how long it took.
    pub fn note(&mut self, stage: Stage, begun: Instant, time: Duration) {
        self.timings.set(stage, time);
        if let Some(told) = &mut self.told {
            told.0.begun[stage as usize] = Some(begun);
        }
    }

    /// Notes the runs that served it.
    pub fn ran(&mut self, runs: Vec<TraceLink>) {
        if let Some(told) = &mut self.told {
            told.0.runs = runs;
        }
    }

    /// Notes which signature is called, and passes it on.
    pub fn calls<'v>(&mut self, servable: &'v Servable) -> &'v Servable {
        if let Some(told) = &mut self.told {
            told.0.servable = Some(Arc::clone(&servable.name));
        }
        self.called = Some(Arc::clone(&servable.metrics));
        servable
    }

    /// Makes a record for one of several runs of this request, to be [joined](Self::join) with it.
    #[must_use]
    pub fn part(&self) -> Self {
        let told = self.told.as_ref().map(|told| Box::new((Facts::new(self.protocol), Arc::clone(&told.1))));
        Self { recorder: None, called: None, timings: Timings::default(), told, ..*self }
    }

    /// Takes a part back: their stages ran side by side.
    pub fn join(&mut self, part: &Self) {
        self.called = self.called.take().or_else(|| part.called.clone());
        self.rows = self.rows.max(part.rows);
        self.timings.cover(&part.timings);
        if let (Some(told), Some(part)) = (&mut self.told, &part.told) {
            told.0.join(&part.0);
        }
    }

    /// Ends it with the request's result, which is passed on.
    ///
    /// # Errors
    /// Those of the result.
    pub fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.code = result.as_ref().err().map(|error| error.code);
        result
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        recorder.in_flight[self.protocol as usize].fetch_sub(1, Ordering::Relaxed);
        if self.code == Some(Code::Cancelled) && self.deadline.is_some_and(|deadline| deadline.left() <= DEADLINE_SLACK) {
            self.code = Some(Code::DeadlineExceeded);
        }
        let metrics = self.called.as_ref().unwrap_or(&recorder.unknown);
        metrics.count(self.protocol, self.code, self.begun.elapsed(), &self.timings);
        if let Some(told) = self.told.take() {
            let (facts, handover) = *told;
            handover.tell(Facts { code: self.code, rows: self.rows, timings: self.timings.clone(), ..facts });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_at_its_deadline_was_late() {
        let recorder = Arc::new(Recorder::default());
        let drop_at = |left: Duration| drop(recorder.begin(Protocol::TfServingGrpc).until(Deadline::after(left)));
        let count = |code: &str| {
            let mut ended = recorder.unknown().ended();
            ended.find_map(|(_, known, count)| (known == code).then_some(count)).unwrap_or_default()
        };
        drop_at(Duration::from_secs(60));
        assert_eq!((count("CANCELLED"), count("DEADLINE_EXCEEDED")), (1, 0), "its caller has gone away");
        drop_at(DEADLINE_SLACK / 2);
        drop_at(Duration::ZERO);
        assert_eq!((count("CANCELLED"), count("DEADLINE_EXCEEDED")), (1, 2));
        assert_eq!(recorder.in_flight(Protocol::TfServingGrpc), 0);
    }
}
