//! HTTP/1.1 as clients speak it, byte by byte: heads and bodies that no library would send, and what few servers expect.

use std::io;
use std::sync::Arc;

use serde_json::json;
use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::client::{Connection, Request, Response};
use crate::process::Process;
use crate::support::RunningServer;

const GET: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

fn fake(flags: &str) -> RunningServer {
    RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), flags)
}

fn send(server: &RunningServer, bytes: &[u8]) -> Connection {
    let mut connection = server.connect();
    // The server may close before it has taken all of them. The test looks at its answer.
    let _ = connection.send_bytes(bytes);
    connection
}

/// Checks that an answer has the status, tfweb's form of errors, and a request id.
#[track_caller]
fn check_form(answer: &Response, status: u16, code: &str, words: &str, case: &str) {
    let id = answer.header("x-request-id").unwrap_or_default();
    assert!(answer.status == status && !id.is_empty(), "{case}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
    let body = answer.json();
    assert_eq!(body["code"], json!(code), "{case}");
    assert!(body["error"].as_str().is_some_and(|text| text.contains(words)), "{case}: {body}");
}

#[track_caller]
fn check_ended(connection: &mut Connection, case: &str) {
    let end = connection.receive().expect_err("no further answer");
    assert_eq!((end.kind(), end.to_string().as_str()), (io::ErrorKind::UnexpectedEof, "nothing"), "{case}");
}

#[test]
fn a_head_that_cannot_be_read_is_refused_in_tfwebs_form() {
    let server = fake("");
    let malformed = (400, "INVALID_ARGUMENT", "malformed HTTP request: ");
    let large = (431, "OUT_OF_RANGE", "expected at most 32768 bytes and 100 headers");
    let get = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes();
    let headers: String = (0..110).map(|i| format!("x-{i}: 1\r\n")).collect();
    // One that comes at once may pass with up to three times the limit, the size of a read.
    let long = format!("x: {}\r\n", "a".repeat(300_000));
    let cases = [
        ("no request", b"hello\r\n\r\n".to_vec(), malformed),
        ("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), malformed),
        ("another version", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_vec(), malformed),
        ("no version", b"GET /\r\n\r\n".to_vec(), malformed),
        ("a space in a path", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), malformed),
        ("a path without its slash", b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), malformed),
        ("a space in a name", get("a b: c\r\n"), malformed),
        ("a length of letters", get("Content-Length: abc\r\n"), malformed),
        ("a length below zero", get("Content-Length: -1\r\n"), malformed),
        ("two lengths", get("Content-Length: 1\r\nContent-Length: 2\r\n"), malformed),
        ("an unknown coding", get("Transfer-Encoding: gzip\r\n"), malformed),
        ("many headers", get(&headers), large),
        ("a large header", get(&long), large),
        ("a large path", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(300_000)).into_bytes(), large),
    ];
    for (case, head, (status, code, words)) in cases {
        for before in [0, 1, 3] {
            let mut connection = send(&server, &[GET.repeat(before).as_bytes(), &head].concat());
            for _ in 0..before {
                let answer = connection.receive().expect("an answer");
                assert_eq!((answer.status, answer.header("connection")), (200, None), "{case}: {answer:?}");
            }
            let refusal = connection.receive().expect("an answer");
            check_form(&refusal, status, code, words, case);
            assert_eq!(refusal.header("connection"), Some("close"), "{case}");
            check_ended(&mut connection, case);
        }
    }
}

#[test]
fn a_request_without_its_one_host_is_refused_in_tfwebs_form() {
    let server = fake("");
    for (hosts, count) in [("", 0), ("Host: a\r\nHost: a\r\n", 2)] {
        let mut connection = send(&server, format!("GET / HTTP/1.1\r\nX-Request-Id: mine\r\n{hosts}\r\n{GET}").as_bytes());
        let refusal = connection.receive().unwrap();
        check_form(&refusal, 400, "INVALID_ARGUMENT", &format!("expected one header Host, got {count}"), hosts);
        assert_eq!(refusal.header("x-request-id"), Some("mine"));
        assert_eq!(connection.receive().unwrap().status, 200, "the connection goes on");
    }
}

