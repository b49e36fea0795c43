//! The memory that a server needs, in a process of its own: an idle one beside libtensorflow, and one with many connections and open
//! requests. Real TensorFlow.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use crate::client::Request;
use crate::frames::{frame, numbers, post_head, Frames, CONTINUATION, HEADERS};
use crate::process::Process;
use crate::support::until;

/// The most that tfweb with its model may hold beside libtensorflow.
const IDLE_KIB_MAX: u64 = 40 << 10;

/// The most memory of a connection without requests, as README states: of the HTTP port and of the gRPC port.
const HTTP_CONNECTION_KIB: u64 = 96;
const GRPC_CONNECTION_KIB: u64 = 160;
/// Fewer than a process may open by default.
const CONNECTIONS: usize = 400;
/// The connections with open requests over HTTP/2, and the requests of each. All must come before the first is given up for its body.
const SHARED_CONNECTIONS: usize = 4;
const REQUESTS: u32 = 250;
/// The memory that the threads of a server keep at hand once they have served requests.
const AT_HAND_KIB: u64 = 12 << 10;
const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";

/// Opens the library as tfweb does, and nothing else; prints the KiB of anonymous memory that this took.
const OPEN_ALONE: &str = "
import ctypes, sys
def anonymous():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('RssAnon'))
before = anonymous()
ctypes.CDLL(sys.argv[1])
print(anonymous() - before)
";

/// KiB of a process that lie in memory: all but libtensorflow's own pages, and but the executable's, which in a debug build are
/// several times those of a release (5 MiB).
fn resident_kib(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the maps of a child");
    let (mut file, mut sum) = ("", 0);
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kib = |at: usize| words[at].parse::<u64>().expect("a number of kB");
        match words[0] {
            "Rss:" if !file.contains("libtensorflow") && file != env!("CARGO_BIN_EXE_tfweb") => sum += kib(1),
            // The library's own pages that were written to.
            "Anonymous:" if file.contains("libtensorflow") => sum += kib(1),
            first if first.contains('-') && !first.ends_with(':') => file = words.get(5).copied().unwrap_or(""),
            _ => {}
        }
    }
    sum
}

#[test]
fn an_idle_server_holds_under_40_mb_beside_libtensorflow() {
    let process = Process::serve("--model examples/digits");
    let library: PathBuf = tfweb_engine::tensorflow::load_library(None).expect("libtensorflow");
    let python = Command::new(".venv/bin/python").args(["-c", OPEN_ALONE]).arg(&library).output();
    let opened = python.expect("the Python that has TensorFlow");
    let alone: u64 = String::from_utf8_lossy(&opened.stdout).trim().parse().unwrap_or_else(|_| panic!("{opened:?}"));
    let resident = resident_kib(process.id());
    let beside = resident.saturating_sub(alone);
    eprintln!("{resident} KiB resident, {alone} of libtensorflow's own: {beside} KiB beside it");
    assert!(beside < IDLE_KIB_MAX, "{beside} KiB beside libtensorflow");
}

/// A server with both ports, and the address of each.
fn serve() -> (Process, SocketAddr, SocketAddr) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut process = Process::serve(&format!("--model tests/models/kitchen --grpc_port {port}"));
    process.until_says(&format!("gRPC on 127.0.0.1:{port}"));
    let http = process.address();
    (process, http, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn heads_counted_kib(process: &Process) -> u64 {
    let figures = process.connect().call(&Request::get("/metrics")).expect("an answer").text();
    let line = figures.lines().find(|line| line.starts_with("tfweb_request_memory_bytes{holding=\"heads\"}"));
    let bytes = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).expect("a number of bytes");
    bytes as u64 >> 10
}

fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.write_all(bytes).expect("the server reads");
    stream
}

/// A connection on which a client sends bytes after the greeting of HTTP/2.
fn greet(address: SocketAddr, bytes: &[u8]) -> Frames {
    let mut frames = Frames::open(address);
    frames.send(bytes).expect("the server reads");
    frames
}

