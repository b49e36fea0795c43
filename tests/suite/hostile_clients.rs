//! Clients over HTTP that want to fill the memory of a server, to hold its threads, or to keep it from stopping.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use flate2::Compression;
use serde_json::json;

use crate::client::{Connection, Request};
use crate::frames::{frame, post_head, Frames, DATA, END_STREAM, HEADERS, SETTINGS};
use crate::process::Process;
use crate::support::until;

const KITCHEN: &str = "--model tests/models/kitchen";
/// The memory that README states for HTTP beside models.
const REQUESTS_MIB: u64 = 1024 + 64;
const CONNECTIONS: u64 = 8192;
const CONNECTION_KIB: u64 = 64;
/// How soon a server must end whose clients read nothing: far less than `--drain_timeout_ms`, which is 30 s.
const STOP_MAX: Duration = Duration::from_secs(20);
/// An answer of this size does not fit the system's buffers: part of it is in the server until the client reads.
const LARGE_ROWS: usize = 500_000;

/// The connections of a storm, and how many its clients keep open: more than a server with few descriptors has.
const STORM: usize = 20_000;
const OPEN_AT_ONCE: usize = 300;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// The body of a request with 10 MB of numbers, in some 20 KB. Its answer is as large.
fn bomb() -> Vec<u8> {
    let body = [&br#"{"x":["#[..], &b"[0,0],".repeat(1_700_000), b"[0,0]]}"].concat();
    gzip(&body)
}

fn peak_kib(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its largest resident size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of kB")
}

/// Sends bytes, as far as the server takes them within a moment.
fn push(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("an open socket");
    let _ = stream.write_all(bytes);
    stream
}

/// Begins with HTTP/2 and asks for answers for which the server gets no window.
fn window_of_nothing(address: SocketAddr, requests: u32) -> Frames {
    let mut frames = Frames::open(address);
    frames.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).expect("the server takes settings");
    for number in 0..requests {
        let stream = 2 * number + 1;
        let head = post_head(stream, "/echo_uint64", &[]);
        let body = frame(DATA, END_STREAM, stream, br#"{"x":[[1,2],[3,4]]}"#);
        frames.send(&[head, body].concat()).expect("the server takes a request");
    }
    frames
}

fn get_livez(address: SocketAddr) -> u16 {
    Connection::open(address).and_then(|mut connection| connection.call(&Request::get("/livez"))).map_or(0, |answer| answer.status)
}

#[test]
fn the_worst_of_http_stays_below_what_the_readme_states() {
    let process = Process::serve(KITCHEN);
    let address = process.address();
    assert_eq!(get_livez(address), 200);
    let before = peak_kib(&process);
    let (bomb, pair) = (bomb(), "[12345678901234567890,12345678901234567890],".repeat(40_000));
    let pipelined = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40_000);
    let declares = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n";
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", format!("x: {}\r\n", "a".repeat(2000)).repeat(15));
    let unread = format!(r#"{{"x":[{}[1,2]]}}"#, pair);
    let unread = format!("POST /echo_uint64 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{unread}", unread.len());
    let chunks =
        format!("{}{}", "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\naaaaaaaa\r\n".repeat(9999));
    let statuses = thread::scope(|scope| {
        let bombs: Vec<_> = (0..6)
            .map(|_| {
                let request = Request::post("/echo_float64", bomb.clone()).header("Content-Encoding", "gzip");
                scope.spawn(move || Connection::open(address).and_then(|mut open| open.call(&request)).map(|answer| answer.status))
            })
            .collect();
        let mut held = Vec::new();
        held.extend((0..16).map(|_| push(address, pipelined.as_bytes())));
        held.extend((0..150).map(|_| push(address, declares.as_bytes())));
        held.extend((0..500).map(|_| push(address, head.as_bytes())));
        held.extend((0..30).map(|_| push(address, unread.as_bytes())));
        held.extend((0..16).map(|_| push(address, chunks.as_bytes())));
        let windows: Vec<Frames> = (0..16).map(|_| window_of_nothing(address, 200)).collect();
        assert_eq!(get_livez(address), 200, "it is alive beside them");
        // Silent clients take no room, however much they declare.
        let request = Request::post("/echo_float64", format!(r#"{{"x":[{}[1,2]]}}"#, "[1,2],".repeat(2000)));
        let beside = Connection::open(address).and_then(|mut open| open.call(&request)).expect("an answer").status;
        assert!([200, 503, 504].contains(&beside), "{beside}");
        let statuses: Vec<u16> = bombs.into_iter().map(|bomb| bomb.join().expect("no panic").expect("an answer")).collect();
        drop((held, windows));
        statuses
    });
    // A debug build on a busy machine may have no time for all of them.
    assert!(statuses.iter().all(|status| [200, 503, 504].contains(status)), "{statuses:?}");
    let stated = (REQUESTS_MIB << 10) + CONNECTIONS * CONNECTION_KIB;
    let grown = peak_kib(&process) - before;
    eprintln!("{grown} KiB at most beside {before}, and {stated} stated; {statuses:?}");
    assert!(grown < stated, "{grown} KiB of {stated}");
    assert_eq!(get_livez(address), 200);
}

/// Sends signals to a server whose client does nothing any more, and checks how it ends.
#[track_caller]
fn check_is_let_go<C>(flags: &str, client: impl FnOnce(&Process) -> C) {
    let mut process = Process::serve(flags);
    let client = client(&process);
    let begun = Instant::now();
    process.signal("TERM");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(begun.elapsed() < STOP_MAX, "{:?}: {stderr:#?}", begun.elapsed());
    drop(client);
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_a_stop() {
    check_is_let_go("--model tests/models/half_plus_two --request_timeout_ms 60000", |process| {
        let mut connection = process.connect();
        connection.send(&Request::post("/", json!({ "x": vec![1.25; LARGE_ROWS] }).to_string())).expect("the server reads it");
        connection.until_answered();
        connection
    });
}

#[test]
fn a_client_that_makes_no_window_does_not_hold_a_stop() {
    check_is_let_go(KITCHEN, |process| {
        let mut frames = window_of_nothing(process.address(), 3);
        frames.until(HEADERS);
        frames
    });
}

#[test]
fn a_small_request_beside_bodies_that_inflate_is_not_late() {
    let process = Process::serve(KITCHEN);
    let (address, bomb) = (process.address(), bomb());
    let small = Request::post("/echo_uint64", r#"{"x":[[1,2]]}"#);
    let mut times = thread::scope(|scope| {
        for _ in 0..8 {
            let request = Request::post("/echo_float64", bomb.clone()).header("Content-Encoding", "gzip");
            scope.spawn(move || Connection::open(address).and_then(|mut open| open.call(&request)));
        }
        let mut connection = process.connect();
        let time = |connection: &mut Connection| {
            let begun = Instant::now();
            assert_eq!(connection.call(&small).expect("an answer").status, 200);
            begun.elapsed()
        };
        (0..200).map(|_| time(&mut connection)).collect::<Vec<_>>()
    });
    times.sort();
    eprintln!("median {:?}, 99 of 100 within {:?}, at most {:?}", times[100], times[198], times[199]);
    // This is a debug build on a machine with other work. In the median, nobody waits for a body.
    assert!(times[100] < Duration::from_millis(50), "{:?}", times[100]);
}

#[test]
fn a_server_with_few_descriptors_goes_on_answering() {
    let process = Process::limited(256, "--model tests/models/half_plus_two").ready();
    let address = process.address();
    let mut silent: Vec<TcpStream> = (0..300).filter_map(|_| TcpStream::connect(address).ok()).collect();
    until("a request is answered beside them", || get_livez(address) == 200);
    let mut byte = [0];
    let first = &mut silent[0];
    first.set_read_timeout(Some(Duration::from_secs(60))).expect("an open socket");
    assert!(matches!(first.read(&mut byte), Ok(0) | Err(_)), "the first one made room");
}

#[test]
fn beside_a_storm_of_connections_the_admin_port_answers() {
    let admin = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let process = Process::limited(256, &format!("--model tests/models/half_plus_two --admin_port {}", admin.port())).ready();
    let (address, is_over) = (process.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = VecDeque::new();
            for _ in (0..STORM).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                silent.extend(TcpStream::connect(address));
                silent.drain(..silent.len().saturating_sub(OPEN_AT_ONCE));
            }
        });
        (0..20).for_each(|_| assert_eq!(get_livez(admin), 200));
        is_over.store(true, Ordering::Relaxed);
    });
}
