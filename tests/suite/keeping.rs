//! Models that come, change and go while they are served: versions, the management API, the file of models. Real TensorFlow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{json, Value};

use crate::client::{Connection, Request, Response};
use crate::process::Process;
use crate::support::{until, RunningServer};

pub(crate) const TWO: &str = "tests/models/half_plus_two/1";
pub(crate) const THREE: &str = "tests/models/half_plus_three/1";
/// Looks often, so that tests need not wait.
pub(crate) const POLL: &str = "--poll_seconds 0.05";

/// A directory of versions.
pub(crate) struct Shelf(tempfile::TempDir);

impl Shelf {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn version(&self, number: u64) -> PathBuf {
        self.path().join(number.to_string())
    }

    /// Copies a model in, at once.
    pub(crate) fn put(&self, number: u64, model: &str) {
        let copied = tempfile::tempdir_in(std::env::temp_dir()).expect("a directory");
        copy(Path::new(model), &copied.path().join("m"), &|_| true);
        fs::create_dir_all(self.path()).expect("a directory");
        fs::rename(copied.path().join("m"), self.version(number)).expect("the same file system");
    }

    pub(crate) fn remove(&self, number: u64) {
        // First out of sight: a model is not taken apart while it is looked at.
        let away = tempfile::tempdir().expect("a directory");
        fs::rename(self.version(number), away.path().join("gone")).expect("the same file system");
    }

    pub(crate) fn flags(&self, more: &str) -> String {
        format!("--model m={} {more}", self.path().display())
    }
}

/// Copies the files of a model whose paths within it are wanted.
fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) {
    for file in ["saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"] {
        if wanted(file) {
            fs::create_dir_all(to.join(file).parent().expect("a directory")).expect("a directory");
            fs::copy(from.join(file), to.join(file)).expect("a file to copy");
        }
    }
}

pub(crate) fn models(connection: &mut Connection) -> Value {
    connection.call(&Request::get("/models")).expect("an answer").json()
}

/// Version → state, of the first model.
fn states(connection: &mut Connection) -> BTreeMap<u64, String> {
    let models = models(connection);
    let versions = models[0]["versions"].as_array().cloned().unwrap_or_default();
    versions.iter().map(|version| (version["version"].as_u64().unwrap(), version["state"].as_str().unwrap().to_owned())).collect()
}

#[track_caller]
fn until_states(server: &RunningServer, expect: &[(u64, &str)]) {
    let expect: BTreeMap<u64, String> = expect.iter().map(|(version, state)| (*version, (*state).to_owned())).collect();
    let mut connection = server.connect();
    let mut last = BTreeMap::new();
    until(&format!("the versions' states are {expect:?}"), || {
        last = states(&mut connection);
        last == expect
    });
}

