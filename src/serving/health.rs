//! Whether the server moves. What does not is named, and whoever watches `/livez` starts the server anew: a session run cannot
//! be cut short, so a run that never ends takes its thread with it for ever.
//!
//! A server that is only slow must not be ended so. A model counts as stuck when each of its run threads has been in one and the
//! same run for longer than `stuck_after`, many times what a request may take, and requests have come meanwhile: whoever asked
//! for any of that was answered 504 long ago. An actors' thread counts as stuck when it has done nothing at all for
//! half a minute; its messages take microseconds.

use std::time::Duration;

use tfweb_actors::Heartbeat;
use tfweb_engine::quoted;

use crate::catalog::{Catalog, Model};

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

/// What is watched.
pub struct Liveness {
    /// How long a run may take.
    pub stuck_after: Duration,
    /// Threads of actors, by name.
    pub threads: [(&'static str, Heartbeat); 2],
}

impl Liveness {
    /// What does not move, in words.
    #[must_use]
    pub fn stuck(&self, catalog: &Catalog) -> Vec<String> {
        let silent = self.threads.iter().filter(|(_, heartbeat)| heartbeat.silent_for() > SILENT_MAX);
        let threads = silent.map(|(name, heartbeat)| format!("{name}: silent for {} s", heartbeat.silent_for().as_secs()));
        threads.chain(catalog.models().iter().filter_map(|model| self.stuck_model(model))).collect()
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
