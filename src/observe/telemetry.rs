//! What is told of the server's doings beyond figures: its [`log`], a line for each request (`access`), and traces (`trace`).
//!
//! Each door has one layer (`http`, `grpc`) that makes a `Visit` of every request. A prediction's [`Record`](crate::record)
//! hands over what it knows at its end; the visit's end writes the line and the spans. Where neither is asked for, HTTP has no
//! layer and no request is looked at.

mod access;
mod facts;
mod grpc;
mod http;
pub mod log;
mod stderr;
mod trace;
mod visit;
mod writer;

use std::sync::Arc;

use tfweb_engine::Error;

use crate::config::TelemetryConfig;

pub use facts::{Facts, Handover};
pub use grpc::Observe;
pub use http::observe;
pub use trace::Tracer;
use visit::{Head, Visit};

/// What is wanted to be known of requests.
pub struct Telemetry {
    access_log: bool,
    tracer: Option<Arc<Tracer>>,
}

impl Telemetry {
    /// Starts to send traces, if they are asked for.
    ///
    /// # Errors
    /// `Internal` where that cannot be.
    pub fn start(config: &TelemetryConfig) -> Result<Self, Error> {
        let tracer = config.otlp_endpoint.as_deref().map(Tracer::start).transpose()?;
        Ok(Self { access_log: config.access_log, tracer: tracer.map(Arc::new) })
    }

    /// Whether anybody wants to know of each request.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.access_log || self.tracer.is_some()
    }

    /// Who traces, if anybody does.
    #[must_use]
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// Begins to observe a request.
    fn visit(self: &Arc<Self>, head: Head) -> Visit {
        Visit::begin(Arc::clone(self), head)
    }

    /// Sends the last traces, for a moment at most.
    pub async fn stop(&self) {
        if let Some(tracer) = self.tracer.clone() {
            // It waits, which must not be on a thread of actors. One that panics has nothing more to send.
            let _ = tokio::task::spawn_blocking(move || tracer.stop()).await;
        }
    }
}
