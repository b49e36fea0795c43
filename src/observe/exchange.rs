//! One request at a door, from its head to its answer. Its end, however it comes, writes the access line and the spans.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tfweb_engine::Code;

use super::facts::{Facts, Handover};
use super::trace::Root;
use super::{access, Telemetry};

/// The most bytes of a path, an id or an address list that are told.
const TEXT_BYTES_MAX: usize = 256;

/// By which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    Grpc,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Http(u16),
    Grpc(tonic::Code),
}

impl Status {
    /// Whether the fault was the server's, as OpenTelemetry's conventions count it.
    pub(super) fn is_server_error(self) -> bool {
        use tonic::Code;
        match self {
            Self::Http(status) => status >= 500,
            Self::Grpc(code) => matches!(
                code,
                Code::Unknown | Code::DeadlineExceeded | Code::Unimplemented | Code::Internal | Code::Unavailable | Code::DataLoss
            ),
        }
    }

    pub(super) fn is_success(self) -> bool {
        match self {
            Self::Http(status) => status < 400,
            Self::Grpc(code) => code == tonic::Code::Ok,
        }
    }
}

/// What is known of a request when it comes.
pub(super) struct Head {
    pub(super) door: Door,
    pub(super) id: String,
    pub(super) method: String,
    /// Without the query, which may hold secrets.
    pub(super) path: String,
    /// Who connected.
    pub(super) client: Option<IpAddr>,
    /// Who is said to have asked. Anybody can write that.
    pub(super) forwarded_for: Option<String>,
    pub(super) bytes_in: Option<u64>,
    pub(super) traceparent: Option<String>,
    pub(super) tracestate: Option<String>,
}

impl Head {
    /// Reads a head; `header` gives a header's bytes by its name in lower case.
    pub(super) fn new<'h>(
        door: Door,
        id: &[u8],
        (method, path): (&str, &str),
        client: Option<IpAddr>,
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Self {
        let text = |name| header(name).map(cut);
        Self {
            door,
            id: cut(id),
            method: method.to_owned(),
            path: cut(path.as_bytes()),
            client,
            forwarded_for: text("x-forwarded-for"),
            bytes_in: header("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()),
            traceparent: text("traceparent"),
            tracestate: text("tracestate"),
        }
    }

    /// Whether it is a probe, of which there are so many that they would hide the rest.
    pub(super) fn is_probe(&self) -> bool {
        match self.door {
            Door::Http => matches!(self.path.as_str(), "/livez" | "/readyz" | "/metrics"),
            Door::Grpc => self.path.starts_with("/grpc.health."),
        }
    }
}

/// Text that is not too long, and has nothing in it that writes elsewhere than on its line.
fn cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// A request that is observed. Dropped without an answer, its caller has gone away.
pub(super) struct Visit {
    telemetry: Arc<Telemetry>,
    head: Head,
    begun: Instant,
    handover: Arc<Handover>,
    root: Option<Root>,
    status: Option<Status>,
    bytes_out: Option<u64>,
}

/// A request as it ended.
pub(super) struct Ended<'v> {
    pub(super) head: &'v Head,
    pub(super) status: Status,
    pub(super) bytes_out: Option<u64>,
    pub(super) time: Duration,
    /// What a prediction came to; none where it was something else.
    pub(super) facts: Option<&'v Facts>,
}

impl Visit {
    pub(super) fn begin(telemetry: Arc<Telemetry>, head: Head) -> Self {
        let tracer = telemetry.tracer.as_ref().filter(|_| !head.is_probe());
        let root = tracer.and_then(|tracer| tracer.begin(&head));
        let handover = Arc::new(Handover::new(root.as_ref().map(Root::link)));
        Self { telemetry, head, begun: Instant::now(), handover, root, status: None, bytes_out: None }
    }

    /// Where the request's record leaves what it knows.
    pub(super) fn handover(&self) -> &Arc<Handover> {
        &self.handover
    }

    /// Ends it with an answer.
    pub(super) fn answered(mut self, status: Status, bytes_out: Option<u64>) {
        self.status = Some(status);
        self.bytes_out = bytes_out;
    }

    /// How a request ended that was dropped; a prediction's record knows whether it was late.
    fn dropped(&self) -> Status {
        let code = self.handover.facts().and_then(|facts| facts.code).unwrap_or(Code::Cancelled);
        match self.head.door {
            Door::Http => Status::Http(crate::status::http(code).as_u16()),
            Door::Grpc => Status::Grpc(crate::status::grpc(code)),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let status = self.status.unwrap_or_else(|| self.dropped());
        let facts = self.handover.facts();
        let ended = Ended { head: &self.head, status, bytes_out: self.bytes_out, time: self.begun.elapsed(), facts };
        if self.telemetry.access_log {
            access::log(&ended);
        }
        if let (Some(tracer), Some(root)) = (&self.telemetry.tracer, self.root.take()) {
            tracer.end(root, &ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_clients_stays_on_its_line_and_short() {
        assert_eq!(cut(b"/a\r\nINFO forged\x1b[31m"), "/a\u{fffd}\u{fffd}INFO forged\u{fffd}[31m");
        assert_eq!(cut(&[b'a'; 1000]).len(), TEXT_BYTES_MAX);
        assert_eq!(cut(b"\xff\xc3\xa9"), "\u{fffd}\u{e9}");
    }
}
