//! The reason why a fetch gave no bytes, for the counters, the log and the caller.

use std::io;
use std::time::Duration;

use actix_http::error::ParseError;
use awc::error::{PayloadError, SendRequestError};
use awc::http::StatusCode;
use tfweb_engine::Code;
use tfweb_limits::NoRoom;
use tokio_rustls::rustls::{CertificateError, Error};

use super::counters::Outcome;
use super::malformed::Malformed;
use super::rules::Refusal;

/// A fetch that gave no bytes.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) code: Code,
    /// The words for the caller, which follow the URL.
    pub(super) told: String,
    /// The words for the log, if they tell more.
    pub(super) reason: Option<String>,
    /// Whether the time of the request that began the fetch was over. One that came later may have some left.
    pub(super) is_late: bool,
}

impl Failure {
    fn new(outcome: Outcome, code: Code, told: impl Into<String>) -> Self {
        Self { outcome, code, told: told.into(), reason: None, is_late: false }
    }

    /// Makes a failure that the URL or its origin causes, and that will be the same at the next try.
    pub(super) fn failed(told: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, Code::FailedPrecondition, told)
    }

    /// Makes the failure of an origin that may have recovered at the next try.
    pub(super) fn passing(told: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, Code::Aborted, told)
    }

    /// Makes the failure of a host whose name has no address. `reason` is the resolver's, which the caller does not get.
    pub(super) fn name_not_found(reason: String) -> Self {
        Self { reason: Some(reason), ..Self::passing("could not be reached: the name of its host was not found") }
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        let told = format!("timed out after {} s", limit.as_secs_f64());
        Self { is_late: true, ..Self::new(Outcome::TimedOut, Code::DeadlineExceeded, told) }
    }

    /// Makes the failure of an answer with another status than 200 or a redirect. Some statuses ask to try again (RFC 9110,
    /// section 15).
    pub(super) fn answered(status: StatusCode) -> Self {
        let told = format!("answered {}", status.as_u16());
        let is_passing = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        if is_passing || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
            Self::passing(told)
        } else {
            Self::failed(told)
        }
    }

    /// Makes the failure of a body that is too large. `bytes` is its size, if that is known.
    pub(super) fn too_large(bytes: Option<u64>, bytes_max: usize) -> Self {
        let limit = size(bytes_max as u64);
        let told = match bytes {
            Some(bytes) if size(bytes) == limit => format!("is {bytes} bytes, limit {bytes_max} bytes"),
            Some(bytes) => format!("is {}, limit {limit}", size(bytes)),
            None => format!("is larger than the limit of {limit}"),
        };
        Self::new(Outcome::TooLarge, Code::OutOfRange, told)
    }

    /// Makes the failure of a request whose bodies are too large together.
    pub(super) fn too_large_together(bytes_max: usize) -> Self {
        let limit = size(bytes_max as u64);
        let told = format!("is one too many: the urls of one request may hold {limit} together; raise --url_memory");
        Self::new(Outcome::TooLarge, Code::OutOfRange, told)
    }

    pub(super) fn queue_full(limit: usize) -> Self {
        let told =
            format!("was not fetched: {limit} urls wait to be fetched (limit {limit}); retry after 1 s or raise --queue_size");
        Self::new(Outcome::Overloaded, Code::Unavailable, told)
    }

    pub(super) fn no_memory(limit: Duration) -> Self {
        let told = format!("waited {} s for memory (limit --url_memory); retry after 1 s", limit.as_secs_f64());
        Self { is_late: true, ..Self::new(Outcome::Overloaded, Code::Unavailable, told) }
    }

    /// Makes the failure of a request that holds the most memory while others wait for some.
    pub(super) fn gave_way() -> Self {
        let told = "was given up: fetched bodies fill the memory, and this request holds the most of it; \
                    retry after 1 s, name fewer urls in a request, or raise --url_memory";
        Self::new(Outcome::Overloaded, Code::Unavailable, told)
    }

    /// Makes the failure of a fetch for which the ledger of all requests has no room.
    pub(super) fn ledger_full(NoRoom { asked, held, bytes_max }: NoRoom) -> Self {
        let told = format!(
            "was not fetched: it needs {asked} bytes more, and the server holds {held} of {bytes_max} bytes for requests; retry after 1 s"
        );
        Self::new(Outcome::Overloaded, Code::Unavailable, told)
    }

    /// Makes the failure of an origin that cannot be dialled. A fetch has `limit` for all that it does.
    pub(super) fn of_connecting(error: &io::Error, limit: Duration) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(what)) => Self::failed(format!("has no certificate to trust: {}", words(what))),
            Some(error) => Self::failed(format!("failed its TLS handshake: {error}")),
            None if error.kind() == io::ErrorKind::TimedOut => Self::timed_out(limit),
            None => Self::passing(format!("could not be reached: {}", io_text(error))),
        }
    }

    /// The words for the log.
    pub(super) fn reason(&self) -> &str {
        self.reason.as_ref().unwrap_or(&self.told)
    }

    pub(super) fn panicked() -> Self {
        Self::new(Outcome::Failed, Code::Internal, "could not be fetched: the fetcher panicked; this is a bug")
    }

    pub(super) fn of_body(error: &PayloadError) -> Self {
        if let PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) = error {
            of_answer(error, "broke off before its end")
        } else {
            Self::failed(format!("cannot be read: {error}"))
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Malformed(_) | Refusal::TooLong(_) => Code::InvalidArgument,
            Refusal::Scheme
            | Refusal::Credentials
            | Refusal::Domain
            | Refusal::Address(_)
            | Refusal::Unresolved(_)
            | Refusal::Downgrade
            | Refusal::Redirect(_)
            | Refusal::Redirects(_) => Code::FailedPrecondition,
        };
        Self { reason: Some(refusal.to_string()), ..Self::new(Outcome::Refused, code, refusal.tell()) }
    }
}

