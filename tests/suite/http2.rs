//! HTTP/2 at the HTTP port: by curl, Go's client, h2load and single frames, in clear text and over TLS. Both versions share their
//! handlers, so these tests look at how requests reach those, and at limits and ends of connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::json;
use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::client::Request;
use crate::frames::{self, frame, numbers, post, post_head, Frames};
use crate::gated::Gated;
use crate::process::Process;
use crate::support::{until, RunningServer};
use crate::tls::Files;

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";
const KITCHEN: &str = "--model tests/models/kitchen --batch_size 1";
const X: &str = r#"{"x": [1]}"#;
/// Requests side by side on one connection.
const STREAMS_MAX: u32 = 256;
/// How soon a stop of a server must be over whose requests take a moment.
const STOP_MAX: Duration = Duration::from_secs(10);

fn fake(flags: &str) -> RunningServer {
    RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), flags)
}

/// Whether a command is there and says this of itself; tells where it does not.
pub(crate) fn has(command: &str, argument: &str, text: &str) -> bool {
    let output = Command::new(command).arg(argument).output();
    let has = output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(text));
    if !has {
        eprintln!("skipped: expected `{command} {argument}` to say {text:?}");
    }
    has
}

/// Runs a command; gives what it says.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Whether there is a Go whose client speaks HTTP/2 in clear text: 1.24 or later.
fn has_go() -> bool {
    has("go", "version", "go1.") && {
        let version = run(Command::new("go").arg("version"));
        let minor = version.split("go1.").nth(1).and_then(|rest| rest.split(['.', ' ']).next()?.parse().ok());
        let is_new = minor.is_some_and(|minor: u32| minor >= 24);
        if !is_new {
            eprintln!("skipped: expected Go 1.24 or later, got {version}");
        }
        is_new
    }
}

fn curl(arguments: &[&str], url: &str) -> String {
    // Over HTTP/1.1 it would ask whether to send a large body, and show that answer too.
    run(Command::new("curl").args(["--silent", "--show-error", "--insecure", "--header", "Expect:"]).args(arguments).arg(url))
}

/// An answer as curl shows it, without what differs from one request to the next, and from one version to the other.
fn lasting(answer: &str) -> Vec<String> {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let (status, headers) = head.split_once("\r\n").expect("headers");
    let mut lasting: Vec<String> = headers.lines().map(str::to_lowercase).collect();
    for changing in ["date: ", "x-request-id: ", "server-timing: "] {
        let header = lasting.iter_mut().find(|header| header.starts_with(changing));
        header.into_iter().for_each(|header| header.truncate(changing.len()));
    }
    // Of HTTP/1.1 alone.
    lasting
        .retain(|header| !["transfer-encoding: chunked", "connection: close", "keep-alive: timeout=75"].contains(&header.as_str()));
    lasting.sort();
    lasting.push(status.split(' ').nth(1).expect("a status").to_owned());
    lasting.push(body.to_owned());
    lasting
}