/// Asks a model for the value of 1: half_plus_two answers 2.5, half_plus_three 3.5.
pub(crate) fn answer(server: &RunningServer, target: &str) -> (u16, String) {
    server.post(target, r#"{"x": [1]}"#)
}

#[track_caller]
pub(crate) fn until_answers(server: &RunningServer, target: &str, expect: &str) {
    until(&format!("{target} answers {expect}"), || answer(server, target) == (200, expect.into()));
}

pub(crate) const GIVES_TWO: &str = r#"{"y":[2.5]}"#;
pub(crate) const GIVES_THREE: &str = r#"{"y":[3.5]}"#;

#[test]
fn the_newest_version_takes_over_and_the_old_one_leaves() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let server = RunningServer::kept(&shelf.flags(POLL));
    assert_eq!(answer(&server, "/"), (200, GIVES_TWO.into()));
    shelf.put(12, THREE);
    until_answers(&server, "/", GIVES_THREE);
    until_states(&server, &[(1, "END"), (12, "AVAILABLE")]);
    assert_eq!(answer(&server, "/models/m/versions/1").0, 404);
    assert_eq!(answer(&server, "/models/m/versions/12/serving_default"), (200, GIVES_THREE.into()));
    shelf.remove(12);
    until_answers(&server, "/", GIVES_TWO);
    until_states(&server, &[(1, "AVAILABLE"), (12, "END")]);
    // A version that has gone has counted, and one that comes again goes on counting.
    let figures = server.call(&Request::get("/metrics")).text();
    let of = |version: u64| format!(r#"model="m",version="{version}""#);
    let value = |sample: String| figures.lines().find_map(|line| line.strip_prefix(&sample)?.trim().parse::<f64>().ok());
    let answered = |version| {
        let labels = format!(r#"{},signature="serving_default",protocol="native",code="OK""#, of(version));
        value(format!("tfweb_requests_total{{{labels}}}")).unwrap_or_default()
    };
    assert!(answered(1) >= 2.0 && answered(12) >= 2.0, "{figures}");
    let state = |version, state: &str| value(format!(r#"tfweb_model_state{{{},state="{state}"}}"#, of(version)));
    assert_eq!((state(1, "AVAILABLE"), state(1, "END"), state(12, "END")), (Some(1.0), Some(0.0), Some(1.0)), "{figures}");
    assert!(value(format!("tfweb_model_load_seconds{{{}}}", of(12))) > Some(0.0), "{figures}");
}

#[test]
fn policies_and_labels_choose_versions() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    shelf.put(2, THREE);
    shelf.put(3, TWO);
    let latest_two = RunningServer::kept(&shelf.flags("--version_policy latest:2 --version_labels stable=2,canary=3,old=1"));
    until_states(&latest_two, &[(2, "AVAILABLE"), (3, "AVAILABLE")]);
    assert_eq!(answer(&latest_two, "/models/m/labels/stable"), (200, GIVES_THREE.into()));
    assert_eq!(answer(&latest_two, "/models/m/labels/canary/serving_default"), (200, GIVES_TWO.into()));
    let (status, text) = answer(&latest_two, "/models/m/labels/old");
    assert!(
        status == 404 && text.contains("no version 1, which label \\\"old\\\" names, of model \\\"m\\\"; it has 2, 3"),
        "{text}"
    );
    let (status, text) = answer(&latest_two, "/models/m/labels/new");
    assert!(status == 404 && text.contains("it has \\\"canary\\\", \\\"old\\\", \\\"stable\\\""), "{text}");
    assert_eq!(models(&mut latest_two.connect())[0]["labels"], json!({"stable": 2, "canary": 3, "old": 1}));
    let all = RunningServer::kept(&shelf.flags("--version_policy all"));
    until_states(&all, &[(1, "AVAILABLE"), (2, "AVAILABLE"), (3, "AVAILABLE")]);
    let one = RunningServer::kept(&shelf.flags("--version_policy 2,9"));
    until_states(&one, &[(2, "AVAILABLE")]);
    assert_eq!(answer(&one, "/"), (200, GIVES_THREE.into()));
}

#[test]
fn a_version_that_is_not_whole_or_broken_replaces_nothing() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let server = RunningServer::kept(&shelf.flags(POLL));
    let error_of = |version: u64| {
        let models = models(&mut server.connect());
        let versions = models[0]["versions"].as_array().cloned().unwrap_or_default();
        let found = versions.iter().find(|entry| entry["version"] == version).cloned().unwrap_or_default();
        (found["state"].clone(), found["error"].as_str().unwrap_or_default().to_owned())
    };
    // Half copied: no index, then no shard.
    copy(Path::new(THREE), &shelf.version(2), &|file| file != "variables/variables.index");
    until("version 2 lacks its index", || error_of(2).1.contains("variables/variables.index is missing"));
    assert_eq!((error_of(2).0, answer(&server, "/").1), (json!("START"), GIVES_TWO.into()));
    copy(Path::new(THREE), &shelf.version(2), &|file| file.ends_with(".index"));
    fs::remove_file(shelf.version(2).join("variables/variables.data-00000-of-00001")).expect("a file");
    until("version 2 lacks its shard", || error_of(2).1.contains("variables/variables.data"));
    assert_eq!(answer(&server, "/"), (200, GIVES_TWO.into()));
    // Whole, and damaged.
    copy(Path::new(THREE), &shelf.version(2), &|file| !file.ends_with(".pb"));
    fs::write(shelf.version(2).join("saved_model.pb"), b"no graph").expect("a file");
    until("version 2 has ended with an error", || error_of(2).0 == "END" && !error_of(2).1.is_empty());
    assert_eq!((answer(&server, "/"), error_of(1).0), ((200, GIVES_TWO.into()), json!("AVAILABLE")));
    // Mended, it is tried again.
    copy(Path::new(THREE), &shelf.version(2), &|file| file == "saved_model.pb");
    until_answers(&server, "/", GIVES_THREE);
    // And damaged again while it is served: what was loaded stays.
    fs::write(shelf.version(2).join("saved_model.pb"), b"no graph again").expect("a file");
    until("the error is shown", || error_of(2).0 == "AVAILABLE" && !error_of(2).1.is_empty());
    assert_eq!(answer(&server, "/"), (200, GIVES_THREE.into()));
}

#[test]
fn files_that_change_in_place_are_loaded_anew() {
    let place = Shelf::new();
    copy(Path::new(TWO), place.path(), &|_| true);
    let server = RunningServer::kept(&place.flags(POLL));
    assert_eq!(answer(&server, "/"), (200, GIVES_TWO.into()));
    copy(Path::new(THREE), place.path(), &|_| true);
    until_answers(&server, "/", GIVES_THREE);
}

#[test]
fn a_place_that_goes_away_leaves_what_was_loaded() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let server = RunningServer::kept(&shelf.flags(POLL));
    shelf.remove(1);
    until("the trouble is shown", || models(&mut server.connect())[0]["error"].is_string());
    assert_eq!(answer(&server, "/"), (200, GIVES_TWO.into()));
    shelf.put(2, THREE);
    until_answers(&server, "/", GIVES_THREE);
}

#[test]
fn a_missing_model_is_waited_for_and_the_others_are_served() {
    let (here, missing) = (Shelf::new(), Shelf::new());
    here.put(1, TWO);
    let models = format!("{POLL} --model here={} --model missing={}", here.path().display(), missing.path().join("m").display());
    let lenient = Process::serve(&models);
    let strict = Process::serve(&format!("{models} --strict_readiness"));
    let call = |process: &Process, request: &Request| -> Response { process.connect().call(request).expect("an answer") };
    let ready = call(&lenient, &Request::get("/readyz"));
    assert_eq!((ready.status, &ready.json()["models"][0]["state"]), (200, &json!("AVAILABLE")), "{ready:?}");
    let state = ready.json()["models"][1].clone();
    assert_eq!(state, json!({"name": "missing", "version": null, "state": "START", "error": "there is no model at its place"}));
    assert_eq!(call(&strict, &Request::get("/readyz")).status, 503);
    let early = call(&strict, &Request::post("/models/missing/serving_default", r#"{"x": [1]}"#));
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")), "{early:?}");
    assert_eq!(call(&strict, &Request::post("/", r#"{"x": [1]}"#)).text(), GIVES_TWO);
    let later = Shelf::new();
    later.put(7, THREE);
    fs::rename(later.path(), missing.path().join("m")).expect("the same file system");
    for process in [&lenient, &strict] {
        until("the missing model has come", || {
            call(process, &Request::post("/models/missing/serving_default", r#"{"x": [1]}"#)).text() == GIVES_THREE
        });
        assert_eq!(call(process, &Request::get("/readyz")).status, 200);
    }
}

#[test]
fn who_bears_the_token_adds_moves_and_removes_models() {
    let server = RunningServer::kept("--model tests/models/half_plus_two --admin_token secret");
    let with = |request: Request, token: &str| server.call(&request.header("Authorization", &format!("Bearer {token}")));
    let post = |name: &str, uri: &str| Request::post(&format!("/models/{name}"), json!({ "uri": uri }).to_string());
    for (request, token) in
        [(post("m", THREE), "wrong"), (post("m", THREE), ""), (Request::new("DELETE", "/models/half_plus_two"), "secre")]
    {
        assert_eq!(with(request, token).status, 403);
    }
    assert_eq!(server.call(&post("m", THREE)).status, 403, "no header at all");
    let added = with(post("m", THREE), "secret");
    assert_eq!((added.status, &added.json()["state"]), (200, &json!("AVAILABLE")), "{added:?}");
    assert_eq!(answer(&server, "/models/m/serving_default"), (200, GIVES_THREE.into()));
    assert_eq!(with(post("m", TWO), "secret").status, 200);
    assert_eq!(answer(&server, "/models/m/serving_default"), (200, GIVES_TWO.into()), "moved");
    // A model that cannot be served changes nothing.
    let failed = with(post("m", "no/such/model"), "secret");
    assert!(failed.status == 404 && failed.text().contains("no/such/model"), "{failed:?}");
    assert_eq!(answer(&server, "/models/m/serving_default"), (200, GIVES_TWO.into()));
    let state = models(&mut server.connect())[1].clone();
    assert!(state["name"] == "m" && state["state"] == "AVAILABLE" && state["error"].is_null(), "{state}");
    assert_eq!(with(post("new", "no/such/model"), "secret").status, 404);
    assert_eq!(models(&mut server.connect()).as_array().unwrap().len(), 2, "no trace of it");
    for (body, expect) in [
        ("{}", "missing field `uri`"),
        (r#"{"uri": "ftp://x"}"#, "expected"),
        (r#"{"uri": 5}"#, "string"),
        (r#"{"url": "/m"}"#, "url"),
    ] {
        let refused = with(Request::post("/models/m", body), "secret");
        assert!(refused.status == 400 && refused.text().contains(expect), "{body}: {refused:?}");
    }
    assert_eq!(with(Request::new("DELETE", "/models/m"), "secret").status, 204);
    until("it is gone", || answer(&server, "/models/m/serving_default").0 == 404);
    assert_eq!(with(Request::new("DELETE", "/models/m"), "secret").status, 404);
    assert_eq!(answer(&server, "/"), (200, GIVES_TWO.into()));
}

/// A model as a file of models lists it.
struct Listed<'a> {
    name: &'a str,
    shelf: &'a Shelf,
    /// Further fields, as the file writes them.
    more: &'a str,
}

#[test]
fn a_file_of_models_is_followed() {
    let (a, b, place) = (Shelf::new(), Shelf::new(), tempfile::tempdir().expect("a directory"));
    a.put(1, TWO);
    b.put(5, TWO);
    b.put(6, THREE);
    let file = place.path().join("models.txt");
    let write = |configs: &[Listed]| {
        let config = |Listed { name, shelf, more }: &Listed| {
            let path = shelf.path().display();
            format!("config {{ name: \"{name}\" base_path: \"{path}\" model_platform: \"tensorflow\" {more} }}\n")
        };
        let text: String = configs.iter().map(config).collect();
        fs::write(place.path().join("new"), format!("# models\nmodel_config_list {{\n{text}}}\n")).expect("a file");
        fs::rename(place.path().join("new"), &file).expect("the same file system");
    };
    let first = || Listed { name: "a", shelf: &a, more: "" };
    let second = |more| Listed { name: "b", shelf: &b, more };
    write(&[first()]);
    let process =
        Process::serve(&format!("--model_config_file {} --model_config_poll_seconds 0.05 --admin_token t", file.display()));
    let post = |target: &str| process.connect().call(&Request::post(target, r#"{"x": [1]}"#)).expect("an answer");
    let is = |target: &str, expect: &str| until(&format!("{target} is {expect}"), || post(target).text() == expect);
    assert_eq!(post("/").text(), GIVES_TWO);
    let specific = "model_version_policy { specific { versions: 5 } } version_labels { key: \"stable\" value: 5 }";
    write(&[first(), second(specific)]);
    is("/models/b/labels/stable", GIVES_TWO);
    write(&[first(), second("model_version_policy { all {} }")]);
    is("/models/b/versions/6", GIVES_THREE);
    is("/models/b/versions/5", GIVES_TWO);
    // A file that cannot be read changes nothing, and is said.
    fs::write(&file, "model_config_list {").expect("a file");
    until("the mistake is logged", || process.stderr().iter().any(|line| line.contains("what was read before stays")));
    assert_eq!(post("/models/a/serving_default").status, 200);
    // Nor does a FIFO, and models are still added and removed meanwhile.
    fs::remove_file(&file).expect("the file");
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    until("the FIFO is logged", || process.stderr().iter().any(|line| line.contains("expected a regular file, found a FIFO")));
    let manage = |request: Request| process.connect().call(&request.header("Authorization", "Bearer t")).expect("an answer").status;
    let added = format!(r#"{{"uri": "{}"}}"#, b.path().display());
    let status = manage(Request::post("/models/c", added));
    assert!(matches!(status, 200 | 201), "{status}");
    write(&[second("")]);
    until("a is gone", || post("/models/a/serving_default").status == 404);
    assert_eq!(post("/models/b/serving_default").text(), GIVES_THREE);
}

#[test]
fn a_hangup_makes_the_server_look_at_everything_at_once() {
    let (a, b, place) = (Shelf::new(), Shelf::new(), tempfile::tempdir().expect("a directory"));
    a.put(1, TWO);
    b.put(1, TWO);
    let file = place.path().join("models.txt");
    let write = |names: &[&str]| {
        let config = |name: &&str| format!("config {{ name: \"{name}\" base_path: \"{}\" }}\n", b.path().display());
        fs::write(&file, format!("model_config_list {{\n{}}}\n", names.iter().map(config).collect::<String>())).expect("a file");
    };
    write(&["b"]);
    // Nobody looks by itself.
    let flags = format!("--model a={} --poll_seconds 0 --model_config_file {}", a.path().display(), file.display());
    let mut process = Process::serve(&flags);
    let post = |target: &str| process.connect().call(&Request::post(target, r#"{"x": [1]}"#)).expect("an answer");
    until("both are served", || post("/models/b/serving_default").status == 200);
    a.put(2, THREE);
    write(&["b", "c"]);
    process.signal("HUP");
    until("the new version is served", || post("/models/a/versions/2").text() == GIVES_THREE);
    until("the new model is served", || post("/models/c/serving_default").text() == GIVES_TWO);
    assert!(process.is_running());
    process.until_says("SIGHUP: looking for changes");
}

#[test]
fn a_signal_ends_a_server_that_still_loads() {
    // Nobody answers at that address, whatever the retries.
    let variables = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let mut process = Process::start("--host 127.0.0.1 --port 0 --model s3://bucket/m", &variables);
    process.until_says("TensorFlow 2");
    process.signal("TERM");
    let (status, _) = process.ended();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_an_administrator_changed_stays_until_its_entry_in_the_file_changes() {
    let (a, b, place) = (Shelf::new(), Shelf::new(), tempfile::tempdir().expect("a directory"));
    a.put(1, TWO);
    b.put(1, THREE);
    let file = place.path().join("models.txt");
    let write = |entries: &[(&str, &Shelf)]| {
        let config =
            |(name, shelf): &(&str, &Shelf)| format!("config {{ name: \"{name}\" base_path: \"{}\" }}", shelf.path().display());
        let text: String = entries.iter().map(config).collect();
        fs::write(place.path().join("new"), format!("model_config_list {{ {text} }}")).expect("a file");
        fs::rename(place.path().join("new"), &file).expect("the same file system");
    };
    write(&[("kept", &a), ("removed", &a), ("moved", &a)]);
    let flags = format!("--model_config_file {} --model_config_poll_seconds 0.05 --admin_token t", file.display());
    let process = Process::serve(&flags);
    let call = |request: Request| process.connect().call(&request.header("Authorization", "Bearer t")).expect("an answer");
    let answer = |name: &str| call(Request::post(&format!("/models/{name}/serving_default"), r#"{"x": [1]}"#));
    assert_eq!(call(Request::new("DELETE", "/models/removed")).status, 204);
    assert_eq!(call(Request::post("/models/moved", json!({ "uri": b.path() }).to_string())).status, 200);
    // The file is written again, with the same entries and a new one.
    write(&[("kept", &a), ("removed", &a), ("moved", &a), ("new", &a)]);
    until("the new model is served", || answer("new").text() == GIVES_TWO);
    assert_eq!((answer("removed").status, answer("moved").text()), (404, GIVES_THREE.to_owned()));
    // Their entries change.
    write(&[("kept", &a), ("removed", &b), ("new", &a)]);
    until("the removed model is served", || answer("removed").text() == GIVES_THREE);
    until("the moved model is gone", || answer("moved").status == 404);
    assert_eq!(answer("kept").text(), GIVES_TWO);
}
