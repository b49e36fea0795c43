//! Clients of the gRPC port that want to hurt: with what messages become, with answers that nobody reads, with silence.

use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use flate2::Compression;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::client::Request;
use crate::frames::{frame, numbers, post_head, Frames, CANCEL, DATA, END_STREAM, HEADERS, OK, RST_STREAM, SETTINGS};
use crate::grpc_client::{call, slow};
use crate::process::Process;
use crate::support::until;
use crate::tls::Files;

/// The most memory that the attacks may make a server with default flags take: the 1 GiB of its ledger, some 0.4 GiB when it is idle,
/// the outputs of runs, which count only when they become answers, and the memory that its threads and allocator keep at hand.
const RESIDENT_KIB_MAX: u64 = 2 << 20;
/// The parts of one message: 4 MiB of them.
const PARTS: usize = 2 << 20;
/// How soon a server must end that only deaf and silent clients keep: less than the 30 s that it has.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How soon ten calls are answered beside thousands of silent connections, of which one closes for each.
const SERVED_MAX: Duration = Duration::from_secs(10);
const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
const INFER: &str = "/tensorflow.serving.PredictionService/MultiInference";
const METADATA: &str = "/tensorflow.serving.PredictionService/GetModelMetadata";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// That the client takes no byte of any answer (RFC 9113, section 6.5.2).
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

fn serve(flags: &str) -> (Process, u16) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut process = Process::serve(&format!("--model tests/models/kitchen --grpc_port {port} {flags}"));
    process.until_says(&format!("gRPC on 127.0.0.1:{port}"));
    (process, port)
}

fn open(port: u16) -> Frames {
    Frames::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A connection that takes no byte of an answer.
fn deaf(port: u16) -> Frames {
    let mut frames = open(port);
    frames.send(&frame(SETTINGS, 0, 0, &NO_WINDOW)).expect("an open connection");
    frames
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).expect("a short message").to_be_bytes(), message].concat()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// A whole call.
fn whole(stream: u32, path: &str, headers: &[(&str, &str)], message: &[u8]) -> Vec<u8> {
    let data = message.chunks(16_000).map(|piece| frame(DATA, 0, stream, piece)).collect::<Vec<_>>().concat();
    [post_head(stream, path, headers), data, frame(DATA, END_STREAM, stream, &[])].concat()
}

fn part(number: u8, content: &[u8]) -> Vec<u8> {
    let mut length = content.len();
    let mut wire = vec![number << 3 | 2];
    while length >= 0x80 {
        wire.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    wire.push(u8::try_from(length).expect("seven bits"));
    [&wire[..], content].concat()
}

/// Predict's map with `count` different keys, each of an empty tensor.
fn keys(count: usize) -> Vec<u8> {
    (0..count).flat_map(|key| part(2, &part(1, format!("{key:06x}").as_bytes()))).collect()
}

/// One value that stands for 16 million: 64 MiB come back.
fn filled_up() -> Vec<u8> {
    let spec = [part(1, b"kitchen"), part(3, b"echo_float32")].concat();
    let dims = [part(2, &[8, 0x80, 0x80, 0x80, 4]), part(2, &[8, 2])].concat();
    let tensor = [vec![8, 1], part(2, &dims), part(5, &[0, 0, 0x80, 0x3f])].concat();
    [part(1, &spec), part(2, &[part(1, b"x"), part(2, &tensor)].concat())].concat()
}

/// Sends as far as the server takes it. Each attack ends with its connection.
fn send(frames: &mut Frames, bytes: &[u8]) {
    let _ = frames.send(bytes);
}

fn high_water_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its largest resident size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of kB")
}

/// Opens connections to a port, attacks on them, and gives those that must stay open.
type Attack = fn(u16) -> Vec<Frames>;

/// All attacks, each on connections of its own.
const ATTACKS: [(&str, Attack); 12] = [
    ("keys", |port| zipped(port, PREDICT, &keys(500_000))),
    ("tasks", |port| zipped(port, INFER, &part(1, &[]).repeat(PARTS))),
    ("names", |port| zipped(port, METADATA, &part(2, &[]).repeat(PARTS))),
    ("inputs", |port| zipped(port, PREDICT, &part(2, &[]).repeat(PARTS))),
    ("dims", |port| zipped(port, PREDICT, &part(2, &part(2, &part(2, &part(2, &[]).repeat(PARTS)))))),
    ("strings", |port| zipped(port, PREDICT, &part(2, &part(2, &part(8, &[]).repeat(PARTS))))),
    ("filters", |port| zipped(port, PREDICT, &part(3, &[]).repeat(PARTS))),
    ("announced", announced),
    ("heads", heads),
    ("unread", unread),
    ("reflection", reflection),
    ("watchers", watchers),
];

/// A few KiB that become millions of parts.
fn zipped(port: u16, path: &str, plain: &[u8]) -> Vec<Frames> {
    let message = framed(1, &gzip(plain));
    let mut frames = deaf(port);
    numbers(10).for_each(|stream| send(&mut frames, &whole(stream, path, &[("grpc-encoding", "gzip")], &message)));
    vec![frames]
}

/// Messages that announce 64 MiB, of which one byte comes.
fn announced(port: u16) -> Vec<Frames> {
    let bytes = [&[0][..], &(64_u32 << 20).to_be_bytes(), &[0]].concat();
    streams(port, 2, |stream| [post_head(stream, PREDICT, &[]), frame(DATA, 0, stream, &bytes)].concat())
}

/// Large heads without a message.
fn heads(port: u16) -> Vec<Frames> {
    let (name, value) = ("x".repeat(100), "y".repeat(100));
    let headers = vec![(name.as_str(), value.as_str()); 60];
    streams(port, 10, |stream| post_head(stream, PREDICT, &headers))
}

