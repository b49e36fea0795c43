//! Whether the server moves, and whether it takes requests.
//!
//! Whoever watches `/livez` starts a server anew that does not move: a session run cannot be cut short, so a run that never ends
//! takes its thread with it for ever. A server that is only slow must not be ended so. A model counts as stuck when each of its
//! run threads has been in one and the same run for longer than `stuck_after`, many times what a request may take, and requests
//! have come meanwhile: their clients were answered 504 long ago. An actors' thread counts as stuck when it has done nothing at
//! all for half a minute; its messages take microseconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::Heartbeat;
use tfweb_engine::quoted;

use crate::models::{Catalog, Model};

/// How many times `--request_timeout_ms` a run may take.
const STUCK_FACTOR: u32 = 10;
/// How long a run may take at least: the first on a GPU may compile for minutes.
const STUCK_LEAST: Duration = Duration::from_secs(300);
/// How long an actors' thread may be silent: starved of processors it is late by seconds.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// How long a run may take before its thread is taken to be stuck.
#[must_use]
pub fn stuck_after(request_timeout: Duration) -> Duration {
    (request_timeout * STUCK_FACTOR).max(STUCK_LEAST)
}

/// How the server is.
pub struct Health {
    /// The models.
    pub catalog: Arc<Catalog>,
    /// How long a run may take.
    pub stuck_after: Duration,
    /// Threads of actors, by name.
    pub threads: [(&'static str, Heartbeat); 2],
    /// Whether the server is ready only with every model.
    pub is_strict: bool,
    /// Whether the server is about to stop.
    pub draining: Arc<AtomicBool>,
}

/// Whether the server takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is about to stop: a load balancer should send new requests elsewhere.
    Draining,
    /// A part of it does not move; `/livez` says which.
    Stuck,
    /// Models are missing: all of them, or with `--strict_readiness` any.
    Loading,
    /// It takes requests.
    Ready,
}

impl Health {
    /// Whether the server takes requests now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let models = self.catalog.models();
        let served = models.iter().filter(|model| model.served().next().is_some()).count();
        let is_enough = if self.is_strict { served == models.len() } else { served > 0 || models.is_empty() };
        match (self.draining.load(Ordering::Relaxed), is_enough) {
            (true, _) => Readiness::Draining,
            (false, _) if !self.stuck().is_empty() => Readiness::Stuck,
            (false, false) => Readiness::Loading,
            (false, true) => Readiness::Ready,
        }
    }

    /// The threads and models that do not move, in words.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let silent = self.threads.iter().filter(|(_, heartbeat)| heartbeat.silent_for() > SILENT_MAX);
        let threads = silent.map(|(name, heartbeat)| format!("{name}: silent for {} s", heartbeat.silent_for().as_secs()));
        threads.chain(self.catalog.models().iter().filter_map(|model| self.stuck_model(model))).collect()
    }

    /// Why a model does not move, if it does not.
    #[must_use]
    pub fn stuck_model(&self, model: &Model) -> Option<String> {
        model.served().find_map(|version| {
            // The signatures of a version share its threads.
            let stuck = version.servables.first()?.handle.stuck_for().filter(|&time| time > self.stuck_after)?;
            let name = quoted(&model.name);
            let (seconds, number) = (stuck.as_secs(), version.number);
            Some(format!("model {name} version {number}: every run thread is in one run for {seconds} s while requests wait"))
        })
    }
}
