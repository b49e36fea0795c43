//! Figures of what was served: counters and histograms of each signature, kept without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tfweb_actors::histogram::Histogram;
use tfweb_actors::ModelObservation;
use tfweb_engine::Code;

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

/// Figures of one signature of one version.
pub struct SignatureMetrics {
    /// Its name.
    pub signature: String,
    /// What waits and runs.
    pub observation: Arc<ModelObservation>,
    requests: [[AtomicU64; ENDS]; Protocol::ALL.len()],
    times: [Histogram; Stage::ALL.len()],
}

impl Default for SignatureMetrics {
    fn default() -> Self {
        Self::new(String::new(), Arc::default())
    }
}

impl SignatureMetrics {
    /// Makes figures that are all 0 but for what is observed.
    #[must_use]
    pub fn new(signature: String, observation: Arc<ModelObservation>) -> Self {
        let times = std::array::from_fn(|_| Histogram::new(&TIME_BOUNDS));
        Self { signature, observation, requests: Default::default(), times }
    }

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

    /// How many requests ended so; without a code, well.
    #[must_use]
    pub fn requests(&self, protocol: Protocol, code: Option<Code>) -> u64 {
        self.requests[protocol as usize][code.map_or(0, |code| 1 + code as usize)].load(Ordering::Relaxed)
    }

    /// How long a stage took, in nanoseconds.
    #[must_use]
    pub fn times(&self, stage: Stage) -> &Histogram {
        &self.times[stage as usize]
    }
}

/// Figures of one version of a model.
pub struct VersionMetrics {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// How long it took to load.
    pub load_time: Duration,
    /// Of its signatures.
    pub signatures: Vec<Arc<SignatureMetrics>>,
}

/// Versions that have ended whose figures are kept: a counter that vanished at once would lose what it counted last.
const ENDED_MAX: usize = 8;

/// Figures of all versions.
#[derive(Default)]
pub struct Registry(Mutex<Vec<Arc<VersionMetrics>>>);

impl Registry {
    /// Adds those of a version that is about to be served; it has ended when nobody else holds them.
    pub fn add(&self, metrics: VersionMetrics) -> Arc<VersionMetrics> {
        let metrics = Arc::new(metrics);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&metrics));
        let mut ended = all.iter().filter(|known| Arc::strong_count(known) == 1).count();
        all.retain(|known| {
            let is_one_too_many = ended > ENDED_MAX && Arc::strong_count(known) == 1;
            ended -= usize::from(is_one_too_many);
            !is_one_too_many
        });
        metrics
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<VersionMetrics>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