/// Small calls with large answers.
fn unread(port: u16) -> Vec<Frames> {
    let mut frames = deaf(port);
    let message = framed(0, &filled_up());
    numbers(30).for_each(|stream| send(&mut frames, &whole(stream, PREDICT, &[], &message)));
    vec![frames]
}

/// Streams of questions.
fn reflection(port: u16) -> Vec<Frames> {
    let questions = framed(0, &part(4, b"tensorflow.serving.PredictionService")).repeat(300);
    streams(port, 1, |stream| [post_head(stream, REFLECT, &[]), frame(DATA, 0, stream, &questions)].concat())
}

/// Streams of answers.
fn watchers(port: u16) -> Vec<Frames> {
    streams(port, 8, |stream| whole(stream, WATCH, &[], &framed(0, &[])))
}

/// Deaf connections with as many calls as the server takes.
fn streams(port: u16, connections: usize, call: impl Fn(u32) -> Vec<u8>) -> Vec<Frames> {
    let connection = |_| {
        let mut frames = deaf(port);
        numbers(250).for_each(|stream| send(&mut frames, &call(stream)));
        frames
    };
    (0..connections).map(connection).collect()
}

#[test]
fn all_attacks_together_take_no_more_memory_than_is_stated() {
    let (process, port) = serve("");
    let idle = high_water_kib(&process);
    thread::scope(|scope| {
        let twice = ATTACKS.iter().chain(&ATTACKS).map(|(name, attack)| (*name, scope.spawn(move || attack(port))));
        let running: Vec<_> = twice.collect();
        let open: Vec<_> = running.into_iter().map(|(name, thread)| (name, thread.join())).collect();
        open.iter().for_each(|(name, ended)| assert!(ended.is_ok(), "{name}"));
        until("a good request is answered", || call(port, &[], slow(1)).is_ok());
    });
    let most = high_water_kib(&process);
    eprintln!("{idle} KiB when idle, {most} KiB at most");
    assert!(most < RESIDENT_KIB_MAX, "{most} KiB");
}

#[test]
fn deaf_and_silent_clients_do_not_hold_the_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("socket");
    let (mut process, port) = serve(&format!("--grpc_socket_path {}", socket.display()));
    let mut checked = open(port);
    checked.send(&whole(1, CHECK, &[], &framed(0, &[]))).expect("an open connection");
    assert!(checked.until(HEADERS).payload.starts_with(&[OK]));
    let mut watch = deaf(port);
    watch.send(&whole(1, WATCH, &[], &framed(0, &[]))).expect("an open connection");
    let mut reflection = deaf(port);
    let question = framed(0, &part(4, b"tensorflow.serving.PredictionService"));
    let question = [post_head(1, REFLECT, &[]), frame(DATA, 0, 1, &question.repeat(100))].concat();
    reflection.send(&question).expect("an open connection");
    let mut announced = open(port);
    let message = [post_head(1, PREDICT, &[]), frame(DATA, 0, 1, &framed(0, &[7; 100])[..20])].concat();
    announced.send(&message).expect("an open connection");
    let mut unread = deaf(port);
    unread.send(&whole(1, PREDICT, &[], &framed(0, &filled_up()))).expect("an open connection");
    let silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
    let local = UnixStream::connect(&socket).expect("the server accepts");
    // Each has had its greeting, or its turn.
    for frames in [&mut watch, &mut reflection, &mut unread] {
        frames.until(HEADERS);
    }
    let busy = thread::spawn(move || call(port, &[], slow(1500)));
    until("a call is inside", || {
        let figures = process.connect().call(&Request::get("/metrics")).expect("an answer").text();
        figures.contains("tfweb_in_flight_requests{protocol=\"tf_serving_grpc\"} 1")
    });
    let begun = Instant::now();
    process.signal("TERM");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    assert!(busy.join().expect("the call ends").is_ok(), "who was served is answered");
    drop((checked, watch, reflection, announced, unread, silent, local));
}

#[test]
fn clients_that_agreed_on_tls_and_say_nothing_do_not_hold_the_stop() {
    let files = Files::new();
    let (mut process, port) = serve(&files.flags());
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(files.authority.client(b"h2", None), name).expect("a client");
    let mut agreed = StreamOwned::new(client, connect());
    while agreed.conn.is_handshaking() {
        agreed.conn.complete_io(&mut agreed.sock).expect("the server agrees");
    }
    let silent = connect();
    let begun = Instant::now();
    process.signal("TERM");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    drop((agreed, silent));
}

/// Opens as many connections as it is told, and holds them until its input ends.
const SILENT: &str = "
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
print('open', flush=True)
sys.stdin.read()
";

#[test]
fn more_silent_clients_than_the_server_takes_keep_nobody_out() {
    let (_process, port) = serve("");
    let mut python = Command::new(".venv/bin/python");
    python.args(["-c", SILENT, &port.to_string(), "4200"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut clients = python.spawn().expect("Python starts");
    let mut said = String::new();
    let stdout = clients.stdout.take().expect("a pipe");
    std::io::BufReader::new(stdout).read_line(&mut said).expect("a line");
    assert_eq!(said, "open\n");
    let begun = Instant::now();
    for _ in 0..10 {
        call(port, &[], slow(1)).expect("an answer");
    }
    assert!(begun.elapsed() < SERVED_MAX, "{:?}", begun.elapsed());
    drop(clients.stdin.take());
    clients.wait().expect("it ends");
}

#[test]
fn an_answer_that_nobody_takes_ends_its_call() {
    let (_process, port) = serve("");
    let mut frames = deaf(port);
    frames.send(&whole(1, PREDICT, &[], &framed(0, &filled_up()))).expect("an open connection");
    assert_eq!(frames.until(RST_STREAM).reason(), CANCEL);
}
