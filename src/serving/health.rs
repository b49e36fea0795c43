//! Whether the server is alive, and whether it takes requests.
//!
//! A supervisor restarts a server whose `/livez` is 503. This must happen if the server is stuck: TensorFlow cannot end a run in the
//! middle of an operation, so an operation that never ends keeps its thread. It must not happen if the server is only slow. A model
//! counts as stuck when each of its run threads, with the spare ones that took over, has been in the same run for longer than
//! `stuck_after`, and requests have come meanwhile.
//! `stuck_after` is many times the time limit of a request, so the clients of that run have long had a 504. An actors' thread
//! counts as stuck when its heartbeat has been silent for half a minute. Its messages take microseconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::Heartbeat;
use tfweb_engine::quoted;

use crate::models::{Catalog, Model};

/// `stuck_after` in units of `--request_timeout_ms`.
const STUCK_FACTOR: u32 = 10;
/// The least `stuck_after`. The first run on a GPU may compile for minutes.
const STUCK_LEAST: Duration = Duration::from_secs(300);
/// How long an actors' thread may be silent. Without free processors it is late by seconds.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// The time after which a run counts as stuck.
#[must_use]
pub fn stuck_after(request_timeout: Duration) -> Duration {
    (request_timeout * STUCK_FACTOR).max(STUCK_LEAST)
}

/// Knows the state of the server.
pub struct Health {
    /// The models.
    pub catalog: Arc<Catalog>,
    /// The time after which a run counts as stuck.
    pub stuck_after: Duration,
    /// The threads of actors, by name.
    pub threads: [(&'static str, Heartbeat); 2],
    /// Whether the server is ready only if every model is.
    pub is_strict: bool,
    /// Whether the server is stopping.
    pub draining: AtomicBool,
}

/// Whether the server takes requests, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The server is stopping. A load balancer should send new requests elsewhere.
    Draining,
    /// A thread or a model is stuck. `/livez` says which.
    Stuck,
    /// No model is loaded yet. With `--strict_readiness`, at least one model is not loaded yet.
    Loading,
    /// The server takes requests.
    Ready,
}

impl Health {
    /// Whether the server takes requests now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let models = self.catalog.models();
        let mut expected = models.iter().filter(|model| !model.is_candidate);
        let is_served = |model: &Arc<Model>| model.served().next().is_some();
        let is_enough =
            if self.is_strict || expected.clone().next().is_none() { expected.all(is_served) } else { expected.any(is_served) };
        match (self.draining.load(Ordering::Relaxed), is_enough) {
            (true, _) => Readiness::Draining,
            (false, _) if !self.stuck().is_empty() => Readiness::Stuck,
            (false, false) => Readiness::Loading,
            (false, true) => Readiness::Ready,
        }
    }

    /// Describes the threads and models that are stuck.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let silent = self.threads.iter().filter(|(_, heartbeat)| heartbeat.silent_for() > SILENT_MAX);
        let threads = silent.map(|(name, heartbeat)| format!("{name}: silent for {} s", heartbeat.silent_for().as_secs()));
        threads.chain(self.catalog.models().iter().filter_map(|model| self.stuck_model(model))).collect()
    }

    /// Describes why a model is stuck; `None` if it is not.
    #[must_use]
    pub fn stuck_model(&self, model: &Model) -> Option<String> {
        model.served().find_map(|version| {
            // All signatures of a version share its run threads.
            let stuck = version.servables.first()?.handle.stuck_for().filter(|&time| time > self.stuck_after)?;
            let name = quoted(&model.name);
            let (seconds, number) = (stuck.as_secs(), version.number);
            Some(format!("model {name} version {number}: every run thread is in one run for {seconds} s while requests wait"))
        })
    }
}
