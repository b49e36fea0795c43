//! Tests of the words and the codes of failures, from the errors of each library that a fetch goes through.

use std::io;
use std::time::Duration;

use actix_http::error::ParseError;
use awc::error::{PayloadError, SendRequestError};
use tfweb_engine::Code;
use tokio_rustls::rustls::{CertificateError, Error};

use super::counters::Outcome;
use super::failure::Failure;
use super::malformed::Malformed;
use super::rules::Refusal;

const LIMIT: Duration = Duration::from_secs(10);

#[track_caller]
fn check(failure: &Failure, outcome: Outcome, code: Code, told: &str) {
    assert_eq!((failure.outcome, failure.code, failure.told.as_str()), (outcome, code, told));
}

/// A failure that may have passed at the next try.
#[track_caller]
fn passing(failure: &Failure, told: &str) {
    check(failure, Outcome::Failed, Code::Aborted, told);
}

/// A failure that stays.
#[track_caller]
fn lasting(failure: &Failure, told: &str) {
    check(failure, Outcome::Failed, Code::FailedPrecondition, told);
}

fn malformed() -> io::Error {
    Malformed::new("its head is no head").into()
}

#[test]
fn the_fault_of_a_certificate_is_told_without_its_names() {
    for (fault, expected) in [
        (CertificateError::Expired, "it has expired"),
        (CertificateError::NotValidForName, "it is one for another name"),
        (CertificateError::UnknownIssuer, "no authority that this server trusts has issued it"),
        (CertificateError::BadEncoding, "it is not valid"),
    ] {
        let error = io::Error::other(Error::InvalidCertificate(fault));
        lasting(&Failure::of_connecting(&error, LIMIT), &format!("has no certificate to trust: {expected}"));
    }
    let error = io::Error::other(Error::HandshakeNotComplete);
    lasting(&Failure::of_connecting(&error, LIMIT), "failed its TLS handshake: handshake not complete");
}

#[test]
fn an_error_of_the_system_is_told_without_its_number() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused).to_string();
    let of_system = io::Error::from_raw_os_error(111);
    assert!(of_system.to_string().contains("os error 111"), "{of_system}");
    passing(&Failure::of_connecting(&of_system, LIMIT), &format!("could not be reached: {refused}"));
    passing(&Failure::of_connecting(&io::Error::other("no route"), LIMIT), "could not be reached: no route");
}

#[test]
fn an_answer_that_breaks_off_may_be_whole_the_next_time() {
    let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
    for error in [PayloadError::Incomplete(Some(broken())), PayloadError::Io(broken())] {
        passing(&Failure::of_body(&error), "broke off before its end");
    }
    passing(&SendRequestError::Response(ParseError::Io(broken())).into(), "ended the connection without an answer");
    passing(&SendRequestError::Send(io::Error::other("no route")).into(), "broke the connection: no route");
}

#[test]
fn an_answer_that_is_malformed_stays_so() {
    let told = "gave no valid HTTP answer: its head is no head";
    for error in [PayloadError::Incomplete(Some(malformed())), PayloadError::Io(malformed())] {
        lasting(&Failure::of_body(&error), told);
    }
    lasting(&SendRequestError::Response(ParseError::Io(malformed())).into(), told);
    lasting(&SendRequestError::Response(ParseError::Header).into(), &format!("gave no valid HTTP answer: {}", ParseError::Header));
    for error in [PayloadError::Incomplete(None), PayloadError::EncodingCorrupted] {
        lasting(&Failure::of_body(&error), &format!("cannot be read: {error}"));
    }
    let other = SendRequestError::TunnelNotSupported;
    lasting(&SendRequestError::TunnelNotSupported.into(), &format!("could not be reached: {other}"));
}

#[test]
fn a_refusal_is_the_urls_own_fault_or_the_origins() {
    for (refusal, code) in [
        (Refusal::Malformed("empty host".into()), Code::InvalidArgument),
        (Refusal::TooLong(9000), Code::InvalidArgument),
        (Refusal::Scheme, Code::FailedPrecondition),
        (Refusal::Domain, Code::FailedPrecondition),
    ] {
        let failure = Failure::from(refusal.clone());
        check(&failure, Outcome::Refused, code, &refusal.tell());
        assert_eq!(failure.reason, Some(refusal.to_string()), "the log tells more");
    }
}

#[test]
fn a_limit_is_told_with_its_value() {
    let bytes = |bytes| Failure::too_large(bytes, 16 << 20);
    check(&bytes(None), Outcome::TooLarge, Code::OutOfRange, "is larger than the limit of 16 MiB");
    let together = "is one too many: the urls of one request may hold 64 MiB together; raise --url_memory";
    check(&Failure::too_large_together(64 << 20), Outcome::TooLarge, Code::OutOfRange, together);
    let queue = "was not fetched: 512 urls wait to be fetched (limit 512); retry after 1 s or raise --queue_size";
    check(&Failure::queue_full(512), Outcome::Overloaded, Code::Unavailable, queue);
    let memory = "waited 10 s for memory (limit --url_memory); retry after 1 s";
    check(&Failure::no_memory(LIMIT), Outcome::Overloaded, Code::Unavailable, memory);
}

#[test]
fn only_a_wait_that_took_all_its_time_is_late() {
    assert!(Failure::timed_out(LIMIT).is_late && Failure::no_memory(LIMIT).is_late);
    let others = [Failure::failed("a"), Failure::passing("b"), Failure::gave_way(), Failure::queue_full(1), Failure::panicked()];
    assert!(others.iter().all(|failure| !failure.is_late && failure.reason.is_none()));
    check(&others[4], Outcome::Failed, Code::Internal, "could not be fetched: the fetcher panicked; this is a bug");
}
