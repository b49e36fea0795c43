//! Tests, by clients over HTTP, which requests share a run and which client gets which answer.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Code, Error, Session, Signature, Tensor};

use crate::client::{Connection, Request, Response};
use crate::gated::Gated;
use crate::support::{session, until, RunningServer, MODELS};

/// How soon a full queue must say so.
const REFUSAL_MAX: Duration = Duration::from_millis(50);

/// A server whose one model can be held.
struct Held {
    server: RunningServer,
    session: Arc<Gated>,
}

impl Held {
    fn new(session: Arc<dyn Session>, flags: &str) -> Self {
        let session = Gated::new(session);
        Self { server: RunningServer::of(session.clone(), &format!("--run_threads 1 {flags}")), session }
    }

    fn fake(behaviour: Behaviour, flags: &str) -> Self {
        Self::new(Arc::new(FakeSession::new(behaviour)), flags)
    }

    fn real(model: &str, flags: &str) -> Self {
        Self::new(session(model), flags)
    }

    /// Sends a request, waits until its run is held, sends the others while it is, and then lets go. Gives the connections of
    /// the others.
    fn send_behind(&self, first: Request, others: Vec<Request>) -> Vec<Connection> {
        self.session.hold();
        let runs = self.session.run_rows().len();
        let inside = 1 + others.len();
        let mut running = self.server.send_all([first]);
        self.session.until_runs(runs + 1);
        let connections = self.server.send_all(others);
        self.server.until_inside("test", inside);
        self.session.release();
        assert_eq!(running[0].receive().unwrap().status, 200);
        connections
    }
}

fn answers(connections: Vec<Connection>) -> Vec<Response> {
    connections.into_iter().map(|mut connection| connection.receive().expect("an answer")).collect()
}

