//! What is counted of one signature.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::RowGauges;
use tfweb_engine::Code;

use super::histogram::Histogram;
use super::runs::RunFigures;
use crate::predict::Timings;
use crate::record::Protocol;

/// How requests end: well, or with a code.
const ENDS: usize = 1 + Code::ALL.len();

/// Bounds of times in nanoseconds: ten to a decade (Renard's R10 series), from 10 µs to 100 s.
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

/// A stage of a request, of which times are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the request's head to the answer's.
    Request,
    /// Body into tensors.
    Decode,
    /// What URLs name.
    Fetch,
    /// Waiting for a run.
    Queue,
    /// The run.
    Run,
    /// Tensors into the answer's body.
    Encode,
}

impl Stage {
    /// Every stage, for tables.
    pub const ALL: [Self; 6] = [Self::Request, Self::Decode, Self::Fetch, Self::Queue, Self::Run, Self::Encode];

    /// What its times are of.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Request => "Time of requests, from their head to their end",
            Self::Decode => "Time of decoding bodies",
            Self::Fetch => "Time of fetching what URLs name",
            Self::Queue => "Time of waiting for a run",
            Self::Run => "Time of runs, as requests have seen it",
            Self::Encode => "Time of encoding answers",
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Decode => "decode",
            Self::Fetch => "fetch",
            Self::Queue => "queue",
            Self::Run => "run",
            Self::Encode => "encode",
        }
    }
}

/// Why requests fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was no room, or nothing to run it yet.
    Rejected,
    /// Its time ran out.
    Timeout,
    /// Its caller went away.
    Cancelled,
    /// It was wrong.
    BadRequest,
    /// The model failed.
    Backend,
}

impl Reason {
    /// Every reason, for tables.
    pub const ALL: [Self; 5] = [Self::Rejected, Self::Timeout, Self::Cancelled, Self::BadRequest, Self::Backend];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
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
            | Code::Unimplemented => Self::BadRequest,
            Code::Internal => Self::Backend,
        }
    }
}

/// Figures of one signature of one version.
pub struct SignatureMetrics {
    /// How many rows wait and run.
    pub gauges: Arc<RowGauges>,
    /// The sizes of session runs.
    pub runs: Arc<RunFigures>,
    requests: [[AtomicU64; ENDS]; Protocol::ALL.len()],
    times: [Histogram; Stage::ALL.len()],
}

impl Default for SignatureMetrics {
    fn default() -> Self {
        let times = std::array::from_fn(|_| Histogram::new(&TIME_BOUNDS));
        Self { gauges: Arc::default(), runs: Arc::default(), requests: Default::default(), times }
    }
}

impl SignatureMetrics {
    /// Counts a request; without a code, all went well.
    pub fn count(&self, protocol: Protocol, code: Option<Code>, time: Duration, timings: &Timings) {
        self.requests[protocol as usize][code.map_or(0, |code| 1 + code as usize)].fetch_add(1, Ordering::Relaxed);
        let Timings { decode, fetch, queue, run, encode } = *timings;
        // What took no time at all was not done, but for a queue that was empty.
        let waited = if run > Duration::ZERO { queue.max(Duration::from_nanos(1)) } else { queue };
        for (stage, time) in Stage::ALL.into_iter().zip([time, decode, fetch, waited, run, encode]) {
            if time > Duration::ZERO {
                self.times[stage as usize].observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            }
        }
    }

    /// How many requests have ended by each protocol, with each code's name: those that went well, and what has occurred.
    pub fn ended(&self) -> impl Iterator<Item = (Protocol, &'static str, u64)> + '_ {
        let names = || ["OK"].into_iter().chain(Code::ALL.map(Code::name));
        let of = move |protocol: Protocol| {
            let counts = self.requests[protocol as usize].iter().map(|count| count.load(Ordering::Relaxed));
            names().zip(counts).map(move |(code, count)| (protocol, code, count))
        };
        Protocol::ALL.into_iter().flat_map(of).filter(|&(_, code, count)| code == "OK" || count > 0)
    }

    /// How many requests have failed for a reason.
    #[must_use]
    pub fn failures(&self, reason: Reason) -> u64 {
        let codes = || Code::ALL.into_iter().filter(|&code| Reason::of(code) == reason);
        let count = |of: &[AtomicU64; ENDS]| codes().map(|code| of[1 + code as usize].load(Ordering::Relaxed)).sum::<u64>();
        self.requests.iter().map(count).sum()
    }

    /// How long a stage took, in nanoseconds.
    #[must_use]
    pub fn times(&self, stage: Stage) -> &Histogram {
        &self.times[stage as usize]
    }
}
