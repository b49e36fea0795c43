//! A server whose ports are open while its models are still loaded.

use std::net::TcpListener;
use std::path::Path;

use serde_json::{json, Value};

use crate::client::{Connection, Request, Response};
use crate::process::Process;

const HERE: &str = "--model here=tests/models/half_plus_two";
const MUTE: &str = "--model mute=s3://bucket/m";

/// A store that accepts connections and says nothing.
struct MuteStore(TcpListener);

impl MuteStore {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    /// Starts a server that asks the store, and waits until its ports are open.
    #[track_caller]
    fn start(&self, flags: &str) -> Process {
        Process::start(&format!("--host 127.0.0.1 --port 0 {flags}"), &self.variables(&self.url())).opened()
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("its port"))
    }

    fn variables<'a>(&self, url: &'a str) -> [(&'static str, &'a str); 3] {
        [("AWS_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]
    }
}

fn call(process: &Process, request: &Request) -> Response {
    process.connect().call(request).expect("an answer")
}

fn post(target: &str) -> Request {
    Request::post(target, r#"{"x": [1]}"#)
}

/// Checks that requests to the model `mute` are asked to come again.
#[track_caller]
fn check_mute_is_awaited(process: &Process) {
    let rest = |target: &str| Request::post(target, r#"{"instances": [1]}"#);
    for request in [
        post("/models/mute/serving_default"),
        Request::get("/models/mute"),
        post("/models/mute/versions/1/serving_default"),
        rest("/v1/models/mute:predict"),
        rest("/v1/models/mute/versions/1:predict"),
        Request::post("/v1/models/mute:classify", r#"{"examples": [{"x": 1.0}]}"#),
    ] {
        let answer = call(process, &request);
        let is_told = answer.text().contains(r#"model \"mute\" is not loaded yet"#);
        assert!(answer.status == 503 && is_told && answer.header("retry-after").is_some(), "{answer:?}");
    }
}

#[test]
fn a_model_is_served_while_another_still_loads() {
    let store = MuteStore::new();
    for flags in [format!("{MUTE} {HERE}"), format!("{HERE} {MUTE} --strict_readiness")] {
        let mut process = store.start(&flags);
        process.until_says("ready: listening on http");
        assert_eq!(call(&process, &post("/models/here/serving_default")).text(), r#"{"y":[2.5]}"#, "{flags}");
        check_mute_is_awaited(&process);
        let ready = call(&process, &Request::get("/readyz"));
        let (status, word) = if flags.contains("strict") { (503, "loading") } else { (200, "ready") };
        assert_eq!((ready.status, &ready.json()["status"]), (status, &json!(word)), "{flags}");
        let mute = json!({"name": "mute", "version": null, "state": "START"});
        assert!(ready.json()["models"].as_array().is_some_and(|models| models.contains(&mute)), "{ready:?}");
        assert_eq!(call(&process, &Request::get("/livez")).status, 200);
    }
}

#[test]
fn the_ports_are_open_before_a_model_is_loaded() {
    let store = MuteStore::new();
    let mut process = store.start(MUTE);
    assert_eq!(call(&process, &Request::get("/livez")).status, 200);
    let ready = call(&process, &Request::get("/readyz"));
    let models = json!([{"name": "mute", "version": null, "state": "START"}]);
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "loading", "models": models})));
    assert_eq!(call(&process, &post("/")).status, 503);
    check_mute_is_awaited(&process);
    process.signal("TERM");
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_port_in_use_is_found_before_models_are_loaded() {
    let (store, taken) = (MuteStore::new(), TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = taken.local_addr().expect("its port");
    let flags = format!("--host 127.0.0.1 --port {} {MUTE}", address.port());
    let (status, stderr) = Process::start(&flags, &store.variables(&store.url())).ended();
    let said = stderr.last().cloned().unwrap_or_default();
    assert!(status.code() == Some(1) && said.contains(&format!("cannot listen on {address}")), "{stderr:#?}");
}

#[test]
fn a_removed_model_does_not_end_a_server_that_starts() {
    let store = MuteStore::new();
    let mut process = store.start(&format!("{MUTE} --admin_token secret"));
    let delete = Request::new("DELETE", "/models/mute").header("Authorization", "Bearer secret");
    assert_eq!(call(&process, &delete).status, 204);
    process.until_says("ready: listening on http");
    assert_eq!(call(&process, &Request::get("/readyz")).status, 200);
}

#[test]
fn where_a_model_comes_from_is_told_only_to_those_who_may_know() {
    let place = tempfile::tempdir().expect("a directory");
    let broken = place.path().join("secret_bucket");
    std::fs::create_dir_all(&broken).expect("a directory");
    std::fs::write(broken.join("saved_model.pb"), "no graph").expect("a file");
    let models = format!("--model broken={} --model missing=/no/secret_bucket", broken.display());
    let mut process = Process::serve(&format!("{HERE} {models} --api_token one --admin_port 0"));
    let line = process.until_says("health on http://");
    let admin = line.rsplit("http://").next().and_then(|address| address.trim().parse().ok()).expect("an address");
    let errors =
        |ready: &Value| ready["models"].as_array().expect("a list")[1..].iter().map(|model| model["error"].clone()).collect();
    let ready = call(&process, &Request::get("/readyz"));
    let told: Vec<Value> = errors(&ready.json());
    assert_eq!(told, [json!("a version cannot be loaded"), json!("there is no model at its place")]);
    for path in ["secret_bucket", place.path().to_str().expect("UTF-8")] {
        assert!(!ready.text().contains(path), "{ready:?}");
    }
    let full = Connection::open(admin).and_then(|mut client| client.call(&Request::get("/readyz"))).expect("an answer");
    let told: Vec<Value> = errors(&full.json());
    assert!(told.iter().all(|error| error.as_str().is_some_and(|error| error.contains("secret_bucket"))), "{told:?}");
    let listed = call(&process, &Request::get("/models").header("Authorization", "Bearer one"));
    assert!(listed.text().contains("secret_bucket"), "{listed:?}");
    assert!(Path::new(&broken).exists());
}