#[test]
fn a_path_without_its_slash_is_refused_in_tfwebs_form() {
    let server = fake("");
    let mut connection = send(&server, format!("GET models HTTP/1.1\r\nHost: a\r\n\r\n{GET}").as_bytes());
    let refusal = connection.receive().unwrap();
    check_form(&refusal, 400, "INVALID_ARGUMENT", "expected a path that begins with `/`", "no slash");
    assert_eq!(connection.receive().unwrap().status, 200, "the connection goes on");
}

#[test]
fn a_body_that_cannot_be_read_is_the_clients_fault() {
    let server = fake("");
    for (chunks, words) in [
        ("zz\r\nabc\r\n", "the body cannot be read: invalid chunk size line"),
        ("5\r\n{\"x\":zz\r\n", "the body cannot be read: "),
        ("-1\r\n\r\n", "the body cannot be read: invalid chunk size line"),
        ("ffffffffffffffffff\r\nabc", "the body cannot be read: "),
    ] {
        for path in ["/", "/v1/models/test:predict"] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            let mut connection = send(&server, head.as_bytes());
            let refusal = connection.receive().unwrap();
            assert_eq!((refusal.status, refusal.header("connection")), (400, Some("close")), "{chunks:?}: {refusal:?}");
            let error = refusal.json()["error"].as_str().unwrap_or_default().to_owned();
            assert!(error.contains(words), "{chunks:?}: {error}");
            check_ended(&mut connection, chunks);
        }
    }
}

#[test]
fn ninety_six_headers_are_fine() {
    let server = fake("");
    let request = (0..94).fold(Request::get("/livez"), |request, i| request.header(&format!("x-{i}"), "1"));
    assert_eq!(server.call(&request).status, 200);
}

#[test]
fn an_empty_id_is_none() {
    let server = fake("");
    let id = |sent: &str| {
        let answer = server.call(&Request::get("/livez").header("X-Request-Id", sent));
        answer.header("x-request-id").unwrap_or_default().to_owned()
    };
    let (first, second) = (id(""), id("   "));
    assert!(!first.is_empty() && !second.is_empty() && first != second, "{first:?}, {second:?}");
}

#[test]
fn requests_sent_together_have_each_their_own_connection_header() {
    let server = fake("");
    let closing = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut connection = send(&server, [GET, GET, closing.as_str(), GET].concat().as_bytes());
    let told: Vec<Option<String>> = (0..3).map(|_| connection.receive().unwrap().header("connection").map(str::to_owned)).collect();
    assert_eq!(told, [None, None, Some("close".to_owned())]);
    check_ended(&mut connection, "nothing follows on an answer that closes");
}

#[test]
fn healthz_is_livez_for_those_without_a_token_too() {
    let server = fake("--api_token secret");
    for path in ["/livez", "/healthz"] {
        let answer = server.call(&Request::get(path));
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "live"})), "{path}");
    }
    assert_eq!(server.call(&Request::get("/")).status, 401);
}

#[test]
fn bytes_that_are_no_http_are_no_error_of_the_server() {
    let mut process = Process::serve("--model tests/models/half_plus_two");
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let early = "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n";
    for bytes in [&format!("{http2}junk that is no frame"), early, "\x16\x03\x01\x02\0\x01\0\r\n\r\n", "hello\r\n\r\n"] {
        let mut connection = process.connect();
        connection.send_bytes(bytes.as_bytes()).unwrap();
        // It may answer anything, but it ends the connection.
        while connection.receive().is_ok() {}
    }
    process.signal("TERM");
    let (status, lines) = process.ended();
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
    assert!(status.success() && told.is_empty(), "{status}: {told:?}");
}

#[test]
fn a_request_with_two_kinds_of_length_ends_its_connection() {
    let server = fake("");
    // A proxy that goes by the other length takes this for a part of the first request.
    let smuggled = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
    for lengths in ["Content-Length: 80\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 80"] {
        let body = "a\r\n{\"x\": [1]}\r\n0\r\n\r\n";
        let mut connection = send(&server, format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n{body}{smuggled}").as_bytes());
        let answer = connection.receive().expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{lengths}");
        check_ended(&mut connection, lengths);
    }
}
