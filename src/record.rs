//! One request as it is measured: which signature it called, how long each stage took, how it ended. A door begins a record, the
//! handlers add what they know, and with its end it is counted: once, also where the caller went away before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::{Code, Error};

use crate::catalog::Servable;
use crate::metrics::SignatureMetrics;
use crate::predict::Timings;

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
            code: Some(Code::Cancelled),
            rows: 0,
            timings: Timings::default(),
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
    /// How it ended; none where all is well.
    code: Option<Code>,
    /// Rows it had run.
    pub rows: usize,
    /// How long its stages took.
    pub timings: Timings,
}

impl Record {
    /// Notes which signature is called, and passes it on.
    pub fn calls<'v>(&mut self, servable: &'v Servable) -> &'v Servable {
        self.called = Some(Arc::clone(&servable.metrics));
        servable
    }

    /// Makes a record for one of several runs of this request, to be [joined](Self::join) with it.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { recorder: None, called: None, timings: Timings::default(), ..*self }
    }

    /// Takes a part back: their stages ran side by side.
    pub fn join(&mut self, part: &Self) {
        self.called = self.called.take().or_else(|| part.called.clone());
        self.rows = self.rows.max(part.rows);
        self.timings.cover(&part.timings);
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
        let metrics = self.called.as_ref().unwrap_or(&recorder.unknown);
        metrics.count(self.protocol, self.code, self.begun.elapsed(), &self.timings);
    }
}
