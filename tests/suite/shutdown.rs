//! How the `tfweb` process ends: which requests it still answers, how soon it ends, and with which exit code.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::client::{Connection, Request};
use crate::gated::Gated;
use crate::process::Process;
use crate::support::{until, RunningServer};

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";
const KITCHEN: &str = "--model tests/models/kitchen --batch_size 1";

/// How soon a second signal must end the process: far less than the request that it cuts short would take.
const SECOND_SIGNAL_MAX: Duration = Duration::from_secs(5);
/// How soon a server that nobody uses must end after a signal: idle connections are no reason to wait.
const IDLE_STOP_MAX: Duration = Duration::from_secs(5);
/// How soon a stop of a second must be over: far sooner than the requests that it cuts off would be.
const CUT_OFF_MAX: Duration = Duration::from_secs(10);
/// How often a server is stopped under load, for a loss that needs a coincidence.
const STOPS: usize = 5;
/// An answer of this size does not fit the system's buffers: part of it is in the server until the client reads.
const LARGE_ROWS: usize = 500_000;

/// Sends the head of a request and waits until the server asks for the body: it has read the head, and owes an answer.
fn begin(connection: &mut Connection, request: &Request) -> io::Result<()> {
    connection.send_bytes(&request.clone().header("Expect", "100-continue").head())?;
    let response = connection.receive()?;
    assert_eq!(response.status, 100, "{response:?}");
    Ok(())
}

/// Begins `count` requests that each take about `loops` milliseconds.
fn in_flight(process: &Process, count: usize, loops: usize) -> Vec<Connection> {
    let request = Request::post("/slow", json!({ "loops": [loops] }).to_string());
    (0..count).map(|_| send(process, &request)).collect()
}

/// Sends a request whose head the server has read, and waits for no answer.
fn send(process: &Process, request: &Request) -> Connection {
    let mut connection = process.connect();
    begin(&mut connection, request).unwrap();
    connection.send_bytes(&request.body).unwrap();
    connection
}

#[track_caller]
fn check_requests_in_flight_are_answered(signal: &str) {
    let mut process = Process::serve(KITCHEN);
    let connections = in_flight(&process, 8, 100);
    process.signal(signal);
    for mut connection in connections {
        let response = connection.receive().expect("a whole answer");
        assert_eq!((response.status, response.text()), (200, r#"{"rows":[1]}"#.into()));
    }
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains(&format!("SIG{signal}"))), "{stderr:#?}");
}

#[test]
fn requests_in_flight_at_sigterm_are_answered() {
    check_requests_in_flight_are_answered("TERM");
}

#[test]
fn requests_in_flight_at_sigint_are_answered() {
    check_requests_in_flight_are_answered("INT");
}

/// How the requests of clients ended, while the server stopped.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    /// Read by the server, and the connection ended before the whole answer.
    lost: AtomicUsize,
}

/// Posts on a connection kept alive until the server takes no more.
fn post_until_refused(address: SocketAddr, tally: &Tally) {
    let request = Request::post("/", r#"{"x": [1]}"#);
    let mut kept = None;
    while let Some(mut connection) = kept.take().or_else(|| Connection::open(address).ok()) {
        // Before that a connection may end: it was idle, or nobody had accepted it. HTTP clients then open another.
        if begin(&mut connection, &request).is_err() {
            continue;
        }
        let Ok(response) = connection.send_bytes(&request.body).and_then(|()| connection.receive()) else {
            tally.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        assert_eq!((response.status, response.text()), (200, r#"{"y":[2.5]}"#.into()));
        tally.answered.fetch_add(1, Ordering::Relaxed);
        kept = (response.header("connection") != Some("close")).then_some(connection);
    }
}

#[track_caller]
fn check_no_request_is_lost(signal: &str) {
    let mut process = Process::serve(HALF_PLUS_TWO);
    let (tally, address) = (Tally::default(), process.address());
    let (status, stderr) = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| post_until_refused(address, &tally));
        }
        until("the clients are at work", || tally.answered.load(Ordering::Relaxed) >= 500);
        process.signal(signal);
        process.ended()
    });
    assert_eq!((tally.lost.into_inner(), status.code()), (0, Some(0)), "{stderr:#?}");
}

#[test]
fn sigterm_under_load_loses_no_request() {
    check_no_request_is_lost("TERM");
}

#[test]
fn sigint_under_load_loses_no_request() {
    check_no_request_is_lost("INT");
}

/// Posts, each request on a connection of its own, until none can be opened; gives the first error of a request that was sent.
fn post_on_new_connections(address: SocketAddr, answered: &AtomicUsize) -> io::Result<()> {
    let request = Request::post("/", r#"{"x": [1]}"#);
    while let Ok(mut connection) = Connection::open(address) {
        assert_eq!(connection.call(&request)?.status, 200);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn a_request_on_a_connection_that_could_be_opened_is_answered() {
    for _ in 0..STOPS {
        let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), "");
        let (answered, address) = (AtomicUsize::new(0), server.address);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| post_on_new_connections(address, &answered))).collect();
            until("the clients are at work", || answered.load(Ordering::Relaxed) >= 500);
            drop(server);
            for client in clients {
                client.join().unwrap().expect("an answer to each request that was sent");
            }
        });
    }
}