/// Opens requests with such heads, without their bodies. Gives what was opened, and the number of requests.
fn open_requests(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (Vec<Frames>, usize) {
    let heads: Vec<u8> = numbers(REQUESTS).flat_map(|stream| post_head(stream, path, headers)).collect();
    ((0..SHARED_CONNECTIONS).map(|_| greet(address, &heads)).collect(), SHARED_CONNECTIONS * REQUESTS as usize)
}

/// Checks what a fresh server takes for heads, each of which counts `bytes_min` and little more: so all of
/// them have come when that much is counted.
fn check_heads<H>(what: &str, bytes_min: usize, connection_kib: u64, open: impl Fn(SocketAddr, SocketAddr) -> (Vec<H>, usize)) {
    let (process, http, grpc) = serve();
    heads_counted_kib(&process);
    let idle = process.resident_kib();
    let (held, requests) = open(http, grpc);
    let (least, mut counted) = ((requests * bytes_min) as u64 >> 10, 0);
    until("all heads are counted", || {
        counted = heads_counted_kib(&process);
        counted >= least
    });
    let grown = process.resident_kib().saturating_sub(idle);
    eprintln!("{what}: {grown} KiB for {requests} heads, {counted} counted");
    let connections = held.len() as u64 * connection_kib;
    assert!(
        grown <= counted + connections + AT_HAND_KIB,
        "{what}: {grown} KiB, {counted} counted and {connections} of connections"
    );
}

#[test]
fn heads_take_no_more_memory_than_is_counted() {
    let (name, value) = ("x".repeat(100), "y".repeat(100));
    let large = vec![(name.as_str(), value.as_str()); 55];
    let names: Vec<String> = (0..300).map(|number| format!("x{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    for (what, headers) in [("large", &large), ("many", &many), ("none", &Vec::new())] {
        let text: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let [grpc_bytes, http_bytes] = [(8 << 10, 256), (16 << 10, 512)].map(|(call, header)| call + text + headers.len() * header);
        check_heads(&format!("gRPC, {what}"), grpc_bytes, GRPC_CONNECTION_KIB, |_, grpc| open_requests(grpc, PREDICT, headers));
        check_heads(&format!("HTTP/2, {what}"), http_bytes, HTTP_CONNECTION_KIB, |http, _| open_requests(http, "/length", headers));
    }
    let fields: String = (0..90).map(|number| format!("x-{number}: {}\r\n", "y".repeat(320))).collect();
    let head = format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n{fields}\r\n{{");
    check_heads("HTTP/1.1", (16 << 10) + 90 * (320 + 512), HTTP_CONNECTION_KIB, |http, _| {
        ((0..CONNECTIONS).map(|_| send(http, head.as_bytes())).collect(), CONNECTIONS)
    });
}

/// Checks what a fresh server takes for connections.
fn check_connections<C>(what: &str, most_kib: u64, connect: impl Fn(SocketAddr, SocketAddr) -> C) {
    let (process, http, grpc) = serve();
    heads_counted_kib(&process);
    let idle = process.resident_kib();
    let held: Vec<C> = (0..CONNECTIONS).map(|_| connect(http, grpc)).collect();
    // Nobody tells when the server has read all of it. Each figure is an answer that it gives beside.
    let readings = (0..50).map(|_| {
        heads_counted_kib(&process);
        process.resident_kib()
    });
    let grown = readings.max().unwrap_or(0).saturating_sub(idle).saturating_sub(AT_HAND_KIB);
    let each = grown / held.len() as u64;
    eprintln!("{what}: {each} KiB for each connection");
    assert!(each <= most_kib, "{what}: {each} KiB for each connection");
}

#[test]
fn connections_take_no_more_memory_than_is_stated() {
    // A header that is longer than all that comes of it, and a frame of which the end is missing.
    let name_length = [0, 0x7f, 0x81, 0x7e];
    let half_head = frame(HEADERS, 0, 1, &[&name_length[..], &[b'x'; 16_000]].concat());
    let half = |bytes: usize| {
        let whole = frame(CONTINUATION, 0, 1, &vec![b'x'; bytes]);
        [&half_head[..], &whole[..whole.len() - 1]].concat()
    };
    let (http_half, grpc_half) = (half(32 << 10), half(64 << 10));
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(32_000));
    check_connections("HTTP, silent", HTTP_CONNECTION_KIB / 4, |http, _| send(http, b""));
    check_connections("HTTP/1.1, half a head", HTTP_CONNECTION_KIB, |http, _| send(http, head.as_bytes()));
    check_connections("HTTP/2, half a head", HTTP_CONNECTION_KIB, |http, _| greet(http, &http_half));
    check_connections("gRPC, half a head", GRPC_CONNECTION_KIB, |_, grpc| greet(grpc, &grpc_half));
}
