//! Traces as they arrive at a collector.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::Span;
use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::client::{Connection, Request};
use crate::collector::{text, Collector};
use crate::gated::Gated;
use crate::grpc_client;
use crate::process::Process;
use crate::support::{until, RunningServer};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// How long a stop may take where no collector answers: what is waited for the last spans, and slack.
const STOP_MAX: Duration = Duration::from_secs(10);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn x(value: impl std::fmt::Display, traceparent: &str) -> Request {
    Request::post("/", format!(r#"{{"x": [{value}]}}"#)).header("traceparent", traceparent)
}

#[track_caller]
fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

fn links(span: &Span) -> Vec<(Vec<u8>, Vec<u8>)> {
    span.links.iter().map(|link| (link.trace_id.clone(), link.span_id.clone())).collect()
}

fn place(span: &Span) -> (Vec<u8>, Vec<u8>) {
    (span.trace_id.clone(), span.span_id.clone())
}

#[test]
fn a_request_is_a_span_with_its_stages_below_it() {
    let collector = Collector::start();
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), &collector.flag());
    let request = x(1, &format!("00-{TRACE}-{PARENT}-01")).header("x-request-id", "mine");
    assert_eq!(server.call(&request).status, 200);
    drop(server);

    let spans = collector.spans();
    let root = only(&spans, "POST /");
    assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(root.kind, SpanKind::Server as i32);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/"),
        ("http.response.status_code", "200"),
        ("client.address", "127.0.0.1"),
        ("tfweb.model", "test"),
        ("tfweb.version", "1"),
        ("tfweb.signature", "serving_default"),
        ("tfweb.rows", "1"),
        ("tfweb.request_id", "mine"),
    ] {
        assert_eq!(text(&root.attributes, key).as_deref(), Some(value), "{key}");
    }
    let stages = ["decode", "queue", "run", "encode"].map(|name| only(&spans, name));
    for stage in stages {
        assert_eq!((&stage.trace_id, &stage.parent_span_id), (&root.trace_id, &root.span_id), "{}", stage.name);
        let is_within =
            root.start_time_unix_nano <= stage.start_time_unix_nano && stage.end_time_unix_nano <= root.end_time_unix_nano;
        assert!(is_within, "{stage:#?} {root:#?}");
    }
    assert!(stages.is_sorted_by_key(|stage| stage.start_time_unix_nano), "{stages:#?}");
    let batch = only(&spans, "batch");
    assert_eq!((links(batch), links(stages[2])), (vec![place(root)], vec![place(batch)]));
    assert_eq!(spans.len(), 6, "and no more: {spans:#?}");
    assert_eq!(collector.services(), ["tfweb"]);
}

#[test]
fn a_batch_is_linked_to_the_requests_it_served() {
    let collector = Collector::start();
    let session = Gated::new(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)));
    let server = RunningServer::of(session.clone(), &format!("--run_threads 1 {}", collector.flag()));
    session.hold();
    let mut connections = server.send_all([x(0, "")]);
    session.until_runs(1);
    let unsampled = format!("00-{}-{PARENT}-00", "1".repeat(32));
    connections.extend(server.send_all([x("1, 1", ""), x(2, ""), x(3, ""), x(4, &unsampled)]));
    server.until_inside("test", 5);
    session.release();
    for mut connection in connections {
        assert_eq!(connection.receive().expect("an answer").status, 200);
    }
    drop(server);

    let spans = collector.spans();
    let find = |rows: &str| {
        spans.iter().find(|span| span.name == "batch" && text(&span.attributes, "tfweb.batch.rows").as_deref() == Some(rows))
    };
    let batch = find("5").unwrap_or_else(|| panic!("a batch of 5 rows: {spans:#?}"));
    assert_eq!(text(&batch.attributes, "tfweb.batch.requests").as_deref(), Some("4"), "the unsampled one too");
    assert_eq!(text(&batch.attributes, "tfweb.model").as_deref(), Some("test"));
    let served: Vec<&Span> = spans.iter().filter(|span| span.name == "run" && links(span) == [place(batch)]).collect();
    assert_eq!(served.len(), 3, "{spans:#?}");
    let mut roots: Vec<_> = served.iter().map(|run| (run.trace_id.clone(), run.parent_span_id.clone())).collect();
    let mut linked = links(batch);
    roots.sort();
    linked.sort();
    assert_eq!(linked, roots, "each to each");
    let first = find("1").expect("the run before");
    assert_eq!((links(first).len(), links(batch).len()), (1, 3));
    assert!(first.end_time_unix_nano <= batch.start_time_unix_nano && place(first).0 != place(batch).0);
}

