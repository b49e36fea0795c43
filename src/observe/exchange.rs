//! One request as its listener sees it, from its head to its answer. When it ends, it writes the access line and the spans, also
//! after the client has gone away.

use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::Code;

use super::access_log;
use super::request::{EndedRequest, Head, Status, Transport};
use super::summary::SummarySlot;
use super::telemetry::Telemetry;
use super::trace::RequestSpan;

/// An observed request. If it is dropped without an answer, its client has gone away.
pub struct Exchange {
    telemetry: Arc<Telemetry>,
    head: Head,
    begun: Instant,
    slot: Arc<SummarySlot>,
    span: Option<RequestSpan>,
    status: Option<Status>,
    bytes_out: Option<u64>,
}

impl Exchange {
    /// Begins to observe a request.
    #[must_use]
    pub fn begin(telemetry: &Arc<Telemetry>, head: Head) -> Self {
        let tracer = telemetry.tracer().filter(|_| !head.is_probe);
        let span = tracer.and_then(|tracer| tracer.begin(&head));
        let slot = Arc::new(SummarySlot::new(span.as_ref().map(RequestSpan::link)));
        Self { telemetry: Arc::clone(telemetry), head, begun: Instant::now(), slot, span, status: None, bytes_out: None }
    }

    /// The slot in which the request's measurement leaves its summary.
    #[must_use]
    pub fn slot(&self) -> &Arc<SummarySlot> {
        &self.slot
    }

    /// Ends it with an answer.
    pub fn answered(mut self, status: Status, bytes_out: Option<u64>) {
        self.status = Some(status);
        self.bytes_out = bytes_out;
    }

    /// The status of a request that was dropped. Its measurement knows whether it was late.
    fn dropped(&self) -> Status {
        let code = self.slot.summary().and_then(|summary| summary.code).unwrap_or(Code::Cancelled);
        match self.head.transport {
            Transport::Http => Status::Http(crate::status::http(code).as_u16()),
            Transport::Grpc => Status::Grpc(crate::status::grpc(code)),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let status = self.status.unwrap_or_else(|| self.dropped());
        let summary = self.slot.summary();
        let ended = EndedRequest { head: &self.head, status, bytes_out: self.bytes_out, time: self.begun.elapsed(), summary };
        if self.telemetry.has_access_log() {
            access_log::log(&ended);
        }
        if let (Some(tracer), Some(span)) = (self.telemetry.tracer(), self.span.take()) {
            tracer.end(span, &ended);
        }
    }
}