fn x(target: &str, value: impl std::fmt::Display) -> Request {
    Request::post(target, format!(r#"{{"x": [{value}]}}"#))
}

/// Forty requests of one row, the first of which is running when the others come.
#[track_caller]
fn check_forty(held: &Held, target: &str, expect: impl Fn(usize) -> f64) {
    let others = (1..40).map(|i| x(target, i)).collect();
    for (i, response) in (1..).zip(answers(held.send_behind(x(target, 0), others))) {
        assert_eq!((response.status, &response.json()["y"][0]), (200, &expect(i).into()), "to each its own");
    }
    assert_eq!(held.session.run_rows(), [1, 32, 7]);
}

#[test]
fn forty_requests_run_as_1_32_7() {
    check_forty(&Held::fake(Behaviour::HalfPlusTwo, ""), "/", |i| i as f64 / 2.0 + 2.0);
}

#[test]
fn forty_requests_of_a_real_model_run_as_1_32_7() {
    let held = Held::real("tests/models/kitchen", "");
    check_forty(&held, "/batch_rows", |i| i as f64);
}

/// How large the parts behind the first are depends on how long runs take on this machine.
#[test]
fn one_request_of_100_rows_runs_in_parts_in_order() {
    let held = Held::real("tests/models/kitchen", "");
    let values: Vec<f64> = (0..100).map(f64::from).collect();
    let response = held.server.call(&Request::post("/batch_rows", serde_json::json!({ "x": values }).to_string()));
    assert_eq!(response.json()["y"], serde_json::json!(values));
    let parts = held.session.run_rows();
    assert_eq!((parts[0], parts.iter().sum::<usize>()), (32, 100));
    let rows: Vec<usize> = parts.iter().flat_map(|&rows| vec![rows; rows]).collect();
    assert_eq!(response.json()["rows"], serde_json::json!(rows), "what the model saw");
}

#[test]
fn with_batch_size_1_a_request_runs_whole() {
    let held = Held::real("tests/models/kitchen", "--batch_size 1");
    let values: Vec<f64> = (0..100).map(f64::from).collect();
    let response = held.server.call(&Request::post("/batch_rows", serde_json::json!({ "x": values }).to_string()));
    assert_eq!(response.json()["y"], serde_json::json!(values));
    assert_eq!(held.session.run_rows(), [100]);
}

#[test]
fn batch_size_1_switches_batching_off() {
    let held = Held::fake(Behaviour::HalfPlusTwo, "--batch_size 1");
    let others = (1..5).map(|i| x("/", i)).collect();
    assert!(answers(held.send_behind(x("/", 0), others)).iter().all(|response| response.status == 200));
    assert_eq!(held.session.run_rows(), [1, 1, 1, 1, 1]);
}

#[test]
fn rows_of_unlike_length_run_in_batches_of_their_own() {
    let held = Held::real("tests/models/kitchen", "");
    let row = |length: usize| Request::post("/ragged", serde_json::json!({ "x": [vec![1.0; length]] }).to_string());
    let lengths = [2, 3, 2, 3, 2];
    let responses = answers(held.send_behind(row(1), lengths.map(row).into()));
    for (length, response) in lengths.into_iter().zip(responses) {
        assert_eq!(response.json()["sum"], serde_json::json!([length as f64]));
    }
    let rows = held.session.run_rows();
    assert!(rows == [1, 3, 2] || rows == [1, 2, 3], "whichever came first: {rows:?}");
}

#[test]
fn a_signature_that_is_not_batchable_runs_each_request_whole() {
    let held = Held::real("tests/models/kitchen", "");
    let request = |rows: usize| Request::post("/strings", serde_json::json!({ "x": vec!["a"; rows] }).to_string());
    let responses = answers(held.send_behind(request(1), vec![request(100), request(100)]));
    assert!(responses.iter().all(|response| response.json()["scalar"] == "a".repeat(100)), "{responses:?}");
    assert_eq!(held.session.run_rows(), [1, 100, 100]);
}

#[test]
fn signatures_take_turns() {
    let held = Held::real("tests/models/kitchen", "");
    let others = (0..40).map(|i| x(if i % 20 == 19 { "/passthrough" } else { "/batch_rows" }, i)).collect();
    assert!(answers(held.send_behind(x("/batch_rows", 0), others)).iter().all(|response| response.status == 200));
    let rows = held.session.run_rows();
    assert_eq!((rows.len(), rows.iter().max()), (4, Some(&32)), "1, 32 of one, 2 of the other, 6 of the first: {rows:?}");
    assert!(rows[1] == 2 || rows[2] == 2, "none waits for all of the other: {rows:?}");
}

#[test]
fn one_corrupt_image_among_31_good_ones_fails_alone() {
    let held = Held::real("examples/digits", "");
    let digits = ["0.png", "2.png", "3.png", "5.jpg", "7.png", "9.png"];
    let image = |i: usize| std::fs::read(format!("examples/digits_images/{}", digits[i % digits.len()])).unwrap();
    let request = |body: Vec<u8>| Request::post("/predict", body).header("Content-Type", "image/png");
    let requests = (0..32).map(|i| request(if i == 17 { image(3)[..40].to_vec() } else { image(i) })).collect();
    let responses = answers(held.send_behind(request(image(0)), requests));
    for (i, response) in responses.iter().enumerate() {
        if i == 17 {
            let body = response.json();
            assert_eq!((response.status, &body["code"]), (400, &"INVALID_ARGUMENT".into()));
            assert!(body["error"].as_str().unwrap().to_lowercase().contains("jpeg"), "TensorFlow's own words: {body}");
        } else {
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.json()["class"], serde_json::json!([digits[i % digits.len()][..1]]));
        }
    }
    assert!(held.session.run_rows().len() <= 2 + 2 * 5, "halving 32 takes five levels: {:?}", held.session.run_rows());
}

#[test]
fn a_request_that_fails_fails_alone() {
    let held = Held::real("tests/models/kitchen", "");
    let requests = (0..20).map(|i| x("/fails", if i == 7 { -1 } else { i * i })).collect();
    for (i, response) in answers(held.send_behind(x("/fails", 0), requests)).into_iter().enumerate() {
        if i == 7 {
            assert_eq!(response.status, 400);
            assert!(response.json()["error"].as_str().unwrap().contains("x must not be negative"));
        } else {
            assert_eq!((response.status, response.json()), (200, serde_json::json!({ "y": [i as f64] })));
        }
    }
}

#[test]
fn outputs_of_fewer_rows_are_answered_as_tensorflow_gave_them() {
    let held = Held::real("tests/models/kitchen", "");
    let requests = ["1, -1", "2", "-3"].map(|values| x("/fewer_rows", values));
    let responses = answers(held.send_behind(x("/fewer_rows", 1), requests.into()));
    let bodies: Vec<_> = responses.iter().map(Response::text).collect();
    assert_eq!(bodies, [r#"{"positive":[1.0]}"#, r#"{"positive":[2.0]}"#, r#"{"positive":[]}"#]);
}

#[test]
fn clients_that_hang_up_while_queued_cost_no_run() {
    let held = Held::fake(Behaviour::HalfPlusTwo, "");
    held.session.hold();
    let mut running = held.server.send_all([x("/", 1)]);
    held.session.until_runs(1);
    let gone = held.server.send_all((0..200).map(|i| x("/", i)));
    held.server.until_inside("test", 201);
    drop(gone);
    held.server.until_inside("test", 1);
    held.session.release();
    assert_eq!(running[0].receive().unwrap().text(), r#"{"y":[2.5]}"#);
    assert_eq!(held.server.post("/", r#"{"x": [2]}"#), (200, r#"{"y":[3.0]}"#.into()));
    assert_eq!(held.session.run_rows(), [1, 1]);
}

#[test]
fn a_full_queue_answers_503_at_once() {
    let held = Held::fake(Behaviour::HalfPlusTwo, "--queue_size 16");
    held.session.hold();
    let sixteen = held.server.send_all((0..16).map(|i| x("/", i)));
    held.server.until_inside("test", 16);
    let mut connection = held.server.connect();
    let refusal = || {
        let start = Instant::now();
        let response = connection.call(&x("/", 17)).unwrap();
        (start.elapsed(), response)
    };
    // The quickest of some: this machine may have other work, the server has none.
    let (time, response) = std::iter::repeat_with(refusal).take(5).min_by_key(|(time, _)| *time).unwrap();
    assert!(time < REFUSAL_MAX, "{time:?}");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    let expected = "model is overloaded: 16 requests queued (limit 16); retry after 1 s or raise --queue_size";
    assert_eq!(response.json(), serde_json::json!({"error": expected, "code": "UNAVAILABLE"}));
    held.session.release();
    for (i, response) in answers(sixteen).into_iter().enumerate() {
        assert_eq!((response.status, response.json()), (200, serde_json::json!({ "y": [i as f64 / 2.0 + 2.0] })));
    }
}

#[test]
fn a_deadline_names_its_stage_and_costs_no_run() {
    let held = Held::fake(Behaviour::HalfPlusTwo, "--request_timeout_ms 200");
    held.session.hold();
    let mut running = held.server.send_all([x("/", 1)]);
    held.session.until_runs(1);
    let queued = held.server.send_all([x("/", 1)]);
    running.extend(queued);
    for (response, stage) in answers(running).into_iter().zip(["ran", "was queued"]) {
        let expected = format!("the request's time ran out while it {stage}");
        assert_eq!(response.json(), serde_json::json!({"error": expected, "code": "DEADLINE_EXCEEDED"}));
        assert_eq!(response.status, 504);
    }
    held.session.release();
    assert_eq!(held.server.post("/", r#"{"x": [2]}"#), (200, r#"{"y":[3.0]}"#.into()));
    assert_eq!(held.session.run_rows(), [1, 1]);
}

#[test]
fn a_panic_in_a_run_answers_500_and_the_server_lives_on() {
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::PanicsOnNegative)), "--run_threads 1");
    for _ in 0..3 {
        let response = server.call(&x("/", -1));
        assert_eq!((response.status, &response.json()["code"]), (500, &"INTERNAL".into()));
        assert_eq!(server.post("/", r#"{"x": [2]}"#), (200, r#"{"y":[2.0]}"#.into()));
    }
}

/// A session that finds the bytes of negative values damaged.
struct Damaged(FakeSession);

impl Session for Damaged {
    fn signatures(&self) -> &[Signature] {
        self.0.signatures()
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        let damaged = |error: Error| Error::new(Code::DataLoss, error.message);
        self.0.run(signature, requests).map_err(damaged)
    }
}

#[test]
fn damaged_bytes_are_400_and_hurt_no_neighbour() {
    let held = Held::new(Arc::new(Damaged(FakeSession::new(Behaviour::FailsOnNegative))), "");
    let value = |i: i32| if i % 3 == 0 { -i - 1 } else { i };
    let requests = (0..64).map(|i| x("/", value(i))).collect();
    for (i, response) in (0..64).zip(answers(held.send_behind(x("/", 1), requests))) {
        if i % 3 == 0 {
            let expected = serde_json::json!({"error": "x must not be negative", "code": "DATA_LOSS"});
            assert_eq!((response.status, response.json()), (400, expected));
        } else {
            assert_eq!((response.status, response.json()), (200, serde_json::json!({ "y": [f64::from(i)] })));
        }
    }
}

#[test]
fn runs_that_are_out_of_time_end_and_leave_their_threads_to_others() {
    let server = RunningServer::kept("--model tests/models/kitchen --inter_op pool --run_threads 1 --request_timeout_ms 1500");
    // Each would run for minutes.
    let late = server.send_all([1, 2, 3].map(|_| Request::post("/slow", r#"{"loops": [300000]}"#)));
    for response in answers(late) {
        assert_eq!((response.status, &response.json()["code"]), (504, &"DEADLINE_EXCEEDED".into()));
    }
    let metric = r#"tfweb_running_rows{model="kitchen",version="1",signature="slow"} 0"#;
    until("no row runs", || server.call(&Request::get("/metrics")).text().contains(metric));
    assert_eq!(server.post("/passthrough", r#"{"x": [1]}"#).0, 200);
}

#[test]
fn a_broken_session_answers_500_and_is_asked_again() {
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::AlwaysFails)), "");
    for _ in 0..2 {
        let expected = r#"{"error":"the session is broken","code":"INTERNAL"}"#;
        assert_eq!(server.post("/", r#"{"x": [2]}"#), (500, expected.into()));
    }
}

#[test]
fn every_one_of_3200_concurrent_requests_gets_its_own_answer() {
    let server = RunningServer::shared(MODELS);
    thread::scope(|scope| {
        for client in 0..64 {
            scope.spawn(move || {
                let mut connection = server.connect();
                for i in 0..50 {
                    let value = f64::from(client * 50 + i);
                    let response = connection.call(&x("/", value)).unwrap();
                    assert_eq!((response.status, response.json()["y"][0].as_f64()), (200, Some(value / 2.0 + 2.0)));
                }
            });
        }
    });
}