#[test]
fn a_server_that_stops_answers_every_request_that_it_runs() {
    let session = Gated::new(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)));
    let server = RunningServer::of(session.clone(), "");
    let (tally, address) = (Tally::default(), server.address);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| post_until_refused(address, &tally));
        }
        until("the clients are at work", || tally.answered.load(Ordering::Relaxed) >= 500);
        drop(server);
    });
    let (answered, lost) = (tally.answered.into_inner(), tally.lost.into_inner());
    assert_eq!((session.run_rows().iter().sum::<usize>(), lost), (answered, 0));
}

#[test]
fn the_last_answer_on_a_connection_says_so() {
    let mut process = Process::serve(KITCHEN);
    let mut connections = in_flight(&process, 1, 300);
    process.signal("TERM");
    process.until_says("SIGTERM");
    let response = connections[0].receive().unwrap();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
}

#[test]
fn a_body_still_on_its_way_at_sigterm_is_read() {
    let mut process = Process::serve(HALF_PLUS_TWO);
    let request = Request::post("/", r#"{"x": [1]}"#);
    let mut connection = process.connect();
    begin(&mut connection, &request).unwrap();
    connection.send_bytes(&request.body[..3]).unwrap();
    process.signal("TERM");
    process.until_says("SIGTERM");
    connection.send_bytes(&request.body[3..]).unwrap();
    assert_eq!(connection.receive().unwrap().text(), r#"{"y":[2.5]}"#);
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_large_answer_on_its_way_at_sigterm_comes_whole() {
    let mut process = Process::serve("--model tests/models/half_plus_two --request_timeout_ms 60000");
    let mut connection = process.connect();
    connection.send(&Request::post("/", json!({ "x": vec![1.25; LARGE_ROWS] }).to_string())).unwrap();
    connection.until_answered();
    process.signal("TERM");
    process.until_says("SIGTERM");
    let answer = connection.receive().expect("a whole answer");
    assert_eq!(answer.json()["y"].as_array().map(Vec::len), Some(LARGE_ROWS));
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn an_idle_connection_does_not_delay_the_end() {
    let mut process = Process::serve(HALF_PLUS_TWO);
    let mut idle = process.connect();
    assert_eq!(idle.call(&Request::get("/livez")).unwrap().status, 200);
    let _silent = process.connect();
    let mut slow = process.connect();
    slow.send_bytes(b"POST / HTTP/1.1\r\nHost: ").unwrap();
    let start = Instant::now();
    process.signal("TERM");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(start.elapsed() < IDLE_STOP_MAX, "{:?}: {stderr:#?}", start.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut process = Process::serve(KITCHEN);
    let _connections = in_flight(&process, 1, 30_000);
    process.signal("TERM");
    process.until_says("SIGTERM");
    assert!(process.is_running(), "it waits for the request");
    let start = Instant::now();
    // The server takes a signal that comes right behind the first for the same wish. So the test sends more than one.
    until("the process has ended", || {
        process.signal("TERM");
        !process.is_running()
    });
    let (status, stderr) = process.ended();
    assert!(start.elapsed() < SECOND_SIGNAL_MAX, "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(130), "{stderr:#?}");
}

#[test]
fn clients_that_wait_find_nothing_listening_after_the_end() {
    let mut process = Process::serve(HALF_PLUS_TWO);
    let address = process.address();
    process.signal("TERM");
    process.ended();
    assert_eq!(Connection::open(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn it_serves_on_while_it_drains() {
    let mut process = Process::serve(&format!("{HALF_PLUS_TWO} --drain_delay_ms 1500"));
    let mut kept = process.connect();
    let request = Request::post("/", r#"{"x": [1]}"#);
    assert_eq!(kept.call(&request).unwrap().header("connection"), None);
    process.signal("TERM");
    process.until_says("SIGTERM");
    let ready = process.connect().call(&Request::get("/readyz")).unwrap();
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("draining")));
    assert_eq!(process.connect().call(&Request::get("/livez")).unwrap().status, 200, "no reason to kill it");
    let last = kept.call(&request).unwrap();
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert_eq!(process.connect().call(&request).unwrap().status, 200, "new connections too");
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_connection_opened_during_the_drain_is_told_to_close_after_it() {
    let mut process = Process::serve(&format!("{HALF_PLUS_TWO} --drain_delay_ms 1500"));
    process.signal("TERM");
    process.until_says("SIGTERM");
    let mut connection = process.connect();
    let request = Request::post("/", r#"{"x": [1]}"#);
    assert_eq!(connection.call(&request).unwrap().header("connection"), None, "it would only come back");
    until("it is told to close", || connection.call(&request).unwrap().header("connection") == Some("close"));
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_short_limit_cuts_off_no_connection_without_a_request() {
    let mut process = Process::serve(&format!("{HALF_PLUS_TWO} --drain_timeout_ms 300"));
    let _silent = process.connect();
    let mut idle = process.connect();
    assert_eq!(idle.call(&Request::get("/livez")).unwrap().status, 200);
    process.signal("TERM");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
}

#[test]
fn what_takes_too_long_is_cut_off_and_said() {
    let mut process = Process::serve(&format!("{KITCHEN} --drain_timeout_ms 1000"));
    let _native = in_flight(&process, 1, 60_000);
    let body = json!({ "signature_name": "slow", "inputs": { "loops": [60_000] } });
    let _rest = send(&process, &Request::post("/v1/models/kitchen:predict", body.to_string()));
    let start = Instant::now();
    process.signal("TERM");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(75), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains("cut off 2 requests")), "{stderr:#?}");
    assert!((Duration::from_secs(1)..CUT_OFF_MAX).contains(&start.elapsed()), "{:?}", start.elapsed());
}
