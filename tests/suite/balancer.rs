//! Three processes behind a real HAProxy with `deploy/haproxy.cfg`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

use tempfile::NamedTempFile;

use crate::client::{Connection, Request};
use crate::grpc_client;
use crate::process::Process;
use crate::rolling::{check, Doors, Replicas, REPLICAS};
use crate::support::until;

/// They drain for longer than HAProxy takes to see it (1.25 s), and shorter than in a container, for the sake of this suite.
const FLAGS: &str = "--model tests/models/half_plus_two --drain_delay_ms 2500";
/// So much of HAProxy's log tells what went wrong.
const LOG_LINES_MAX: usize = 100;

/// A free port on an address of its own: what other tests connect from does not take it while nothing listens there.
pub(crate) fn free(host: u8) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, host], 0)));
    listener.and_then(|free| free.local_addr()).expect("a free port")
}

/// Where one replica listens, each time it is started.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) http: SocketAddr,
    grpc: SocketAddr,
}

impl Place {
    fn new(number: usize) -> Self {
        let host = u8::try_from(number + 1).expect("few replicas");
        Self { http: free(host), grpc: free(host) }
    }

    fn start(self) -> Process {
        let Self { http, grpc } = self;
        let flags = format!("--host {} --port {} --grpc_port {} {FLAGS}", http.ip(), http.port(), grpc.port());
        Process::start(&flags, &[])
    }
}

pub(crate) struct Processes {
    pub(crate) places: Vec<Place>,
    running: Vec<Process>,
}

impl Processes {
    pub(crate) fn start() -> Self {
        let places: Vec<Place> = (1..=REPLICAS).map(Place::new).collect();
        let running = places.iter().map(|place| place.start()).collect();
        Self { places, running }
    }
}

impl Replicas for Processes {
    fn replace(&mut self, number: usize) {
        self.running[number].signal("TERM");
        let (status, stderr) = self.running[number].ended();
        assert_eq!(status.code(), Some(0), "{stderr:#?}");
        self.start(number);
    }

    fn signal(&mut self, number: usize, name: &str) {
        self.running[number].signal(name);
        if name == "KILL" {
            self.running[number].ended();
        }
    }

    fn start(&mut self, number: usize) {
        self.running[number] = self.places[number].start();
    }
}

/// HAProxy. Dropped, it is killed; where the test has failed, its log is shown.
struct Balancer {
    child: Child,
    log: NamedTempFile,
    doors: Doors,
}

