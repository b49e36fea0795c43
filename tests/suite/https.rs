//! TLS at both ports: which clients the server accepts, with which alert it refuses the others, and what it does when certificates
//! are replaced.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, StreamOwned};

use crate::client::Request;
use crate::process::Process;
use crate::support::{until, RunningServer};
use crate::tls::{Authority, Files, Pair};

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";
/// How long a server may take for anything here; silence is met by its own limits before.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// Clients that connect and say nothing: more than actix lets shake hands at once, if it is not told otherwise.
const SILENT: usize = 600;
/// How soon all of them must have come, to leave a while until the first is given up.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);
/// How soon a server must be gone that has only a request of a second left.
const STOP_MAX: Duration = Duration::from_secs(15);
/// A record of TLS that is an alert.
const ALERT: u8 = 21;

/// A server in this process, and the address of each door.
struct Served {
    server: RunningServer,
    doors: [SocketAddr; 2],
}

fn serve(flags: &str) -> Served {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let server = RunningServer::start(&format!("{HALF_PLUS_TWO} --grpc_port {} {flags}", free.port()));
    Served { doors: [server.address, SocketAddr::from((Ipv4Addr::LOCALHOST, free.port()))], server }
}

/// The two doors' protocols.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"h2"];
/// The start of every HTTP/2 connection, and settings (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connects with TLS and says what opens each door; gives the first bytes of the answer.
fn greet(door: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Vec<u8>> {
    let mut stream = open(door, config)?;
    let request = Request::get("/").header("Connection", "close").head();
    let is_http2 = config.alpn_protocols == [PROTOCOLS[1]];
    stream.write_all(if is_http2 { HTTP2 } else { &request })?;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn open(door: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    shake_hands(TcpStream::connect(door)?, config)
}

/// Speaks TLS over an open connection.
pub(crate) fn shake_hands(tcp: TcpStream, config: &Arc<ClientConfig>) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    tcp.set_read_timeout(Some(ANSWER_WAIT))?;
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

#[track_caller]
fn check_greeted(served: &Served, trusted: &Authority, pair: Option<&Pair>) {
    let greet = |door: usize| greet(served.doors[door], &trusted.client(PROTOCOLS[door], pair)).expect("an answer");
    let [http, grpc] = [0, 1].map(greet);
    assert_eq!(http, b"HTTP/1.1 200");
    assert_eq!(grpc[3], 4, "settings: {grpc:?}");
}

/// Checks that each door ends a handshake so.
#[track_caller]
fn check_alert(served: &Served, trusted: &Authority, pair: Option<&Pair>, expect: AlertDescription) {
    for (door, protocol) in served.doors.iter().zip(PROTOCOLS) {
        let error = greet(*door, &trusted.client(protocol, pair)).expect_err("no answer");
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        assert_eq!(inner, Some(&rustls::Error::AlertReceived(expect)), "{error:?}");
    }
}

#[test]
fn both_doors_speak_tls_and_nothing_else() {
    let files = Files::new();
    let served = serve(&files.flags());
    check_greeted(&served, &files.authority, None);
    for door in served.doors {
        let mut plain = TcpStream::connect(door).unwrap();
        plain.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
        plain.write_all(&Request::get("/").head()).unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(answer.first() == Some(&ALERT) && answer.len() < 20, "an alert, and the end: {answer:?}");
    }
    // Client and server agree on the protocol that the port speaks.
    let [http2, none] = [PROTOCOLS[1], b"http/0.9"].map(|protocol| greet(served.doors[0], &files.authority.client(protocol, None)));
    assert_eq!(http2.unwrap()[3], 4, "settings");
    let error = none.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    drop(served.server);
}

#[test]
fn tls_at_a_plain_port_is_refused() {
    let served = serve("");
    let authority = Authority::new("anybody");
    for (door, protocol) in served.doors.iter().zip(PROTOCOLS) {
        assert!(open(*door, &authority.client(protocol, None)).is_err());
    }
    let mut hello = TcpStream::connect(served.doors[0]).unwrap();
    hello.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0, b'\r', b'\n', b'\r', b'\n']).unwrap();
    let mut answer = String::new();
    let _ = hello.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    drop(served.server);
}

