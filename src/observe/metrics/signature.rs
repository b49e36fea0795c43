//! The metrics of one signature.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::RowGauges;
use tfweb_engine::Code;

use super::histogram::Histogram;
use super::runs::RunFigures;
use crate::observe::labels::{ProtocolId, ProtocolNames};
use crate::observe::stage::{Stage, Timings};

/// The number of results of a request: success, or one of the codes.
const ENDS: usize = 1 + Code::ALL.len();

/// The bounds of times in nanoseconds: ten for each decade (Renard's R10 series), from 10 µs to 100 s.
static TIME_BOUNDS: [u64; 71] = time_bounds();

const fn time_bounds() -> [u64; 71] {
    const STEPS: [u64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
    let (mut bounds, mut index, mut unit) = ([0; 71], 0, 100);
    while index < bounds.len() {
        bounds[index] = STEPS[index % 10] * unit;
        index += 1;
        if index % 10 == 0 {
            unit *= 10;
        }
    }
    bounds
}

/// The reason why a request failed, from the operator's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server was full, or the model was not loaded yet.
    Rejected,
    /// The request's time ended first.
    Timeout,
    /// The client went away.
    Cancelled,
    /// The request was wrong.
    BadRequest,
    /// The model failed.
    Backend,
}

impl Reason {
    /// All reasons, for metrics.
    pub(super) const ALL: [Self; 5] = [Self::Rejected, Self::Timeout, Self::Cancelled, Self::BadRequest, Self::Backend];

    /// The reason's name in metrics.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::BadRequest => "bad_request",
            Self::Backend => "backend",
        }
    }

    const fn of(code: Code) -> Self {
        match code {
            Code::Unavailable | Code::ResourceExhausted => Self::Rejected,
            Code::DeadlineExceeded => Self::Timeout,
            Code::Cancelled => Self::Cancelled,
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::DataLoss => Self::BadRequest,
            Code::Internal => Self::Backend,
        }
    }
}

/// The metrics of one signature of one version.
pub struct SignatureMetrics {
    /// The rows that wait and the rows that run.
    pub gauges: Arc<RowGauges>,
    /// The sizes of runs.
    pub runs: Arc<RunFigures>,
    names: ProtocolNames,
    /// The number of ended requests, by protocol and result.
    requests: Box<[[AtomicU64; ENDS]]>,
    times: [Histogram; Stage::ALL.len()],
}

impl SignatureMetrics {
    /// Makes metrics for requests of these protocols, all 0.
    #[must_use]
    pub fn new(names: ProtocolNames) -> Self {
        let times = std::array::from_fn(|_| Histogram::new(&TIME_BOUNDS));
        let requests = names.iter().map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        Self { gauges: Arc::default(), runs: Arc::default(), names, requests, times }
    }

    /// Counts an ended request. `code` is `None` for a success.
    pub fn count(&self, protocol: ProtocolId, code: Option<Code>, time: Duration, timings: &Timings) {
        self.requests[protocol.index][code.map_or(0, |code| 1 + code as usize)].fetch_add(1, Ordering::Relaxed);
        let Timings { decode, fetch, queue, run, encode } = *timings;
        // A stage without time did not happen. The queue is the exception: a request that ran may have found it empty.
        let waited = if run > Duration::ZERO { queue.max(Duration::from_nanos(1)) } else { queue };
        for (stage, time) in Stage::ALL.into_iter().zip([time, decode, fetch, waited, run, encode]) {
            if time > Duration::ZERO {
                self.times[stage as usize].observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            }
        }
    }

    /// Whether a run has begun or a request has ended. Before that, scrapers find no counters of the signature.
    pub(super) fn has_begun(&self) -> bool {
        let has_ended = |counts: &[AtomicU64; ENDS]| counts.iter().any(|count| count.load(Ordering::Relaxed) > 0);
        self.runs.rows.read().count() > 0 || self.requests.iter().any(has_ended)
    }

    /// The number of ended requests by protocol and by the name of their code. It has an entry for every success count, and for
    /// every code that has occurred.
    pub fn ended(&self) -> impl Iterator<Item = (ProtocolId, &'static str, u64)> + '_ {
        let names = || ["OK"].into_iter().chain(Code::ALL.map(Code::name));
        let of = move |protocol: ProtocolId| {
            let counts = self.requests[protocol.index].iter().map(|count| count.load(Ordering::Relaxed));
            names().zip(counts).map(move |(code, count)| (protocol, code, count))
        };
        ProtocolId::all(self.names).flat_map(of).filter(|&(_, code, count)| code == "OK" || count > 0)
    }

    /// The number of requests that failed for a reason.
    #[must_use]
    pub(super) fn failures(&self, reason: Reason) -> u64 {
        let codes = || Code::ALL.into_iter().filter(|&code| Reason::of(code) == reason);
        let count = |of: &[AtomicU64; ENDS]| codes().map(|code| of[1 + code as usize].load(Ordering::Relaxed)).sum::<u64>();
        self.requests.iter().map(count).sum()
    }

    /// The times of a stage, in nanoseconds.
    #[must_use]
    pub fn times(&self, stage: Stage) -> &Histogram {
        &self.times[stage as usize]
    }
}
