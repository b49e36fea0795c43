//! Offers to upgrade a connection: by hand, and by Java's default client, which makes one with each request.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::balancer;
use crate::client::{Connection, Request};
use crate::process::Process;
use crate::support::RunningServer;

/// Connections that Java's client may open for 6,000 requests, 8 at a time: a pool, and not one for each.
const CONNECTIONS_MAX: usize = 20;

const OFFERS: [&[(&str, &str)]; 4] = [
    &[
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ],
    &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
    &[("Upgrade", "websocket")],
    &[("Connection", "keep-alive, upgrade")],
];

fn fake(flags: &str) -> RunningServer {
    RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), flags)
}

fn offering(request: &Request, offer: &[(&str, &str)]) -> Request {
    offer.iter().fold(request.clone(), |request, (name, value)| request.header(name, value))
}

#[test]
fn an_offer_is_passed_over_and_the_connection_goes_on() {
    let server = fake("--api_token secret");
    let predict = Request::post("/", r#"{"x": [1]}"#).header("Authorization", "Bearer secret");
    for offer in OFFERS {
        let mut connection = server.connect();
        let requests = [
            (&predict, 200),
            (&Request::post("/v1/models/test:predict", r#"{"instances": [1]}"#).header("Authorization", "Bearer secret"), 200),
            (&Request::get("/none").header("Authorization", "Bearer secret"), 404),
            (&Request::get("/"), 401),
            (&Request::get("/livez"), 200),
            (&predict, 200),
        ];
        for (request, status) in requests {
            let response = connection.call(&offering(request, offer)).unwrap();
            assert_eq!((response.status, response.header("connection")), (status, None), "{offer:?}: {response:?}");
        }
        assert_eq!(connection.call(&predict).unwrap().text(), r#"{"y":[2.5]}"#);
    }
}

#[test]
fn an_offer_is_passed_over_at_the_admin_port_too() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let _server = fake(&format!("--admin_port {}", free.port()));
    let mut connection = Connection::open(free).unwrap();
    for _ in 0..2 {
        let response = connection.call(&offering(&Request::get("/livez"), OFFERS[0])).unwrap();
        assert_eq!((response.status, response.header("connection")), (200, None), "{response:?}");
    }
}

#[test]
fn an_offer_that_comes_later_is_passed_over_too() {
    let server = fake("");
    for (request, status) in [
        (Request::post("/", r#"{"x": [1]}"#), 200),
        (Request::get("/none"), 404),
        (Request::post("/v1/models/test:predict", r#"{"instances": [1]}"#), 200),
    ] {
        for offer in OFFERS {
            let mut connection = server.connect();
            for request in [&request, &offering(&request, offer), &request] {
                let response = connection.call(request).unwrap();
                assert_eq!((response.status, response.header("connection")), (status, None), "{offer:?}: {response:?}");
            }
        }
    }
}

/// Passes bytes on to a server, and counts the connections that it takes.
struct Counted {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Counted {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let counted = Self { address: listener.local_addr().expect("an address"), connections: Arc::default() };
        let connections = Arc::clone(&counted.connections);
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(server).expect("the server accepts");
                pass(&client, &server);
                pass(&server, &client);
            }
        });
        counted
    }
}

fn pass(from: &TcpStream, to: &TcpStream) {
    let [from, to] = [from, to].map(|stream| stream.try_clone().expect("a descriptor"));
    from.set_nodelay(true).expect("an open socket");
    thread::spawn(move || {
        let _ = io::copy(&mut &from, &mut &to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// Whether there is a Java that runs a source file; says so where there is none.
fn has_java() -> bool {
    let version = Command::new("java").arg("--version").output();
    let has_java = version.is_ok_and(|output| output.status.success());
    if !has_java {
        eprintln!("skipped: no java here; `make test` installs it on Debian, as root");
    }
    has_java
}

/// Sends requests with Java's default client; gives what it says of them.
fn java(address: SocketAddr, requests: usize, threads: usize) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/DefaultClient.java");
    let mut command = Command::new("java");
    command.arg(program).arg(format!("http://{address}/")).args([requests, threads].map(|count| count.to_string()));
    let output = command.output().expect("java starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn check_java_loses_no_request(address: SocketAddr) {
    for (requests, threads) in [(2000, 1), (4000, 8)] {
        assert_eq!(java(address, requests, threads), format!("answered {requests}, lost 0: none"), "{threads} threads");
    }
}

#[test]
fn javas_default_client_loses_no_request_and_keeps_its_connections() {
    if !has_java() {
        return;
    }
    let server = Process::serve("--model tests/models/half_plus_two");
    let counted = Counted::before(server.address());
    check_java_loses_no_request(counted.address);
    let connections = counted.connections.load(Ordering::Relaxed);
    assert!(connections <= CONNECTIONS_MAX, "{connections} connections");
}

#[test]
fn javas_default_client_loses_no_request_behind_haproxy() {
    if has_java() {
        balancer::balanced(check_java_loses_no_request);
    }
}
