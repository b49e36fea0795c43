//! Stops of a server whose clients connect again as soon as they are told to. Each client that could connect is answered.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::Reason;
use prost::Message;
use rustls::pki_types::ServerName;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::client::{Connection, Request};
use crate::grpc_client;
use crate::https;
use crate::process::Process;
use crate::support::until;
use crate::tls::Files;

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";
const CLIENTS: usize = 64;
/// The variable that says how often each test stops a server, and the number without it.
const STOPS_VARIABLE: &str = "SUITE_STOPS";
const STOPS: usize = 2;
/// The answers after which a server is told to stop: the clients are at work.
const ANSWERED: usize = 300;

/// The answers of all clients, the calls that the server sent elsewhere, and the connections that ended without an answer.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    sent_elsewhere: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

/// Calls on one connection after another, until the server refuses one. `serve` uses a connection for as long as the server keeps it.
fn call_until_refused(address: SocketAddr, tally: &Tally, serve: impl Fn(TcpStream) -> io::Result<()>) {
    connect_until_refused(|| TcpStream::connect(address), tally, serve);
}

fn connect_until_refused<S>(connect: impl Fn() -> io::Result<S>, tally: &Tally, serve: impl Fn(S) -> io::Result<()>) {
    loop {
        match connect() {
            Ok(stream) => {
                if let Err(error) = serve(stream) {
                    tally.lost.lock().expect("no client panics").push(error.to_string());
                }
            }
            Err(error) => {
                // A UNIX socket is removed before it closes.
                let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::NotFound];
                assert!(kinds.contains(&error.kind()), "{error}");
                return;
            }
        }
    }
}