#[test]
fn clients_refuse_a_server_whose_certificate_has_expired() {
    let files = Files::new();
    files.put(&files.authority.issue("localhost", 2001));
    let flags = format!("--host 127.0.0.1 --port 0 {HALF_PLUS_TWO} {}", files.flags());
    let mut process = Process::start(&flags, &[]).ready();
    process.until_says("the certificate has expired");
    let served = serve(&files.flags());
    for (door, protocol) in served.doors.into_iter().zip(PROTOCOLS) {
        let error = greet(door, &files.authority.client(protocol, None)).unwrap_err();
        assert!(error.to_string().contains("certificate expired"), "{error}");
    }
    drop(served.server);
    // Its health check asks for no name and no date.
    let check = format!("--healthcheck --host 127.0.0.1 --port {} {}", process.address().port(), files.flags());
    let (status, stderr) = Process::start(&check, &[]).ended();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
}

#[test]
fn clients_without_a_good_certificate_are_refused() {
    let (files, clients) = (Files::new(), Authority::new("clients"));
    fs::write(files.path("ca"), clients.pem()).unwrap();
    let served = serve(&format!("{} --tls_client_ca {}", files.flags(), files.path("ca").display()));
    let (good, expired) = (clients.issue("client", 2100), clients.issue("client", 2001));
    let stranger = Authority::new("strangers").issue("client", 2100);
    let trusted = &files.authority;
    check_greeted(&served, trusted, Some(&good));
    check_alert(&served, trusted, None, AlertDescription::CertificateRequired);
    check_alert(&served, trusted, Some(&expired), AlertDescription::CertificateExpired);
    check_alert(&served, trusted, Some(&stranger), AlertDescription::UnknownCA);
    // The server accepts a client of the new authority, and no longer one of the old.
    fs::write(files.path("ca"), Authority::new("nobody's").pem()).unwrap();
    let remembered = trusted.client(PROTOCOLS[0], Some(&good));
    until("the new authority is read", || greet(served.doors[0], &remembered).is_err());
    check_alert(&served, trusted, Some(&good), AlertDescription::UnknownCA);
    drop(served.server);
}

/// The serial number's stand-in: the certificate that a door shows.
fn shown(door: SocketAddr, config: &Arc<ClientConfig>) -> Vec<u8> {
    let stream = open(door, config).expect("a handshake");
    stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
}

#[test]
fn certificates_are_replaced_while_it_serves() {
    let files = Files::new();
    let served = serve(&files.flags());
    let client = files.authority.client(PROTOCOLS[0], None);
    let mut kept = open(served.doors[0], &client).unwrap();
    let before = shown(served.doors[0], &client);
    // A key of another certificate changes nothing, however long it lies there.
    let next = files.authority.issue("localhost", 2101);
    fs::write(files.path("key"), &next.key).unwrap();
    assert_eq!(shown(served.doors[0], &client), before);
    fs::write(files.path("cert"), &next.cert).unwrap();
    until("the new certificate is shown", || shown(served.doors[0], &client) != before);
    assert_ne!(shown(served.doors[1], &files.authority.client(PROTOCOLS[1], None)), before, "at both doors");
    kept.write_all(&Request::get("/livez").header("Connection", "close").head()).unwrap();
    let mut answer = vec![0; 12];
    kept.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 200", "what was open goes on");
    drop(served.server);
}

