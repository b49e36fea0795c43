//! Models of which an asset is missing. The initialiser fails, and the outputs that do not need it are served. Real TensorFlow.

use std::fs;
use std::path::Path;

use serde_json::{json, Value};
use tfweb_engine::tensorflow::{InterOp, SavedModelSession};

use crate::client::Request;
use crate::keeping::{models, Shelf, POLL};
use crate::process::Process;
use crate::support::{session, until, RunningServer};

const OF_2: &str = "tests/models/odd/missing_asset";
/// Made by TensorFlow 1.
const OF_1: &str = "tests/models/odd/missing_asset_1";

/// The signatures that need the initialiser, and the operation that does.
const NEED_IT: [(&str, &str); 4] =
    [("find", "HashTableV2"), ("other", "HashTableV2"), ("filled", "MutableHashTableV2"), ("read", "VarHandleOp")];

fn flags() -> String {
    format!("--model {OF_2} --model {OF_1}")
}

fn server() -> &'static RunningServer {
    RunningServer::shared(&flags())
}

#[track_caller]
fn native(server: &RunningServer, target: &str, body: &Value) -> (u16, Value) {
    read(server.post(target, &body.to_string()))
}

/// Asks a model of TensorFlow 1 for these outputs.
#[track_caller]
fn both(server: &RunningServer, outputs: &[&str]) -> (u16, Value) {
    let body = json!({"signature_name": "both", "inputs": [1, 2], "output_filter": outputs});
    read(server.post("/v1/models/missing_asset_1:predict", &body.to_string()))
}

fn read((status, text): (u16, String)) -> (u16, Value) {
    let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let error = answer.get_mut("error").map(Value::take);
    (status, error.unwrap_or(answer))
}

fn reason(operation: &str) -> String {
    let why = "needs the model's initialiser, which failed; the asset \"assets/words.txt\" is missing";
    format!("is not served: its operation {operation} {why}")
}

/// Copies a model whole, with or without the missing asset.
fn copy(from: &Path, to: &Path, with_asset: bool) {
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("a file")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to, false);
        } else {
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            fs::copy(entry.path(), to).expect("a file");
        }
    }
    if with_asset {
        add_asset(to);
    }
}

fn add_asset(version: &Path) {
    fs::create_dir_all(version.join("assets")).expect("a directory");
    fs::write(version.join("assets/words.txt"), "a\nb\n").expect("a file");
}

#[test]
fn what_does_not_need_the_initialiser_is_served() {
    let x = json!({"x": [1, 2]});
    for (target, y) in
        [("missing_asset/plain", [2.0, 4.0]), ("missing_asset/scale", [3.0, 6.0]), ("missing_asset_1/plain", [2.0, 4.0])]
    {
        assert_eq!(native(server(), &format!("/models/{target}"), &x), (200, json!({"y": y})), "{target}");
    }
    // A run changes this variable, which was saved as 40.
    assert_eq!(native(server(), "/models/missing_asset/count", &json!({"x": [1]})), (200, json!({"y": [41]})));
    assert_eq!(both(server(), &["scaled"]), (200, json!({"outputs": [3.0, 6.0]})), "one output of several");
}

#[test]
fn what_needs_the_initialiser_is_501_and_names_the_asset() {
    for (signature, operation) in NEED_IT {
        let expect = (501, json!(format!("output \"y\" {}", reason(operation))));
        assert_eq!(native(server(), &format!("/models/missing_asset/{signature}"), &json!({"x": ["a"]})), expect, "{signature}");
        let body = json!({"signature_name": signature, "inputs": ["a"], "output_filter": []}).to_string();
        assert_eq!(read(server().post("/v1/models/missing_asset:predict", &body)), expect, "{signature}");
        let described = server().call(&Request::get(&format!("/models/missing_asset/{signature}"))).json();
        assert_eq!(described["outputs"]["y"]["unserved"], reason(operation), "{signature}");
    }
    for (output, operation) in [("found", "HashTableV2"), ("local", "VariableV2")] {
        let expect = (501, json!(format!("output {output:?} {}", reason(operation))));
        assert_eq!(both(server(), &[output]), expect);
        assert_eq!(both(server(), &["scaled", output]), expect);
    }
}

