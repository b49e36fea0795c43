//! A test for every deployment behind `deploy/haproxy.cfg`: it replaces the replicas one after another and kills one, while
//! clients ask over HTTP and gRPC. A replacement loses no request. A kill loses those that the replica had taken.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::{Connection, Request, Response};
use crate::grpc::client;
use crate::support::until;

/// The number of replicas in the configuration.
pub(crate) const REPLICAS: usize = 3;
const CLIENTS: usize = 32;
/// The pause of a client within each request. Requests are frequent enough to meet every moment of a replacement, and no load
/// for other tests.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause between two questions to HAProxy for its statistics.
const LOOK: Duration = Duration::from_millis(20);
/// The requests that must be answered before the next replica is touched.
const ANSWERED: usize = 500;

/// Replicas that serve the model `half_plus_two`, each at a place that HAProxy knows.
pub(crate) trait Replicas {
    /// Ends one as its operator does, and starts another in its place.
    fn replace(&mut self, number: usize);
    /// Sends a signal to one, and waits for its end where that is `KILL`.
    fn signal(&mut self, number: usize, name: &str);
    /// Starts one that was killed.
    fn start(&mut self, number: usize);
}

/// Where HAProxy listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Doors {
    /// A column of HAProxy's own statistics for a replica's HTTP, counted from 0.
    fn column(&self, number: usize, name: &str) -> Option<String> {
        // Callers ask until they see what they wait for; more often would be load.
        thread::sleep(LOOK);
        let csv = Connection::open(self.admin).ok()?.call(&Request::get("/;csv")).ok()?.text();
        let place = csv.lines().next()?.trim_start_matches("# ").split(',').position(|column| column == name)?;
        let line = csv.lines().find(|line| line.starts_with(&format!("tfweb_http,tfweb-{},", number + 1)))?;
        line.split(',').nth(place).map(str::to_owned)
    }

    fn count(&self, number: usize, name: &str) -> usize {
        self.column(number, name).and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    /// How often a request was sent again.
    pub(crate) fn retries(&self) -> usize {
        (0..REPLICAS).map(|number| self.count(number, "wretr")).sum()
    }

    /// Waits until a check has found it so: before the first one, HAProxy takes every server to be up.
    #[track_caller]
    pub(crate) fn until_replica_is(&self, number: usize, status: &str) {
        until(&format!("HAProxy finds replica {number} {status}"), || {
            let checked = self.column(number, "check_status").unwrap_or_default();
            self.column(number, "status").as_deref() == Some(status) && checked.contains("L7OK") == (status == "UP")
        });
    }
}

/// The answers and failures that clients have seen so far.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Seen {
    fn note(&self, request: &Request, failure: impl std::fmt::Debug) {
        self.failures.lock().expect("no client panics").push(format!("{} {}: {failure:?}", request.method, request.target));
    }

    #[track_caller]
    fn until_more_is_answered(&self) {
        let answered = self.answered.load(Ordering::Relaxed);
        until("more is answered", || self.answered.load(Ordering::Relaxed) >= answered + ANSWERED);
    }

    fn take_failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.failures.lock().expect("no client panics"))
    }

    #[track_caller]
    fn check(&self, after: &str) {
        self.until_more_is_answered();
        let (answered, failures) = (self.answered.load(Ordering::Relaxed), self.take_failures());
        let first = &failures[..failures.len().min(5)];
        assert!(failures.is_empty(), "{} requests failed and {answered} did not {after}: {first:#?}", failures.len());
    }
}

/// Ends the clients, also where the test fails.
struct Over<'a>(&'a Seen);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// The request that a client sends at a step, and its answer: natively and as TensorFlow Serving's clients do, small ones and
/// some that fill half of a buffer of HAProxy.
fn request(client: usize, step: usize) -> (Request, serde_json::Value) {
    let first = u32::try_from(100 * client + step % 100).expect("few of them");
    let rows = if client.is_multiple_of(4) { 5000 } else { 1 };
    let x: Vec<u32> = (first..first + rows).collect();
    let y: Vec<f64> = x.iter().map(|x| 0.5 * f64::from(*x) + 2.0).collect();
    if client.is_multiple_of(2) {
        (Request::post("/", json!({ "x": x }).to_string()), json!({ "y": y }))
    } else {
        (Request::post("/v1/models/half_plus_two:predict", json!({ "instances": x }).to_string()), json!({ "predictions": y }))
    }
}

/// The variable that says how often each replica is replaced, and the number without it.
const ROLLS_VARIABLE: &str = "SUITE_ROLLS";
const ROLLS: usize = 1;

/// Replaces each replica in turn, as often as the variable says, and waits after each until `is_back`. No request may fail.
#[track_caller]
fn replace_all(replicas: &mut impl Replicas, seen: &Seen, is_back: impl Fn(usize)) {
    let rolls = std::env::var(ROLLS_VARIABLE).map_or(ROLLS, |rolls| rolls.parse().expect("a number"));
    for number in (0..rolls).flat_map(|_| 0..REPLICAS) {
        replicas.replace(number);
        is_back(number);
        seen.check(&format!("while replica {number} was replaced"));
    }
}