/// Whether the server still waits for what this client says.
fn is_held(mut silent: &TcpStream) -> bool {
    silent.set_nonblocking(true).unwrap();
    silent.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn silent_clients_do_not_delay_their_neighbours() {
    let files = Files::new();
    let served = serve(&files.flags());
    for (door, protocol) in served.doors.into_iter().zip(PROTOCOLS) {
        let client = files.authority.client(protocol, None);
        // On a machine that is too busy, the first is given up before the last has come: then it is tried again.
        until("all are there soon enough", || {
            let start = Instant::now();
            let silent: Vec<TcpStream> = (0..SILENT).map(|_| TcpStream::connect(door).unwrap()).collect();
            if start.elapsed() > ARRIVAL_MAX {
                return false;
            }
            greet(door, &client).unwrap();
            assert!(is_held(&silent[0]), "served only when others were given up, after {:?}", start.elapsed());
            until("the silent are given up", || !is_held(&silent[SILENT - 1]));
            true
        });
    }
    drop(served.server);
}

#[test]
fn grpcs_own_client_speaks_tls_and_its_address_is_logged() {
    let (files, clients) = (Files::new(), Authority::new("clients"));
    fs::write(files.path("ca"), clients.pem()).unwrap();
    fs::write(files.path("servers"), files.authority.pem()).unwrap();
    let good = clients.issue("client", 2100);
    fs::write(files.path("client.cert"), &good.cert).unwrap();
    fs::write(files.path("client.key"), &good.key).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let flags = format!("{HALF_PLUS_TWO} {} --grpc_port {} --access_log", files.flags(), free.port());
    let mut process = Process::serve(&format!("{flags} --tls_client_ca {}", files.path("ca").display()));
    let [servers, cert, key] = ["servers", "client.cert", "client.key"].map(|name| files.path(name));
    let variables: [(&str, &Path); 3] = [("TLS_CA", &servers), ("TLS_CERT", &cert), ("TLS_KEY", &key)];
    crate::grpc::check_with(&format!("localhost:{}", free.port()), &variables, &["tls"]);
    let line = process.until_says("tf_serving_grpc");
    assert!(line.contains("client=\"127.0.0.1\"") || line.contains("client=127.0.0.1"), "{line}");
}

#[test]
fn a_client_that_sends_all_of_a_refused_body_over_tls_reads_its_413() {
    let files = Files::new();
    let served = serve(&files.flags());
    let mut stream = open(served.doors[0], &files.authority.client(PROTOCOLS[0], None)).unwrap();
    let body = vec![b' '; 64 << 20];
    stream.write_all(&Request::post("/", "").header("Content-Length", &body.len().to_string()).head()).unwrap();
    // The server may end the connection before it has read the whole body; the test looks at its answer.
    let _ = stream.write_all(&body);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn a_stop_over_tls_answers_what_is_here_and_waits_for_nobody_else() {
    let files = Files::new();
    let mut process = Process::serve(&format!("--model tests/models/kitchen {}", files.flags()));
    let client = files.authority.client(PROTOCOLS[0], None);
    let (mut busy, mut idle) = (open(process.address(), &client).unwrap(), open(process.address(), &client).unwrap());
    let mut answer = [0; 12];
    idle.write_all(&Request::get("/livez").head()).unwrap();
    idle.read_exact(&mut answer).unwrap();
    let _silent = TcpStream::connect(process.address()).unwrap();
    let slow = Request::post("/slow", r#"{"loops": [1000]}"#);
    busy.write_all(&[slow.clone().header("Expect", "100-continue").head()].concat()).unwrap();
    busy.read_exact(&mut [0; 25]).unwrap();
    busy.write_all(&slow.body).unwrap();
    let start = Instant::now();
    process.signal("TERM");
    let mut answer = String::new();
    let _ = busy.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(process.ended().0.code(), Some(0));
    assert!(start.elapsed() < STOP_MAX, "{:?}", start.elapsed());
}

#[test]
fn a_client_that_agrees_on_tls_and_says_nothing_does_not_hold_a_stop() {
    let files = Files::new();
    let mut process = Process::serve(&format!("{HALF_PLUS_TWO} {}", files.flags()));
    let _silent = PROTOCOLS.map(|protocol| open(process.address(), &files.authority.client(protocol, None)).unwrap());
    let start = Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().0.code(), Some(0));
    assert!(start.elapsed() < STOP_MAX, "{:?}", start.elapsed());
}