#[track_caller]
fn check_alike(url: &str, http2: &str) {
    // Its answer is larger than a client's first window, and than what is sent at once.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "x": (0..200_000).collect::<Vec<u32>>() }).to_string()).unwrap();
    let large = format!("@{}", file.path().display());
    for (path, arguments) in [
        ("/", &["--data", X][..]),
        ("/", &["--data", &large]),
        ("/", &["--data", "no JSON"]),
        ("/", &["--data", X, "--header", "Content-Encoding: br"]),
        ("/", &["--data", X, "--header", "Transfer-Encoding: chunked"]),
        ("/", &["--head"]),
        ("/", &["--request", "OPTIONS", "--header", "Origin: http://a"]),
        ("/none?a=b", &[]),
        ("/v1/models/half_plus_two:predict", &["--data", r#"{"instances": [1]}"#]),
        ("/v1/models/half_plus_two", &[]),
        ("/readyz", &[]),
    ] {
        let [one, two] = ["--http1.1", http2].map(|version| {
            let answer = curl(&[&["--include", version], arguments].concat(), &format!("{url}{path}"));
            assert_eq!(answer.starts_with("HTTP/2 "), version == http2, "{answer}");
            lasting(&answer)
        });
        assert_eq!(one, two, "{path} {arguments:?}");
    }
}

#[test]
fn both_versions_answer_alike_on_one_port() {
    if has("curl", "--version", "HTTP2") {
        let server = RunningServer::start(HALF_PLUS_TWO);
        check_alike(&format!("http://{}", server.address), "--http2-prior-knowledge");
    }
}

#[test]
fn both_versions_name_the_origins_that_may_call() {
    const TOKEN: &str = "Authorization: Bearer one";
    if !has("curl", "--version", "HTTP2") {
        return;
    }
    let a = "https://a.example";
    for (flags, origin, allowed) in [
        ("", a, None),
        ("--cors_origin https://a.example", a, Some(a)),
        ("--cors_origin https://a.example", "https://b.example", None),
        ("--cors_origin *", a, Some("*")),
    ] {
        let server = RunningServer::start(&format!("{HALF_PLUS_TWO} --api_token one {flags}"));
        let origin = format!("Origin: {origin}");
        for (arguments, status) in [
            (&["--data", X, "--header", TOKEN][..], "200"),
            (&["--data", "no JSON", "--header", TOKEN], "400"),
            (&["--data", X], "401"),
            (
                &["--request", "OPTIONS", "--header", "Access-Control-Request-Method: POST"],
                if allowed.is_some() { "204" } else { "401" },
            ),
        ] {
            let [one, two] = ["--http1.1", "--http2-prior-knowledge"].map(|version| {
                let all = [&["--include", version, "--header", &origin], arguments].concat();
                lasting(&curl(&all, &format!("http://{}/", server.address)))
            });
            assert_eq!(one, two, "{flags} {arguments:?}");
            let named = two.iter().find_map(|header| header.strip_prefix("access-control-allow-origin: "));
            assert_eq!((named, two.iter().any(|line| line == status)), (allowed, true), "{flags} {origin} {arguments:?}: {two:?}");
            assert_eq!(two.contains(&"vary: origin".to_owned()), flags.contains("https:"), "{two:?}");
        }
    }
}

#[test]
fn both_versions_answer_alike_over_tls() {
    if has("curl", "--version", "HTTP2") {
        let files = Files::new();
        let server = RunningServer::start(&format!("{HALF_PLUS_TWO} {}", files.flags()));
        check_alike(&format!("https://{}", server.address), "--http2");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    if !has("curl", "--version", "HTTP2") {
        return;
    }
    let server = fake("--request_size 1500000");
    let large = tempfile::NamedTempFile::new().unwrap();
    let body = format!("@{}", large.path().display());
    let long = format!("X-Long: {}", "a".repeat(17_000));
    let status = |arguments: &[&str]| {
        let all = [&["--http2-prior-knowledge", "--write-out", " %{http_version} %{http_code}"], arguments].concat();
        let answer = curl(&all, &format!("http://{}/", server.address));
        answer.rsplit_once(" 2 ").expect("the version").1.to_owned()
    };
    for (bytes, expect) in [(1_500_000, "400"), (1_500_001, "413"), (8_000_000, "413")] {
        std::fs::write(large.path(), " ".repeat(bytes)).unwrap();
        assert_eq!(status(&["--data-binary", &body]), expect, "{bytes} bytes");
        let unsaid = ["--header", "Content-Length:", "--header", "Transfer-Encoding: chunked"];
        assert_eq!(
            status(&[&["--data-binary", &body], &unsaid[..]].concat()),
            expect,
            "{bytes} bytes of a length that is not said"
        );
    }
    assert_eq!(status(&["--header", &long]), "431");
}

#[test]
fn a_body_that_does_not_come_in_time_is_given_up() {
    let server = fake("--request_timeout_ms 100");
    let mut client = Frames::open(server.address);
    client.send(&post_head(1, "/", &[("content-length", "8")])).unwrap();
    let answer = client.until(frames::DATA).payload;
    assert!(String::from_utf8_lossy(&answer).contains("DEADLINE_EXCEEDED"), "{answer:?}");
}

#[test]
fn who_asks_whether_to_send_is_told() {
    let server = fake("");
    let mut client = Frames::open(server.address);
    client.send(&post_head(1, "/", &[("expect", "100-continue")])).unwrap();
    let told = client.until(frames::HEADERS);
    assert!(told.flags & frames::END_STREAM == 0 && told.payload[0] != frames::OK, "{told:?}");
    client.send(&frame(frames::DATA, frames::END_STREAM, 1, X.as_bytes())).unwrap();
    assert_eq!(client.until(frames::HEADERS).payload[0], frames::OK);
    client.send(&post_head(3, "/none", &[("expect", "100-continue")])).unwrap();
    assert_eq!(client.until(frames::HEADERS).payload[0], frames::NOT_FOUND, "not asked for its body");
}

/// A server whose one model is held, and has begun a run.
struct Held {
    session: Arc<Gated>,
    server: RunningServer,
    running: Frames,
}

impl Held {
    fn new() -> Self {
        let session = Gated::new(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)));
        session.hold();
        let server = RunningServer::of(session.clone(), "--run_threads 1");
        let mut running = Frames::open(server.address);
        running.send(&post(1, "/", X)).unwrap();
        session.until_runs(1);
        Self { session, server, running }
    }
}

#[test]
fn requests_whose_client_goes_away_cost_no_run() {
    let mut held = Held::new();
    let ask = || {
        let mut client = Frames::open(held.server.address);
        client.send(&numbers(20).flat_map(|stream| post(stream, "/", X)).collect::<Vec<u8>>()).unwrap();
        held.server.until_inside("test", 21);
        client
    };
    let mut taking_back = ask();
    let reset = |stream| frame(frames::RST_STREAM, 0, stream, &frames::CANCEL.to_be_bytes());
    taking_back.send(&numbers(20).flat_map(reset).collect::<Vec<u8>>()).unwrap();
    held.server.until_inside("test", 1);
    drop(ask());
    held.server.until_inside("test", 1);
    held.session.release();
    assert_eq!(held.running.until(frames::HEADERS).payload[0], frames::OK);
    taking_back.send(&post(41, "/", X)).unwrap();
    assert_eq!(taking_back.until(frames::HEADERS).payload[0], frames::OK, "the connection goes on");
    assert_eq!(held.session.run_rows(), [1, 1]);
}

#[test]
fn a_request_too_many_is_refused_and_the_others_are_answered() {
    let held = Held::new();
    let mut client = Frames::open(held.server.address);
    client.send(&numbers(STREAMS_MAX + 1).flat_map(|stream| post(stream, "/", X)).collect::<Vec<u8>>()).unwrap();
    let refused = client.until(frames::RST_STREAM);
    assert_eq!((refused.stream, refused.reason()), (2 * STREAMS_MAX + 1, frames::REFUSED_STREAM));
    held.session.release();
    for _ in 0..STREAMS_MAX {
        assert_eq!(client.until(frames::HEADERS).payload[0], frames::OK);
    }
}

#[test]
fn rapid_resets_end_their_connection_and_no_other() {
    let server = fake("");
    let mut neighbour = Frames::open(server.address);
    let mut attacker = Frames::open(server.address);
    let attack =
        |stream| [post_head(stream, "/", &[]), frame(frames::RST_STREAM, 0, stream, &frames::CANCEL.to_be_bytes())].concat();
    // The connection may end before all is sent.
    let _ = attacker.send(&numbers(10_000).flat_map(attack).collect::<Vec<u8>>());
    let last = attacker.rest().pop().expect("a frame");
    assert_eq!((last.kind, last.reason()), (frames::GOAWAY, frames::ENHANCE_YOUR_CALM), "{last:?}");
    neighbour.send(&post(1, "/", X)).unwrap();
    assert_eq!(neighbour.until(frames::HEADERS).payload[0], frames::OK);
}

#[test]
fn a_stop_answers_what_is_here_and_waits_for_nobody_else() {
    const REQUESTS: u32 = 8;
    let mut process = Process::serve(KITCHEN);
    let (_silent, mut client) = (Frames::open(process.address()), Frames::open(process.address()));
    for stream in numbers(REQUESTS) {
        client.send(&post_head(stream, "/slow", &[("expect", "100-continue")])).unwrap();
        assert_eq!(client.until(frames::HEADERS).stream, stream, "the server has read it");
        client.send(&frame(frames::DATA, frames::END_STREAM, stream, br#"{"loops": [100]}"#)).unwrap();
    }
    let start = Instant::now();
    process.signal("TERM");
    let frames = client.rest();
    let answered = frames.iter().filter(|frame| frame.kind == frames::HEADERS && frame.payload[0] == frames::OK).count();
    let whole = frames.iter().filter(|frame| frame.ends_answer()).count();
    assert_eq!((answered, whole), (REQUESTS as usize, REQUESTS as usize), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.kind == frames::GOAWAY && frame.reason() == frames::NO_ERROR), "{frames:?}");
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(start.elapsed() < STOP_MAX, "{:?}", start.elapsed());
}

/// Has Go's client post: a number of requests, or until the server takes no more.
fn go(address: SocketAddr, requests: Option<usize>, trusted: Option<&Path>) -> Command {
    let scheme = if trusted.is_some() { "https" } else { "http" };
    let mut command = Command::new(built());
    command.arg(format!("{scheme}://localhost:{}/", address.port()));
    command.arg(requests.unwrap_or(0).to_string()).args(trusted);
    command
}

/// Go's client, compiled once: with an empty cache that takes a minute, in which no test should wait for it.
fn built() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let build = || {
        let directory = tempfile::tempdir().expect("a directory");
        let binary = directory.path().join("client");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/http2.go");
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(&binary).arg(program).envs([("GOPROXY", "off"), ("GOTOOLCHAIN", "local")]);
        run(&mut command);
        (directory, binary)
    };
    &BUILT.get_or_init(build).1
}

#[test]
fn gos_client_loses_no_request() {
    if !has_go() {
        return;
    }
    let files = Files::new();
    std::fs::write(files.path("servers"), files.authority.pem()).unwrap();
    let [plain, tls] = ["", &files.flags()].map(|flags| Process::serve(&format!("{HALF_PLUS_TWO} {flags}")));
    assert_eq!(run(&mut go(plain.address(), Some(2000), None)), "answered 2000, lost 0: none\n");
    assert_eq!(run(&mut go(tls.address(), Some(2000), Some(&files.path("servers")))), "answered 2000, lost 0: none\n");
}

#[test]
fn a_stop_under_load_loses_no_request_of_gos_client() {
    if !has_go() {
        return;
    }
    let mut process = Process::serve(HALF_PLUS_TWO);
    let mut command = go(process.address(), None, None);
    let client = command.stdout(Stdio::piped()).spawn().expect("it starts");
    until("it is at work", || {
        let stats = process.connect().call(&Request::get("/stats")).expect("an answer").json();
        stats["signatures"][0]["requests"]["native"]["OK"].as_u64() > Some(1000)
    });
    process.signal("TERM");
    let said = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.ends_with(", lost 0: none\n"), "{said}");
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn load_over_tls_loses_no_request() {
    if !has("h2load", "--version", "nghttp2") {
        return;
    }
    let files = Files::new();
    let process = Process::serve(&format!("{HALF_PLUS_TWO} {}", files.flags()));
    std::fs::write(files.path("body"), X).unwrap();
    let mut command = Command::new("h2load");
    command.args(["-n", "4000", "-c", "8", "-m", "32", "-d"]).arg(files.path("body"));
    let said = run(command.arg(format!("https://{}/", process.address())));
    let counted = "requests: 4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(said.contains(counted) && said.contains("Application protocol: h2"), "{said}");
}