#[test]
fn the_callers_wish_is_respected_and_what_is_malformed_is_not() {
    let collector = Collector::start();
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), &collector.flag());
    let call = |traceparent: &str| assert_eq!(server.call(&x(1, traceparent)).status, 200, "{traceparent}");
    call(&format!("00-{TRACE}-{PARENT}-00"));
    assert_eq!(server.call(&Request::get("/livez")).status, 200);
    let malformed = ["nonsense", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff"];
    malformed.iter().for_each(|traceparent| call(traceparent));
    assert_eq!(
        server.call(&Request::get("/no/such/path?secret=1").header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))).status,
        404
    );
    drop(server);

    let spans = collector.spans();
    let roots: Vec<&Span> = spans.iter().filter(|span| span.name == "POST /").collect();
    assert_eq!(roots.len(), malformed.len(), "neither unsampled ones nor probes: {spans:#?}");
    assert!(roots.iter().all(|root| root.parent_span_id.is_empty() && hex(&root.trace_id) != TRACE));
    let unknown = only(&spans, "GET");
    assert_eq!(hex(&unknown.parent_span_id), PARENT);
    assert_eq!(text(&unknown.attributes, "url.path").as_deref(), Some("/no/such/path"), "without its query");
    assert_eq!(text(&unknown.attributes, "http.route"), None);
}

#[test]
fn grpc_calls_are_traced_too() {
    let collector = Collector::start();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let flags = format!("--host 127.0.0.1 --port 0 --model tests/models/half_plus_two --grpc_port {free}");
    let endpoint = format!("http://{}/", collector.address);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SERVICE_NAME", "cats"), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let _process = Process::start(&flags, &variables).ready();
    let metadata = [("traceparent", &*format!("00-{TRACE}-{PARENT}-01"))];
    grpc_client::call(free, &metadata, grpc_client::floats("half_plus_two", &[1.0, 2.0])).expect("an answer");
    grpc_client::call(free, &[], grpc_client::floats("nothing", &[1.0])).expect_err("no such model");
    until("the spans have come", || collector.spans().len() >= 7);

    let spans = collector.spans();
    let name = "tensorflow.serving.PredictionService/Predict";
    let root = spans.iter().find(|span| span.name == name && hex(&span.trace_id) == TRACE).expect("the call");
    assert_eq!((hex(&root.parent_span_id), links(only(&spans, "batch"))), (PARENT.to_owned(), vec![place(root)]));
    for (key, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "tensorflow.serving.PredictionService"),
        ("rpc.method", "Predict"),
        ("rpc.grpc.status_code", "0"),
        ("tfweb.rows", "2"),
    ] {
        assert_eq!(text(&root.attributes, key).as_deref(), Some(value), "{key}");
    }
    let refused = spans.iter().find(|span| span.name == name && hex(&span.trace_id) != TRACE).expect("the other call");
    assert_eq!(text(&refused.attributes, "rpc.grpc.status_code").as_deref(), Some("5"));
    assert!(collector.services().iter().all(|service| service == "cats"), "{:?}", collector.services());
}

/// How long some requests take.
fn time(connection: &mut Connection) -> Duration {
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(connection.call(&Request::post("/", r#"{"x": [1]}"#)).expect("an answer").status, 200);
    }
    begun.elapsed()
}

#[test]
fn a_collector_that_does_not_answer_slows_nothing() {
    /// So many that the queue of spans is full long before the last.
    const ROUNDS: usize = 20;
    // One takes connections and says nothing; where the other was, nobody listens any more.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let endpoints = [silent.local_addr().expect("its address"), gone].map(|address| format!("--otlp_endpoint http://{address}"));
    let serve = |flags: &str| Process::serve(&format!("--model tests/models/half_plus_two {flags}"));
    let mut servers = ["", &endpoints[0], &endpoints[1]].map(serve);
    let mut connections = servers.each_ref().map(Process::connect);
    // In turns, and the best of each: the machine has other things to do as well.
    let mut best = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        for (best, connection) in best.iter_mut().zip(&mut connections) {
            *best = time(connection).min(*best);
        }
    }
    assert!(best.iter().all(|time| *time < 3 * best[0]), "the first without traces: {best:?}");
    drop(connections);
    for server in &mut servers {
        let begun = Instant::now();
        server.signal("TERM");
        assert_eq!(server.ended().0.code(), Some(0));
        assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    }
}