/// Posts until an answer says that the connection closes.
fn post<S: io::Read + io::Write>(stream: S, tally: &Tally) -> io::Result<()> {
    let mut connection = Connection::over(stream);
    for number in 1.. {
        let begun = Instant::now();
        let response = connection.call(&Request::post("/", r#"{"x": [1]}"#));
        let response = response.map_err(|error| io::Error::other(format!("request {number}, {:?}: {error}", begun.elapsed())))?;
        assert_eq!((response.status, response.text()), (200, r#"{"y":[2.5]}"#.into()));
        tally.answered.fetch_add(1, Ordering::Relaxed);
        if response.header("connection") == Some("close") {
            break;
        }
    }
    Ok(())
}

/// Predicts until the server says that it takes no more calls on the connection.
async fn predict<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, tally: &Tally) -> io::Result<()> {
    let (mut calls, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    let _connection = tokio::spawn(connection);
    let message = grpc_client::floats("half_plus_two", &[1.0]).encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let message = Bytes::from([&[0], &length[..], &message].concat());
    while poll_fn(|context| calls.poll_ready(context)).await.is_ok() {
        match predict_once(&mut calls, message.clone()).await {
            Ok(()) => tally.answered.fetch_add(1, Ordering::Relaxed),
            Err(error) if is_sent_elsewhere(&error) => tally.sent_elsewhere.fetch_add(1, Ordering::Relaxed),
            Err(error) => return Err(io::Error::other(error)),
        };
    }
    Ok(())
}

/// Whether the server has said that it did not begin a call and takes no more (RFC 9113, sections 6.8 and 8.7). This happens to a
/// call that h2 sends only after it has confirmed that the server stops. Clients of gRPC send such a call elsewhere.
fn is_sent_elsewhere(error: &h2::Error) -> bool {
    error.is_remote() && error.is_go_away() && error.reason() == Some(Reason::NO_ERROR)
}

async fn predict_once(calls: &mut SendRequest<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    let request = http::Request::post("http://localhost/tensorflow.serving.PredictionService/Predict");
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(());
    let (response, mut body) = calls.send_request(request.expect("a request"), false)?;
    body.send_data(message, true)?;
    let mut answer = response.await?.into_body();
    while let Some(bytes) = answer.data().await {
        answer.flow_control().release_capacity(bytes?.len())?;
    }
    let trailers = answer.trailers().await?.expect("a status");
    assert_eq!(trailers["grpc-status"], "0");
    Ok(())
}

/// Stops servers under load, with a client for each thread.
#[track_caller]
fn check<A: Copy + Sync>(flags: &str, address: impl Fn(&Process) -> A, client: impl Fn(A, &Tally) + Sync) {
    let stops = std::env::var(STOPS_VARIABLE).map_or(STOPS, |stops| stops.parse().expect("a number"));
    let (mut answered, mut sent_elsewhere, mut lost, mut slowest) = (0, 0, Vec::new(), Duration::ZERO);
    for _ in 0..stops {
        let process = Process::serve(&format!("{HALF_PLUS_TWO} {flags}"));
        let (tally, address) = (Tally::default(), address(&process));
        let (status, stderr) = thread::scope(|scope| {
            // Where the test fails, the server ends, and the clients with it.
            let mut process = process;
            for _ in 0..CLIENTS {
                scope.spawn(|| client(address, &tally));
            }
            until("the clients are at work", || tally.answered.load(Ordering::Relaxed) >= ANSWERED);
            process.signal("TERM");
            let begun = Instant::now();
            let ended = process.ended();
            slowest = slowest.max(begun.elapsed());
            ended
        });
        assert_eq!(status.code(), Some(0), "{stderr:#?}");
        answered += tally.answered.into_inner();
        sent_elsewhere += tally.sent_elsewhere.into_inner();
        lost.extend(tally.lost.into_inner().expect("no client panics"));
    }
    eprintln!(
        "{stops} stops, {answered} answers, {sent_elsewhere} sent elsewhere, {} lost; the slowest took {slowest:?}",
        lost.len()
    );
    assert!(lost.is_empty(), "{} of {answered} lost in {stops} stops: {:#?}", lost.len(), &lost[..lost.len().min(5)]);
}

#[test]
fn who_connects_again_during_a_stop_is_answered_over_http() {
    check("", Process::address, |address, tally| call_until_refused(address, tally, |stream| post(stream, tally)));
}

#[test]
fn who_connects_again_during_a_stop_is_answered_over_https() {
    let files = Files::new();
    let config: Arc<ClientConfig> = files.authority.client(b"http/1.1", None);
    let client = |address, tally: &Tally| {
        call_until_refused(address, tally, |stream| {
            let begun = Instant::now();
            let stream = https::shake_hands(stream, &config);
            post(stream.map_err(|error| io::Error::other(format!("handshake, {:?}: {error}", begun.elapsed())))?, tally)
        });
    };
    check(&files.flags(), Process::address, client);
}

#[test]
fn who_connects_again_during_a_stop_is_answered_over_grpc() {
    let free = free_address();
    let client = |address, tally: &Tally| {
        let runtime = runtime();
        call_until_refused(address, tally, |stream| runtime.block_on(async { predict(asynchronous(stream)?, tally).await }));
    };
    check(&format!("--grpc_port {}", free.port()), |_| free, client);
}

#[test]
fn who_connects_again_during_a_stop_is_answered_over_grpc_with_tls() {
    let (files, free) = (Files::new(), free_address());
    let connector = TlsConnector::from(files.authority.client(b"h2", None));
    let client = |address, tally: &Tally| {
        let runtime = runtime();
        let serve = async |stream| {
            let name = ServerName::try_from("localhost").expect("a name");
            predict(connector.connect(name, asynchronous(stream)?).await?, tally).await
        };
        call_until_refused(address, tally, |stream| runtime.block_on(serve(stream)));
    };
    check(&format!("--grpc_port {} {}", free.port(), files.flags()), |_| free, client);
}

#[test]
fn who_connects_again_during_a_stop_is_answered_over_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let client = |path: &Path, tally: &Tally| {
        let runtime = runtime();
        let serve = async |stream: UnixStream| {
            stream.set_nonblocking(true)?;
            predict(tokio::net::UnixStream::from_std(stream)?, tally).await
        };
        connect_until_refused(|| UnixStream::connect(path), tally, |stream| runtime.block_on(serve(stream)));
    };
    check(&format!("--grpc_socket_path {}", path.display()), |_| path.as_path(), client);
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn asynchronous(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}