impl Balancer {
    /// Starts it before these places; none where there is no HAProxy, which is said.
    fn start(places: &[Place]) -> Option<Self> {
        let Some(command) = command("haproxy") else {
            eprintln!("skipped: no haproxy here; `make test` installs it on Debian, as root");
            return None;
        };
        let [http, grpc, admin] = [(); 3].map(|()| free(9));
        let mut command = Command::new(command);
        command.args(["-db", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy.cfg")]);
        command.env("HTTP_BIND", http.to_string()).env("GRPC_BIND", grpc.to_string()).env("ADMIN_BIND", admin.to_string());
        for (number, place) in (1..).zip(places) {
            command.env(format!("REPLICA_{number}_HTTP"), place.http.to_string());
            command.env(format!("REPLICA_{number}_GRPC"), place.grpc.to_string());
        }
        let log = NamedTempFile::new().expect("a file");
        let [out, errors] = [(); 2].map(|()| log.reopen().expect("the same file"));
        let child = command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().expect("haproxy starts");
        Some(Self { child, log, doors: Doors { http, grpc, admin } })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.log.path()).unwrap_or_default();
            let telling = log.lines().filter(|line| !line.contains(" 200 "));
            telling.take(LOG_LINES_MAX).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Runs a test against HAProxy's address, with all replicas behind it.
pub(crate) fn balanced(test: impl FnOnce(SocketAddr)) {
    let replicas = Processes::start();
    let running = replicas.running.into_iter().map(Process::ready).collect::<Vec<_>>();
    if let Some(balancer) = Balancer::start(&replicas.places) {
        let is_served = |mut connection: Connection| Ok(connection.call(&Request::get("/readyz"))?.status == 200);
        until("HAProxy serves", || Connection::open(balancer.doors.http).and_then(is_served).unwrap_or(false));
        test(balancer.doors.http);
    }
    drop(running);
}

/// A command, also where it is not in an ordinary user's path.
pub(crate) fn command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

#[test]
fn replicas_are_replaced_without_a_lost_request_and_killed_with_those_inside() {
    let mut replicas = Processes::start();
    if let Some(balancer) = Balancer::start(&replicas.places) {
        check(balancer.doors, &mut replicas);
    }
}

/// A fake replica that is healthy until it has a request, which ends it: no model that is known does that to a real one.
struct Mortal {
    address: SocketAddr,
    ended: Arc<AtomicUsize>,
}

impl Mortal {
    /// `has_request` speaks to whoever connects; whether that was a request and no question for health.
    fn start(host: u8, has_request: fn(&mut TcpStream) -> io::Result<bool>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let ended = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&ended);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // A check that goes away is no request.
                counts.fetch_add(usize::from(has_request(&mut stream).unwrap_or(false)), Ordering::SeqCst);
            }
        });
        Self { address, ended }
    }

    fn http(stream: &mut TcpStream) -> io::Result<bool> {
        let mut start = [0; 1024];
        let read = stream.read(&mut start)?;
        if start[..read].starts_with(b"GET /readyz") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(false);
        }
        Ok(read > 0)
    }

    /// Speaks as much HTTP/2 (RFC 9113) as it takes to be sent a request.
    fn grpc(stream: &mut TcpStream) -> io::Result<bool> {
        const PREFACE_BYTES: u64 = 24;
        const HEADERS: u8 = 1;
        const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        stream.write_all(&EMPTY_SETTINGS)?;
        io::copy(&mut (&mut *stream).take(PREFACE_BYTES), &mut io::sink())?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head)?;
            if head[3] == HEADERS {
                return Ok(true);
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            io::copy(&mut (&mut *stream).take(length.into()), &mut io::sink())?;
        }
    }
}

#[test]
fn a_request_that_ends_one_replica_is_sent_to_no_other() {
    let http: Vec<Mortal> = (11..14).map(|host| Mortal::start(host, Mortal::http)).collect();
    let grpc: Vec<Mortal> = (11..14).map(|host| Mortal::start(host, Mortal::grpc)).collect();
    let places: Vec<Place> = http.iter().zip(&grpc).map(|(http, grpc)| Place { http: http.address, grpc: grpc.address }).collect();
    let Some(balancer) = Balancer::start(&places) else { return };
    (0..REPLICAS).for_each(|number| balancer.doors.until_replica_is(number, "UP"));
    let ended = |replicas: &[Mortal]| -> usize { replicas.iter().map(|replica| replica.ended.load(Ordering::SeqCst)).sum() };
    let response = Connection::open(balancer.doors.http).unwrap().call(&Request::post("/v1/models/m:predict", "{}")).unwrap();
    assert_eq!((response.status, ended(&http)), (502, 1), "{response:?}");
    let status = grpc_client::call_at(balancer.doors.grpc, &[], grpc_client::floats("m", &[1.0])).unwrap_err();
    assert_eq!((status.code(), ended(&grpc)), (tonic::Code::Unavailable, 1), "{status:?}");
    assert_eq!(balancer.doors.retries(), 0);
}

#[test]
fn what_concerns_one_replica_is_not_balanced() {
    let place = Place::new(1);
    let Some(balancer) = Balancer::start(&[place, place, place]) else { return };
    until("HAProxy listens", || Connection::open(balancer.doors.http).is_ok());
    // Nothing listens behind it: what it passes on is answered with 503.
    let status = |request: &Request| Connection::open(balancer.doors.http).unwrap().call(request).unwrap().status;
    for request in
        [Request::get("/metrics"), Request::get("/%73tats"), Request::post("/models/a", "{}"), Request::new("DELETE", "/models/a")]
    {
        assert_eq!(status(&request), 403, "{request:?}");
    }
    for request in [Request::get("/models/a"), Request::get("/readyz"), Request::post("/models/a/predict", "{}")] {
        assert_eq!(status(&request), 503, "{request:?}");
    }
}
