//! The access log and traces. If both are off, no request is observed, and only metrics count it.

use std::sync::Arc;

use tfweb_engine::Error;

use super::trace::Tracer;

/// The choice of observations for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether each request gets a line in the access log.
    pub access_log: bool,
    /// The URL of the collector of traces; `None` where traces are off.
    pub otlp_endpoint: Option<String>,
}

/// Observes requests with the access log, with traces, with both or with neither.
pub struct Telemetry {
    access_log: bool,
    tracer: Option<Arc<Tracer>>,
}

impl Telemetry {
    /// Starts to send traces, if they are on.
    ///
    /// # Errors
    /// `Internal` if the sender of traces cannot start.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let tracer = settings.otlp_endpoint.as_deref().map(Tracer::start).transpose()?;
        Ok(Self { access_log: settings.access_log, tracer: tracer.map(Arc::new) })
    }

    /// Whether each request is observed.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.access_log || self.tracer.is_some()
    }

    /// Whether each request gets a line in the access log.
    pub(super) fn has_access_log(&self) -> bool {
        self.access_log
    }

    /// The tracer; `None` where traces are off.
    #[must_use]
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// Sends the last traces. It waits two seconds at most.
    pub async fn stop(&self) {
        if let Some(tracer) = self.tracer.clone() {
            // The stop blocks, so it must not run on a thread of actors. If it panics, there is nothing more to send.
            let _ = tokio::task::spawn_blocking(move || tracer.stop()).await;
        }
    }
}
