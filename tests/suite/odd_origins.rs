//! URL inputs that lead to hostile, broken or old servers, or to servers whose certificates are not to be trusted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tfweb_actors::fetcher::{FetchPolicy, Outcome};
use tfweb_engine::Code;

use crate::client::Request;
use crate::fetcher::{check_refused, fetch, policy, with_fetcher, Names};
use crate::origin::Origin;
use crate::process::Process;
use crate::store_servers::PythonServer;
use crate::support::RunningServer;
use crate::tls::{self, Authority, Sessions};
use crate::urls::{check_error, lengths, KITCHEN};

#[test]
fn bodies_come_whole_or_not_at_all() {
    let origin = Origin::start();
    let server = RunningServer::shared(KITCHEN);
    let text = |path: &str| {
        let x = json!({"x": [[{"url": origin.url(path)}, ""]]});
        server.call(&Request::post("/echo_string", x.to_string()))
    };
    assert_eq!(text("/gzip/inflated").json()["y"][0][0], "inflated");
    assert_eq!(text("/chunked").json()["y"][0][0], "chunked");
    let response = text("/until-end");
    assert_eq!(response.json()["y"][0][0], "until the end", "{response:?}");
    check_error(&text("/cut"), 502, "broke off before its end");
    check_error(&text("/cut-chunks"), 502, "broke off before its end");
    check_error(&text("/br"), 400, "came as \"br\"");
    check_error(&text("/noise"), 400, "gave no valid HTTP answer");
    check_error(&text("/head"), 400, "gave no valid HTTP answer");
    for (status, told) in
        [(201, 400), (204, 400), (206, 400), (304, 400), (400, 400), (404, 400), (429, 502), (500, 502), (503, 502)]
    {
        check_error(
            &text(&format!("/status/{status}")),
            told,
            &format!("{}\": answered {status}", origin.url(&format!("/status/{status}"))),
        );
    }
}

/// Everything that a hostile server may do, against a process whose memory is watched.
#[test]
fn hostile_servers_cost_an_error_each_and_no_memory() {
    let origin = Origin::start();
    let process = Process::serve(&format!("{KITCHEN} --url_timeout_ms 1000"));
    let call = |path: &str| process.connect().call(&lengths(&[origin.url(path)])).expect("an answer");
    let gigabyte = 1 << 30;
    assert_eq!(call("/size/100000").status, 200);
    let before = process.resident_kib();
    let mut most = before;
    for (path, status, expect) in [
        (format!("/declared/{gigabyte}"), 413, "is 1 GiB, limit 16 MiB"),
        (format!("/undeclared/{gigabyte}"), 413, "is larger than the limit of 16 MiB"),
        ("/bomb".into(), 413, "is larger than the limit of 16 MiB"),
        ("/drip/1000".into(), 504, "timed out after 1 s"),
        ("/drip/1".into(), 504, "timed out after 1 s"),
        ("/silent".into(), 504, "timed out after 1 s"),
        ("/reset".into(), 502, "ended the connection without an answer"),
        ("/loop".into(), 400, "redirects more than 3 times"),
        ("/status/404".into(), 400, "answered 404"),
    ] {
        let start = Instant::now();
        let response = call(&path);
        assert!(start.elapsed() < Duration::from_secs(5), "{path}: {:?}", start.elapsed());
        check_error(&response, status, expect);
        check_error(&response, status, &format!("url \"{}\"", origin.url(&path)));
        most = most.max(process.resident_kib());
    }
    let secure = origin.url("/x").replace("http:", "https:");
    check_error(&process.connect().call(&lengths(&[secure])).expect("an answer"), 502, "could not be reached: tls handshake eof");
    eprintln!("{} KiB resident before, {most} KiB at most", before);
    assert!(most - before < 64 << 10, "{before} KiB before, {most} KiB at most");
    // Bound, so that nobody else gets the port, and not listening.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let port = bound.local_addr().expect("a port").as_socket().expect("an address").port();
    let response = process.connect().call(&lengths(&[format!("http://127.0.0.1:{port}/x")])).expect("an answer");
    check_error(&response, 502, "could not be reached: connection refused");
}

#[test]
fn servers_are_verified() {
    let (authority, place) = (Authority::new("trusted"), tempfile::tempdir().expect("a directory"));
    let trusted = place.path().join("trusted.pem");
    std::fs::write(&trusted, authority.pem()).expect("a file");
    let serve = |config: Arc<ServerConfig>| {
        let wire = move |tcp| tls::accept(&config, tcp);
        Origin::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), wire)
    };
    let sessions = Arc::new(Sessions::default());
    let mut resumable = Arc::unwrap_or_clone(authority.server("localhost", 2100));
    resumable.session_storage = sessions.clone();
    let good = serve(resumable.into());
    let by_address = serve(authority.server("127.0.0.1", 2100));
    let expired = serve(authority.server("localhost", 2001));
    let misnamed = serve(authority.server("example.org", 2100));
    let unknown = serve(Authority::new("another").server("localhost", 2100));
    let variables = [("SSL_CERT_FILE", trusted.to_str().expect("a path"))];
    let flags = format!("--host 127.0.0.1 --port 0 {KITCHEN} --url_allow localhost");
    let process = Process::start(&flags, &variables).ready();
    let call = |host: &str, origin: &Origin, path: &str| {
        let url = format!("https://{host}:{}{path}", origin.address.port());
        process.connect().call(&lengths(&[url])).expect("an answer")
    };
    assert_eq!(call("localhost", &good, "/size/100000").json(), json!({"bytes": [100_000]}));
    assert_eq!(good.header("host"), Some(format!("localhost:{}", good.address.port())));
    assert_eq!(call("localhost", &good, "/text/again").json(), json!({"bytes": [5]}));
    assert_eq!((good.connections(), sessions.resumed()), (2, 1), "a new connection resumes the TLS session of the last");
    assert_eq!(call("127.0.0.1", &by_address, "/size/3").json(), json!({"bytes": [3]}));
    check_error(&call("localhost", &good, "/cut"), 502, "broke off before its end");
    for (origin, expect) in [(&expired, "it has expired"), (&misnamed, "for another name"), (&unknown, "no authority that")] {
        let response = call("localhost", origin, "/size/1");
        check_error(&response, 400, "has no certificate to trust: ");
        check_error(&response, 400, expect);
        assert_eq!(origin.gets("/size/1"), 0);
    }
    let plain = Origin::start();
    let down = format!("/to/{}", plain.url("/text/plain"));
    check_error(&call("localhost", &good, &down), 400, "is not allowed; it redirects from https to http");
    assert_eq!(plain.connections(), 0, "https does not lead to http");
}