/// Replaces each replica in turn behind a balancer of any kind, under load over HTTP.
#[track_caller]
pub(crate) fn check_replacement(address: SocketAddr, replicas: &mut impl Replicas, is_back: impl Fn(usize)) {
    let seen = Seen::default();
    thread::scope(|scope| {
        let _over = Over(&seen);
        for client in 0..CLIENTS {
            let seen = &seen;
            scope.spawn(move || ask(address, client, seen));
        }
        seen.check("at the start");
        replace_all(replicas, &seen, is_back);
    });
    eprintln!("{} requests; none was lost", seen.answered.into_inner());
}

/// Asks on a connection kept alive until it is over.
fn ask(address: SocketAddr, client: usize, seen: &Seen) {
    let mut kept: Option<Connection> = None;
    for step in 0.. {
        if seen.is_over.load(Ordering::Relaxed) {
            break;
        }
        let (request, expected) = request(client, step);
        let call = |connection: Option<Connection>| {
            let mut connection = connection.map_or_else(|| Connection::open(address), Ok)?;
            // In two pieces, as most clients do. HAProxy cannot repeat a request that it has begun to pass on. The pause is the
            // pace of the load.
            connection.send_bytes(&request.head())?;
            thread::sleep(PAUSE);
            connection.send_bytes(&request.body)?;
            connection.receive().map(|response| (connection, response))
        };
        let is_right = |response: &Response| response.status == 200 && response.json() == expected;
        match call(kept.take()) {
            Ok((connection, response)) if is_right(&response) => {
                seen.answered.fetch_add(1, Ordering::Relaxed);
                kept = (response.header("connection") != Some("close")).then_some(connection);
            }
            Ok((_, response)) => seen.note(&request, response),
            Err(error) => seen.note(&request, error),
        }
    }
}

/// TensorFlow Serving's client, asking until it is told to end. Dropped, it is killed.
struct GrpcClient {
    child: Child,
    stdin: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl GrpcClient {
    /// Starts one of its checks that ask steadily, and waits until it does.
    fn start(target: SocketAddr, check: &str) -> Self {
        let mut command = client(&target.to_string(), &[check]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        assert_eq!(line, "asking\n");
        Self { stdin: child.stdin.take(), child, said }
    }

    /// Tells it to end; gives what it says of its calls.
    fn ended(&mut self) -> String {
        drop(self.stdin.take());
        let mut said = String::new();
        self.said.read_to_string(&mut said).expect("text");
        let status = self.child.wait().expect("a child");
        let _ = write!(said, "{status}");
        said
    }
}

impl Drop for GrpcClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replaces each replica in turn, then kills one, under load: no request may fail but those inside the one that is killed.
#[track_caller]
pub(crate) fn check(doors: Doors, replicas: &mut impl Replicas) {
    (0..REPLICAS).for_each(|number| doors.until_replica_is(number, "UP"));
    let mut grpc = GrpcClient::start(doors.grpc, "steady");
    let seen = Seen::default();
    let mut lost = Vec::new();
    thread::scope(|scope| {
        let _over = Over(&seen);
        for client in 0..CLIENTS {
            let seen = &seen;
            scope.spawn(move || ask(doors.http, client, seen));
        }
        seen.check("at the start");
        replace_all(replicas, &seen, |number| doors.until_replica_is(number, "UP"));
        assert_eq!(doors.retries(), 0, "a replica that drains fails no request, so that none need be sent again");
        assert_eq!(grpc.ended(), "every call was answered\nexit status: 0");
        grpc = GrpcClient::start(doors.grpc, "steady_while_one_is_killed");
        // Requests are in it when it is killed: it has taken them, and answers no more.
        replicas.signal(0, "STOP");
        until("requests are inside", || doors.count(0, "scur") >= 2);
        replicas.signal(0, "KILL");
        doors.until_replica_is(0, "DOWN");
        seen.until_more_is_answered();
        lost = seen.take_failures();
        seen.check("after a replica was killed");
        replicas.start(0);
        doors.until_replica_is(0, "UP");
        seen.check("when it came back");
    });
    // Each client had one request inside at most, and what was inside is not sent again.
    assert!((1..=CLIENTS).contains(&lost.len()), "{lost:#?}");
    // On a connection that was used before, HAProxy closes in place of an answer.
    assert!(lost.iter().all(|failure| failure.contains("502") || failure.contains("UnexpectedEof")), "{lost:#?}");
    assert_eq!(grpc.ended(), "at most 4 calls were lost\nexit status: 0");
    let answered = seen.answered.into_inner();
    eprintln!("{answered} requests; {} were lost with a replica; HAProxy sent {} again", lost.len(), doors.retries());
}