/// With the asset, the same models give the answers that an initialiser left out would have changed.
#[test]
fn with_its_asset_a_model_serves_everything() {
    let place = tempfile::tempdir().expect("a directory");
    copy(Path::new(OF_2), &place.path().join("missing_asset"), false);
    copy(Path::new(OF_1), &place.path().join("missing_asset_1"), false);
    let version = |model: &str| place.path().join(model).join("1");
    add_asset(&version("missing_asset"));
    add_asset(&version("missing_asset_1"));
    let place = place.path().display();
    let server = RunningServer::start(&format!("--model {place}/missing_asset --model {place}/missing_asset_1"));
    for (signature, y) in
        [("find", json!([0, -1])), ("other", json!([-1, 0])), ("filled", json!([7, -1])), ("read", json!(["ac\nd\n", "cc\nd\n"]))]
    {
        assert_eq!(
            native(&server, &format!("/models/missing_asset/{signature}"), &json!({"x": ["a", "c"]})),
            (200, json!({"y": y}))
        );
    }
    let outputs = json!({"found": [-1, -1], "local": [5.0, 10.0], "scaled": [3.0, 6.0]});
    assert_eq!(both(&server, &["found", "local", "scaled"]), (200, json!({"outputs": outputs})));
}

#[test]
fn a_version_without_its_asset_does_not_take_over_until_the_asset_comes() {
    let shelf = Shelf::new();
    let from = Path::new(OF_2).join("1");
    copy(&from, &shelf.version(1), true);
    let server = RunningServer::kept(&shelf.flags(POLL));
    let find = || native(&server, "/models/m/find", &json!({"x": ["b"]}));
    until("version 1 answers", || find() == (200, json!({"y": [1]})));
    copy(&from, &shelf.version(2), false);
    let two = || models(&mut server.connect())[0]["versions"][1].clone();
    let expect = "the asset \"assets/words.txt\" is missing; version 1 serves it and stays";
    until("version 2 is judged whole", || two()["error"].as_str().is_some_and(|error| error.contains(expect)));
    assert_eq!(two()["state"], "END");
    assert_eq!(find(), (200, json!({"y": [1]})));
    add_asset(&shelf.version(2));
    until("version 2 takes over", || two()["state"] == "AVAILABLE");
    assert_eq!(find(), (200, json!({"y": [1]})));
}

#[test]
fn at_the_start_a_whole_version_is_served_before_one_without_its_asset() {
    let shelf = Shelf::new();
    let from = Path::new(OF_2).join("1");
    copy(&from, &shelf.version(1), true);
    copy(&from, &shelf.version(2), false);
    let server = RunningServer::kept(&shelf.flags(POLL));
    let find = || native(&server, "/models/m/find", &json!({"x": ["b"]}));
    until("a version answers", || find() == (200, json!({"y": [1]})));
    let states = || {
        models(&mut server.connect())[0]["versions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["state"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), ["AVAILABLE", "START"]);
    add_asset(&shelf.version(2));
    until("version 2 takes over", || states().last() == Some(&json!("AVAILABLE")));
    assert_eq!(find(), (200, json!({"y": [1]})));
}

#[test]
fn a_model_without_its_asset_serves_everything_when_the_asset_comes() {
    let shelf = Shelf::new();
    copy(&Path::new(OF_2).join("1"), &shelf.version(1), false);
    let server = RunningServer::kept(&shelf.flags(POLL));
    let find = || native(&server, "/models/m/find", &json!({"x": ["b"]}));
    until("version 1 is loaded", || find().0 == 501);
    add_asset(&shelf.version(1));
    until("the asset is seen", || find() == (200, json!({"y": [1]})));
}

/// Only a model that loads without its initialiser is served without it.
#[test]
fn a_missing_asset_excuses_no_other_fault() {
    session("tests/models/half_plus_two");
    let place = tempfile::tempdir().expect("a directory");
    copy(&Path::new(OF_2).join("1"), place.path(), false);
    let load = || SavedModelSession::load(place.path(), &["serve".to_owned()], InterOp::Auto);
    assert!(load().expect("a model").initialiser_error().is_some_and(|error| error.message.contains("words.txt")));
    fs::write(place.path().join("variables/variables.data-00000-of-00001"), "").expect("a file");
    let error = load().err().expect("no variables").message;
    assert!(error.contains("cannot be loaded") && !error.contains("initialiser"), "{error}");
    // An initialiser that fails although its assets are there takes the whole model down.
    let place = tempfile::tempdir().expect("a directory");
    copy(&Path::new(OF_2).join("1"), place.path(), false);
    fs::create_dir_all(place.path().join("assets/words.txt")).expect("a directory");
    let load = SavedModelSession::load(place.path(), &["serve".to_owned()], InterOp::Auto);
    assert!(load.err().expect("no table").message.contains("words.txt"));
}

#[test]
fn the_log_says_why_the_initialiser_failed() {
    let process = Process::serve(&flags());
    let says = |text: &str| process.stderr().iter().any(|line| line.contains("WARN") && line.contains(text));
    assert!(says("words.txt; No such file") && says("loaded without its initialiser"), "{:#?}", process.stderr());
    assert!(says(&format!("signature \"filled\": output \"y\" {}", reason("MutableHashTableV2"))), "{:#?}", process.stderr());
}