impl From<SendRequestError> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "awc's list is open, and the rest is told as it is")]
    fn from(error: SendRequestError) -> Self {
        match error {
            SendRequestError::Send(error) => Self::passing(format!("broke the connection: {}", io_text(&error))),
            SendRequestError::Response(ParseError::Io(error)) => of_answer(&error, "ended the connection without an answer"),
            SendRequestError::Response(error) => Self::failed(format!("gave no valid HTTP answer: {error}")),
            error => Self::failed(format!("could not be reached: {error}")),
        }
    }
}

/// Names what is malformed in an answer. `otherwise` are the words for an answer that broke off.
fn of_answer(error: &io::Error, otherwise: &str) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Malformed>()) {
        Some(malformed) => Failure::failed(format!("gave no valid HTTP answer: {malformed}")),
        None => Failure::passing(otherwise),
    }
}

/// The text of an error of the system, without the number that the standard library adds.
fn io_text(error: &io::Error) -> String {
    if error.raw_os_error().is_some() {
        error.kind().to_string()
    } else {
        error.to_string()
    }
}

/// Writes a number of bytes for people: `31.2 MiB`, `16 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(3);
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    let name = UNITS[unit as usize];
    if tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// The fault of a certificate. The text has none of the names in it, which may be names of the network inside.
fn words(error: &CertificateError) -> &'static str {
    if matches!(error, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        "it has expired"
    } else if matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
        "it is one for another name"
    } else if matches!(error, CertificateError::UnknownIssuer) {
        "no authority that this server trusts has issued it"
    } else {
        "it is not valid"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expect) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (16 << 20, "16 MiB"),
            (32_715_571, "31.1 MiB"),
            (1 << 30, "1 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }

    #[test]
    fn messages_name_limits() {
        assert_eq!(Failure::timed_out(Duration::from_secs(10)).told, "timed out after 10 s");
        assert_eq!(Failure::timed_out(Duration::from_millis(250)).told, "timed out after 0.25 s");
        assert_eq!(Failure::too_large(Some(31 << 20), 16 << 20).told, "is 31 MiB, limit 16 MiB");
        assert_eq!(Failure::too_large(Some((16 << 20) + 1), 16 << 20).told, "is 16777217 bytes, limit 16777216 bytes");
    }

    #[test]
    fn failures_that_may_pass_are_told_from_those_that_stay() {
        let limit = Duration::from_secs(10);
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(Failure::answered(StatusCode::from_u16(status).unwrap()).code, Code::Aborted, "{status}");
        }
        for status in [204, 206, 304, 400, 401, 403, 404, 410, 451, 501] {
            assert_eq!(Failure::answered(StatusCode::from_u16(status).unwrap()).code, Code::FailedPrecondition, "{status}");
        }
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::UnexpectedEof, io::ErrorKind::HostUnreachable] {
            assert_eq!(Failure::of_connecting(&kind.into(), limit).code, Code::Aborted, "{kind}");
        }
        let late = Failure::of_connecting(&io::ErrorKind::TimedOut.into(), limit);
        assert_eq!(
            (late.outcome, late.code, late.told.as_str()),
            (Outcome::TimedOut, Code::DeadlineExceeded, "timed out after 10 s")
        );
    }
}