#[test]
fn each_connection_is_used_once() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    for round in 0..50 {
        let urls = ["size", "once", "early/103", "chunked"].map(|kind| origin.url(&format!("/{kind}/{round}")));
        assert_eq!(server.call(&lengths(&urls)).status, 200);
    }
    assert_eq!(origin.header("connection"), Some("close".into()));
    assert_eq!((origin.requests(), origin.connections()), (200, 200));
    origin.until_open(0);
}

#[test]
fn a_second_answer_is_not_taken_for_the_next_requests() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    for i in 0..20 {
        for (path, expect) in [(format!("/late/{i}"), "in time".to_owned()), (format!("/text/{i}"), i.to_string())] {
            let x = json!({ "x": [[{ "url": origin.url(&path) }, ""]] });
            let response = server.call(&Request::post("/echo_string", x.to_string()));
            assert_eq!(response.json(), json!({ "y": [[expect, ""]] }), "{response:?}");
        }
    }
}

#[test]
fn interim_answers_are_not_taken_for_answers() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    for i in 0..100 {
        let interim = ["103", "100", "102,103,100,103"][i % 3];
        let (early, plain) = (format!("/early/{interim}/{i}"), format!("/text/{i}"));
        let x = json!({ "x": [[{ "url": origin.url(&early) }, { "url": origin.url(&plain) }]] });
        let response = server.call(&Request::post("/echo_string", x.to_string()));
        assert_eq!(response.json(), json!({ "y": [[early, i.to_string()]] }), "{response:?}");
    }
}

#[test]
fn origins_of_http_1_0_fail_no_request() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    for round in 10..110 {
        let urls: Vec<String> = (10..74).map(|i| origin.url(&format!("/old/{round}/{i}"))).collect();
        let response = server.call(&lengths(&urls));
        let bytes: Vec<usize> = (10..74).map(|i| format!("/old/{round}/{i}").len()).collect();
        assert_eq!(response.json(), json!({ "bytes": bytes }), "{response:?}");
    }
    assert_eq!(origin.connections(), 6400, "each is used once");
}

#[test]
fn pythons_web_server_fails_no_request() {
    let python = PythonServer::start("files.py", &[Path::new("examples/digits_images")]);
    let bytes = std::fs::read("examples/digits_images/7.png").expect("an image").len();
    let server = RunningServer::start(KITCHEN);
    for round in 0..10 {
        let urls: Vec<String> = (0..64).map(|i| format!("http://{}/7.png?{round}-{i}", python.address)).collect();
        let response = server.call(&lengths(&urls));
        assert_eq!(response.json(), json!({ "bytes": vec![bytes; 64] }), "{response:?}");
    }
}

#[test]
fn a_request_without_a_valid_answer_is_not_sent_again() {
    let origin = Origin::start();
    let server = RunningServer::shared(KITCHEN);
    let malformed = "gave no valid HTTP answer: ";
    for (path, begins, expect) in [
        ("/noise", malformed, r#"it begins with "this ", expected "HTTP/""#),
        ("/bad-chunks", malformed, "behind the data of a chunk is 'k', expected the end of the line"),
        ("/interim", malformed, "its head is longer than 262144 bytes"),
        ("/head", malformed, "its head is longer than 262144 bytes"),
        ("/reset", "", "ended the connection without an answer"),
    ] {
        let status = if begins.is_empty() { 502 } else { 400 };
        check_error(&server.call(&lengths(&[origin.url(path)])), status, &format!("\": {begins}{expect}"));
        assert_eq!(origin.gets(path), 1, "{path}");
    }
}

#[test]
fn a_name_that_is_allowed_and_not_found_is_told() {
    let names = || Names::of(&[("empty.example", &[&[]])]);
    let flags = "--url_allow known.example,empty.example,*.below.example,10.0.0.0/8,port.example:81";
    with_fetcher(FetchPolicy { resolver: names(), ..policy(flags) }, async |fetcher| {
        for host in ["known.example", "KNOWN.example.", "empty.example", "a.below.example", "port.example:81"] {
            let error = fetch(fetcher, &format!("http://{host}/a")).await.expect_err("no such host");
            let told = error.message.ends_with(": could not be reached: the name of its host was not found");
            assert!(error.code == Code::Aborted && told, "{host}: {error:?}");
        }
        // These answers must not depend on the names that the network inside has.
        for host in ["unknown.example", "below.example", "port.example"] {
            check_refused(&fetch(fetcher, &format!("http://{host}/a")).await);
        }
        let count = |outcome| fetcher.observe().count(outcome);
        assert_eq!((count(Outcome::Failed), count(Outcome::Refused)), (5, 3));
    });
}
