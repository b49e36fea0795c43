//! What is told of each request beyond figures: a line in the access log, and traces. Where neither is asked for, no request is
//! looked at.

use std::sync::Arc;

use tfweb_engine::Error;

use super::trace::Tracer;

/// What is wanted to be known of each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether each request gets a line in the log.
    pub access_log: bool,
    /// The URL to which traces are sent; none where they are switched off.
    pub otlp_endpoint: Option<String>,
}

/// What tells of requests.
pub struct Telemetry {
    access_log: bool,
    tracer: Option<Arc<Tracer>>,
}

impl Telemetry {
    /// Starts to send traces, if they are asked for.
    ///
    /// # Errors
    /// `Internal` where that cannot be.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let tracer = settings.otlp_endpoint.as_deref().map(Tracer::start).transpose()?;
        Ok(Self { access_log: settings.access_log, tracer: tracer.map(Arc::new) })
    }

    /// Whether each request is observed.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.access_log || self.tracer.is_some()
    }

    /// Whether each request gets a line in the log.
    pub(super) fn has_access_log(&self) -> bool {
        self.access_log
    }

    /// The tracer, where traces are on.
    #[must_use]
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// Sends the last traces, for a moment at most.
    pub async fn stop(&self) {
        if let Some(tracer) = self.tracer.clone() {
            // It waits, which must not be on a thread of actors. One that panics has nothing more to send.
            let _ = tokio::task::spawn_blocking(move || tracer.stop()).await;
        }
    }
}
