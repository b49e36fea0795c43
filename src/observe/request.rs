//! One request as its listener sees it: its head and its status.

use std::net::IpAddr;
use std::time::Duration;

use super::summary::Summary;

/// The most bytes of a path, an id or a list of addresses in logs and traces.
const TEXT_BYTES_MAX: usize = 256;

/// The transport of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// gRPC.
    Grpc,
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The status of an HTTP answer.
    Http(u16),
    /// The code of a gRPC call.
    Grpc(tonic::Code),
}

impl Status {
    /// Whether this is a fault of the server, as OpenTelemetry's conventions count it.
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

/// The parts of a request that a listener knows before it reads the headers.
pub struct Arrival<'a> {
    /// The transport of the request.
    pub transport: Transport,
    /// Whether load balancers and scrapers send such requests all the time. Their access lines have level debug, and they are not
    /// traced.
    pub is_probe: bool,
    /// Its id.
    pub id: &'a [u8],
    /// Its method.
    pub method: &'a str,
    /// Its path without the query, which may hold secrets.
    pub path: &'a str,
    /// The address of the peer.
    pub client: Option<IpAddr>,
}

/// The head of a request. Its texts are cut and cleaned for logs.
pub struct Head {
    pub(super) transport: Transport,
    pub(super) is_probe: bool,
    pub(super) id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) client: Option<IpAddr>,
    /// The addresses that a proxy named. A client can write anything here.
    pub(super) forwarded_for: Option<String>,
    pub(super) bytes_in: Option<u64>,
    pub(super) traceparent: Option<String>,
    pub(super) tracestate: Option<String>,
}

impl Head {
    /// Reads a head. `header` gives the bytes of a header by its name in lower case.
    pub fn new<'h>(arrival: &Arrival<'_>, header: impl Fn(&str) -> Option<&'h [u8]>) -> Self {
        let text = |name| header(name).map(cut);
        Self {
            transport: arrival.transport,
            is_probe: arrival.is_probe,
            id: cut(arrival.id),
            method: arrival.method.to_owned(),
            path: cut(arrival.path.as_bytes()),
            client: arrival.client,
            forwarded_for: text("x-forwarded-for"),
            bytes_in: header("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()),
            traceparent: text("traceparent"),
            tracestate: text("tracestate"),
        }
    }
}

/// Cuts a text and replaces control characters, so that a client cannot write a log line of its own.
fn cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// A request that has ended.
pub(super) struct EndedRequest<'e> {
    pub(super) head: &'e Head,
    pub(super) status: Status,
    pub(super) bytes_out: Option<u64>,
    pub(super) time: Duration,
    /// The summary of a prediction; `None` for other requests.
    pub(super) summary: Option<&'e Summary>,
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
