//! Tests for those who operate a server: the health check of its image, variables that platforms set, the admin port.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};
use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::client::{Connection, Request};
use crate::gated::Gated;
use crate::process::Process;
use crate::support::{config, until, RunningServer};

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";

/// Runs a health check. Gives its exit code and what it says on stderr.
fn checked(flags: &str) -> (Option<i32>, String) {
    let (status, stderr) = Process::start(&format!("--healthcheck {flags}"), &[]).ended();
    (status.code(), stderr.join("\n"))
}

fn get(address: SocketAddr, target: &str) -> (u16, Value) {
    let answer = Connection::open(address).and_then(|mut connection| connection.call(&Request::get(target))).expect("an answer");
    (answer.status, answer.json())
}

#[test]
fn a_health_check_exits_as_the_server_is() {
    let mut process = Process::serve(&format!("{HALF_PLUS_TWO} --drain_delay_ms 4000"));
    let flags = format!("--host 127.0.0.1 --port {}", process.address().port());
    assert_eq!(checked(&flags), (Some(0), String::new()));
    assert_eq!(checked(&flags.replace("127.0.0.1", "0.0.0.0")).0, Some(0), "on this machine");
    process.signal("TERM");
    process.until_says("SIGTERM");
    let (code, said) = checked(&flags);
    assert!(code == Some(1) && said.contains("/readyz says 503: ") && said.contains("draining"), "{code:?} {said}");
    process.signal("KILL");
    process.ended();
    let (code, said) = checked(&flags);
    assert!(code == Some(1) && said.contains("refused"), "{code:?} {said}");
}

#[test]
fn a_health_check_does_not_wait_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (code, said) = checked(&format!("--host 127.0.0.1 --port {}", silent.local_addr().expect("its port").port()));
    assert!(code == Some(1) && said.contains("timed out"), "{code:?} {said}");
}

#[test]
fn variables_of_platforms_are_taken_where_nothing_else_is_said() {
    let links = [("TFWEB_PORT", "tcp://10.0.0.1:8080"), ("TFWEB_GRPC_PORT", "tcp://10.0.0.1:50051")];
    let platform = [("TFWEB_HOST", "127.0.0.1"), ("PORT", "0"), ("MODEL", "tests/models/half_plus_two"), ("MODEL_NAME", "cats")];
    let variables = [&links[..], &platform[..]].concat();
    let process = Process::start("--grpc_port 0", &variables).ready();
    assert_eq!(get(process.address(), "/models").1[0]["name"], json!("cats"));
    let variables = [("PORT", "1"), ("MODEL", "no/such/model"), ("MODEL_NAME", "cats"), ("TFWEB_PORT", "0")];
    let process = Process::start(&format!("--host 127.0.0.1 {HALF_PLUS_TWO}"), &variables).ready();
    assert_eq!(get(process.address(), "/models").1[0]["name"], json!("half_plus_two"), "what is said with our prefix goes first");
    let (status, stderr) = Process::start(HALF_PLUS_TWO, &[("PORT", "http")]).ended();
    assert!(status.code() == Some(2) && stderr[0].contains("PORT: expected a whole number, got `http`"), "{stderr:#?}");
}

#[test]
fn the_port_for_operation_tells_how_the_server_is() {
    let mut process = Process::serve(&format!("{HALF_PLUS_TWO} --admin_port 0 --api_token one --drain_delay_ms 3000"));
    let line = process.until_says("health on http://");
    let operations: SocketAddr = line.rsplit("http://").next().and_then(|address| address.trim().parse().ok()).expect("an address");
    let ready = json!({"status": "ready", "models": [{"name": "half_plus_two", "version": 1, "state": "AVAILABLE"}]});
    for address in [operations, process.address()] {
        assert_eq!(get(address, "/readyz"), (200, ready.clone()));
        assert_eq!(get(address, "/livez"), (200, json!({"status": "live"})));
    }
    // Figures have moved there, and are shown to whoever reaches that port.
    let status_of = |address: SocketAddr, target: &str, token: &str| {
        let request = Request::get(target).header("Authorization", token);
        Connection::open(address).and_then(|mut connection| connection.call(&request)).expect("an answer").status
    };
    for target in ["/metrics", "/monitoring/prometheus/metrics", "/stats"] {
        assert_eq!((status_of(operations, target, ""), status_of(process.address(), target, "Bearer one")), (200, 404), "{target}");
    }
    let asked =
        Request::new("OPTIONS", "/models").header("Origin", "https://a.example").header("Access-Control-Request-Method", "POST");
    assert_eq!(Connection::open(operations).and_then(|mut connection| connection.call(&asked)).expect("an answer").status, 404);
    let (status, said) = get(operations, "/models");
    assert!(status == 404 && said["error"].as_str().is_some_and(|text| text.contains("port for operation")), "{said}");
    let flags = format!("--host 127.0.0.1 --port 1 --admin_port {}", operations.port());
    assert_eq!(checked(&flags), (Some(0), String::new()));
    process.signal("TERM");
    process.until_says("SIGTERM");
    assert_eq!(get(operations, "/readyz").0, 503);
    assert_eq!(get(operations, "/livez").0, 200);
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_port_for_operation_that_is_taken_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its port");
    let flags = format!("--host 127.0.0.1 --port 0 {HALF_PLUS_TWO} --admin_port {}", address.port());
    let (status, stderr) = Process::start(&flags, &[]).ended();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains(&format!("cannot listen on {address}: "))), "{stderr:#?}");
}

#[test]
fn a_model_whose_run_threads_do_not_move_is_named() {
    let held = || Gated::new(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)));
    let (slow, stuck) = (held(), held());
    let mut config = config("--model slow --model stuck --run_threads 1");
    config.stuck_after = Duration::from_millis(300);
    let server = RunningServer::configured([("slow", slow.clone()), ("stuck", stuck.clone())], config);
    let request = |model: &str| Request::post(&format!("/models/{model}/serving_default"), r#"{"x": [1]}"#);
    let named = |said: &Value| {
        let texts = said["stuck"].as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(|text| text.split_once(": every run thread is in one run").map(|(model, _)| model.to_owned())).collect::<Vec<_>>()
    };
    slow.hold();
    stuck.hold();
    let mut running = server.send_all([request("slow")]);
    slow.until_runs(1);
    running.extend(server.send_all([request("stuck")]));
    // The second must wait: before the run it could share it with the first.
    stuck.until_runs(1);
    running.extend(server.send_all([request("stuck")]));
    until("a model is stuck", || get(server.address, "/livez").0 == 503);
    let (_, said) = get(server.address, "/livez");
    assert_eq!(said["status"], json!("stuck"));
    assert_eq!(named(&said), [Some("model \"stuck\" version 1".to_owned())], "the run of `slow` is older, but nobody waits for it");
    let (status, said) = get(server.address, "/readyz");
    assert_eq!((status, &said["status"]), (503, &json!("stuck")));
    running.extend(server.send_all([request("slow")]));
    until("both models are stuck", || named(&get(server.address, "/livez").1).len() == 2);
    slow.release();
    stuck.release();
    for mut connection in running {
        assert_eq!(connection.receive().expect("an answer").status, 200);
    }
    until("it moves again", || get(server.address, "/livez") == (200, json!({"status": "live"})));
    assert_eq!(get(server.address, "/readyz").0, 200);
}
