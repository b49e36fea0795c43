//! The log of the process: machines can read its lines, each request has one, and none is lost at the end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{json, Value};
use tfweb::observe::log::{Log, LogFormat};

use crate::client::{Connection, Request};
use crate::grpc_client;
use crate::process::Process;
use crate::support::until;

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";
const SIGABRT: i32 = 6;

/// Reads a log whose every line is a JSON object with what each must have.
#[track_caller]
fn parsed<'l>(lines: impl IntoIterator<Item = &'l String>) -> Vec<Value> {
    let parse = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let is_text = |key| value[key].is_string();
        assert!(["timestamp", "level", "message", "target"].into_iter().all(is_text), "{line}");
        assert!(value["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "UTC: {line}");
        let is_flat = value.as_object().is_some_and(|fields| fields.values().all(|field| !field.is_object() && !field.is_array()));
        assert!(is_flat, "{line}");
        value
    };
    lines.into_iter().map(parse).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

/// The access line of a request, once it is there.
#[track_caller]
fn access(process: &Process, id: &str) -> Value {
    let mut found = None;
    until(&format!("request {id} is logged"), || {
        let log = parsed(&process.stderr());
        let mut lines = log.into_iter().filter(|line| line["target"] == "tfweb::access" && line["request_id"] == id);
        found = lines.next();
        assert!(lines.next().is_none(), "one line a request");
        found.is_some()
    });
    found.expect("it was found")
}

/// Checks fields of a line: a value, or `null` for none.
#[track_caller]
fn check(line: &Value, expect: &Value) {
    for (key, value) in expect.as_object().expect("fields") {
        assert_eq!(&line[key], value, "{key}: {line}");
    }
}

#[test]
fn each_protocol_has_its_access_lines() {
    let port = free_port();
    let flags = format!("{HALF_PLUS_TWO} --grpc_port {port} --log_format json --access_log --host 127.0.0.1 --port 0");
    let process = Process::start(&flags, &[]).ready();
    let call = |request: Request, id: &str| process.connect().call(&request.header("X-Request-Id", id)).expect("an answer");

    call(Request::post("/?key=secret", r#"{"x": [1, 2]}"#).header("X-Forwarded-For", "203.0.113.7"), "native");
    let line = access(&process, "native");
    let named = json!({"model": "half_plus_two", "version": 1, "signature": "serving_default"});
    check(&line, &named);
    let expect = json!({"protocol": "native", "method": "POST", "path": "/", "status": 200, "rows": 2, "bytes_in": 13, "bytes_out": 15,
        "client": "127.0.0.1", "forwarded_for": "203.0.113.7", "level": "INFO", "fetch_ms": null});
    check(&line, &expect);
    for stage in ["total_ms", "decode_ms", "queue_ms", "run_ms", "encode_ms"] {
        assert!(line[stage].as_f64().is_some_and(|ms| (0.0..10_000.0).contains(&ms)), "{stage}: {line}");
    }
    assert!(line["total_ms"].as_f64() >= line["run_ms"].as_f64());

    call(Request::post("/v1/models/half_plus_two:predict", r#"{"instances": [1, 2, 3]}"#), "rest");
    let line = access(&process, "rest");
    check(&line, &named);
    check(&line, &json!({"protocol": "tf_serving_rest", "status": 200, "rows": 3, "path": "/v1/models/half_plus_two:predict"}));

    let answer =
        grpc_client::call(port, &[("x-request-id", "grpc")], grpc_client::floats("half_plus_two", &[1.0])).expect("an answer");
    assert_eq!(answer.get("x-request-id").expect("an id"), "grpc");
    let line = access(&process, "grpc");
    check(&line, &named);
    let path = "/tensorflow.serving.PredictionService/Predict";
    check(
        &line,
        &json!({"protocol": "tf_serving_grpc", "status": "OK", "rows": 1, "path": path, "method": null, "client": "127.0.0.1"}),
    );

    call(Request::post("/", r#"{"x": "one"}"#), "bad");
    check(&access(&process, "bad"), &json!({"status": 400, "model": "half_plus_two", "run_ms": null, "protocol": "native"}));
    call(Request::post("/v1/models/nothing:predict", r#"{"instances": [1]}"#), "unknown");
    check(&access(&process, "unknown"), &json!({"status": 404, "model": null, "rows": null, "protocol": "tf_serving_rest"}));
    let refused = grpc_client::call(port, &[], grpc_client::floats("nothing", &[1.0])).expect_err("no such model");
    let made = refused.metadata().get("x-request-id").and_then(|id| id.to_str().ok()).expect("an id that was made").to_owned();
    check(&access(&process, &made), &json!({"status": "NOT_FOUND", "model": null, "protocol": "tf_serving_grpc"}));
    call(Request::get(&format!("/{}", "long".repeat(500))), "other");
    let line = access(&process, "other");
    check(&line, &json!({"status": 404, "protocol": "http", "method": "GET", "model": null}));
    assert!(line["path"].as_str().is_some_and(|path| path.len() <= 256), "{line}");

    call(Request::get("/readyz"), "probe");
    call(Request::get("/"), "last");
    access(&process, "last");
    assert!(!process.stderr().iter().any(|line| line.contains("probe") || line.contains("secret")), "{:#?}", process.stderr());
}

#[test]
fn requests_without_a_good_end_have_their_line_too() {
    // Of the kitchen's slow signature: longer than any time-out here.
    const LOOPS: i32 = 1500;
    let port = free_port();
    let flags = format!(
        "--model tests/models/kitchen --run_threads 1 --queue_size 1 --request_timeout_ms 400 --grpc_port {port} \
         --log_format json --access_log --host 127.0.0.1 --port 0"
    );
    let process = Process::start(&flags, &[]).ready();
    let slow = |id: &str| {
        let mut connection = process.connect();
        connection
            .send(&Request::post("/slow", format!("{{\"loops\": [{LOOPS}]}}")).header("X-Request-Id", id))
            .expect("it is sent");
        // New connections go to the server's threads one after another: once each has answered something later, this is inside.
        for _ in 0..2 * thread::available_parallelism().map_or(1, usize::from) {
            assert_eq!(process.connect().call(&Request::get("/livez")).expect("an answer").status, 200);
        }
        connection
    };
    // Tries until one that is quick is answered so; gives its id.
    let mut count = 0;
    let mut until_answered = |status: u16| {
        let mut id = String::new();
        until(&format!("one is answered {status}"), || {
            count += 1;
            id = format!("quick-{count}");
            let request = Request::post("/scalar", r#"{"x": 1}"#).header("X-Request-Id", &id);
            process.connect().call(&request).expect("an answer").status == status
        });
        id
    };
    let gone = slow("gone");
    let refused = until_answered(503);
    check(&access(&process, &refused), &json!({"status": 503, "signature": "scalar", "run_ms": null}));
    drop(gone);
    check(&access(&process, "gone"), &json!({"status": 499, "signature": "slow", "rows": 1, "bytes_out": null}));

    until_answered(200);
    let late = slow("late").receive().expect("an answer");
    assert_eq!(late.status, 504);
    check(&access(&process, "late"), &json!({"status": 504, "signature": "slow"}));

    until_answered(200);
    let metadata = [("x-request-id", "impatient"), ("grpc-timeout", "200m")];
    grpc_client::call(port, &metadata, grpc_client::slow(LOOPS)).expect_err("the run takes longer");
    let line = access(&process, "impatient");
    check(&line, &json!({"status": "DEADLINE_EXCEEDED", "protocol": "tf_serving_grpc", "signature": "slow"}));
}

#[test]
fn a_failure_is_logged_once_with_its_request() {
    for (flags, lines) in [("", 1), ("--access_log", 2)] {
        let process = Process::start(
            &format!("--host 127.0.0.1 --port 0 --model tests/models/broken_variables --log_format json {flags}"),
            &[("TF_CPP_MIN_LOG_LEVEL", "0")],
        );
        let process = process.ready();
        let request = Request::post("/", r#"{"x": [[1, 2]]}"#).header("X-Request-Id", "tab\there\u{e9}");
        assert_eq!(process.connect().call(&request).expect("an answer").status, 500);
        let told = || parsed(&process.stderr()).into_iter().filter(|line| line["request_id"].is_string()).collect::<Vec<_>>();
        until("it is logged", || told().len() >= lines);
        let log = parsed(&process.stderr());
        let of_tensorflow: Vec<&Value> = log.iter().filter(|line| line["target"] == "tensorflow").collect();
        assert!(of_tensorflow.iter().any(|line| line["level"] == "INFO" && line["source"].is_string()), "{log:#?}");
        let errors: Vec<Value> = told().into_iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(errors.len() == 1 && told().len() == lines, "{:#?}", told());
        assert_eq!(errors[0]["request_id"], r"tab\there\xc3\xa9", "nothing that could write elsewhere");
    }
}

#[test]
fn the_reason_of_an_end_is_the_last_line() {
    let (status, stderr) = Process::start("--model no/such/model --log_format json", &[]).ended();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    let log = parsed(&stderr);
    let last = log.last().expect("a line");
    assert!(last["level"] == "ERROR" && last["message"].as_str().is_some_and(|text| text.contains("no/such/model")), "{last}");
}

#[test]
fn a_fatal_error_is_printed_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its port").port();
    let taken_port = format!("{HALF_PLUS_TWO} --host 127.0.0.1 --port {port}");
    // One line says that TensorFlow is open; the first flags have one more for the port.
    for (flags, reason, count) in [("--model no/such/model", "no/such/model", 3), (&taken_port, "cannot listen on", 2)] {
        for format in ["text", "json"] {
            let (status, stderr) = Process::start(&format!("{flags} --log_format {format}"), &[]).ended();
            assert_eq!(status.code(), Some(1), "{stderr:#?}");
            let reasons = stderr.iter().filter(|line| line.contains(reason)).count();
            assert!(reasons == 1 && stderr.len() == count, "{format}: {stderr:#?}");
        }
    }
    // Each of several models has its own line.
    let (_, stderr) = Process::start("--model no/such/model --model no/such/other", &[]).ended();
    assert_eq!(stderr.iter().filter(|line| line.contains("no/such/")).count(), 2, "{stderr:#?}");
    assert!(stderr.last().is_some_and(|last| last.contains("none of the 2 models can be served")), "{stderr:#?}");
}

#[test]
fn a_lone_model_logs_what_is_broken_beside_what_it_serves() {
    let directory = tempfile::tempdir().expect("a directory");
    let whole = std::fs::read("tests/models/half_plus_two/1/saved_model.pb").expect("a model");
    for (version, graph) in [("1", whole.as_slice()), ("2", b"no graph"), ("3", b"no graph")] {
        let version = directory.path().join(version);
        std::fs::create_dir_all(version.join("variables")).expect("a directory");
        std::fs::write(version.join("saved_model.pb"), graph).expect("a file");
    }
    for file in ["variables.data-00000-of-00001", "variables.index"] {
        let from = format!("tests/models/half_plus_two/1/variables/{file}");
        std::fs::copy(from, directory.path().join("1/variables").join(file)).expect("a copy");
    }
    let mut process = Process::serve(&format!("--model m={} --version_policy all", directory.path().display()));
    for broken in ["/2` cannot be loaded", "/3` cannot be loaded"] {
        process.until_says(broken);
    }
}

#[test]
fn tensorflows_first_words_are_logged_if_asked_for() {
    const WORDS: [&str; 2] = ["absl::InitializeLog", "oneDNN"];
    for format in ["text", "json"] {
        for (variables, expect) in [(&[][..], false), (&[("TF_CPP_MIN_LOG_LEVEL", "0")], true)] {
            let flags = format!("{HALF_PLUS_TWO} --host 127.0.0.1 --port 0 --log_format {format}");
            let mut process = Process::start(&flags, variables).ready();
            process.signal("TERM");
            let (_, stderr) = process.ended();
            for words in WORDS {
                assert_eq!(stderr.iter().any(|line| line.contains(words)), expect, "{words}: {stderr:#?}");
            }
        }
    }
}

#[test]
fn the_last_lines_come_before_the_end() {
    for format in ["text", "json"] {
        let mut process = Process::serve(&format!("{HALF_PLUS_TWO} --access_log --log_format {format}"));
        let mut connection = process.connect();
        for i in 0..50 {
            connection.call(&Request::get("/").header("X-Request-Id", &format!("id-{i}-"))).expect("an answer");
        }
        process.signal("TERM");
        let (status, stderr) = process.ended();
        assert_eq!(status.code(), Some(0));
        assert!((0..50).all(|i| stderr.iter().any(|line| line.contains(&format!("id-{i}-")))), "{stderr:#?}");
        if format == "json" {
            parsed(&stderr);
        } else {
            let begins = |line: &&String| line.starts_with("20") && line.contains("Z  INFO request ");
            assert_eq!(stderr.iter().filter(begins).count(), 50, "a time at the start of each: {stderr:#?}");
        }
    }
}

/// The part of the test below that dies.
fn die(format: LogFormat) -> ! {
    let _log = Log::start(format).expect("a log");
    tracing::info!(target: "tfweb", "one\nERROR two");
    let panicked = thread::Builder::new().name("unlucky".into()).spawn(|| panic!("on purpose\nand more")).expect("a thread").join();
    assert!(panicked.is_err());
    // As a failed check of TensorFlow does.
    let check = "2026-11-22 10:00:00.123456: F tensorflow/core/a.cc:12] Check failed: x == y\n*** Check failure stack trace: ***\n";
    io::stderr().write_all(check.as_bytes()).expect("stderr");
    std::process::abort();
}

#[test]
fn what_is_said_before_an_abort_is_not_lost() {
    const ROLE: &str = "SUITE_DIES";
    match std::env::var(ROLE).as_deref() {
        Ok("json") => die(LogFormat::Json),
        Ok(_) => die(LogFormat::Text),
        Err(_) => {}
    }
    for format in ["json", "text"] {
        let itself = std::env::current_exe().expect("the path of this binary");
        let test = "logs::what_is_said_before_an_abort_is_not_lost";
        let output = Command::new(itself).args(["--exact", test]).env(ROLE, format).output().expect("this binary starts");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.signal(), Some(SIGABRT), "{stderr}");
        let lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
        for text in
            ["one", "thread `unlucky` panicked at tests/suite/logs.rs", "on purpose", "Check failed: x == y", "stack trace: ***"]
        {
            assert!(lines.iter().any(|line| line.contains(text)), "{text}: {stderr}");
        }
        if format == "json" {
            let log = parsed(&lines);
            let check = log.iter().find(|line| line["message"] == "Check failed: x == y").expect("the check");
            assert_eq!((&check["level"], &check["source"]), (&json!("ERROR"), &json!("tensorflow/core/a.cc:12")));
            assert_eq!(log[0]["message"], "one\nERROR two");
        } else {
            assert_eq!(lines[1], "    ERROR two", "not as a line of its own");
        }
    }
}

#[test]
fn a_reader_that_stalls_stops_no_request() {
    const REQUESTS: usize = 6000;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfweb"));
    let flags = format!("{HALF_PLUS_TWO} --host 127.0.0.1 --port 0 --grpc_port 0 --access_log --log_format json");
    let mut child = command.args(flags.split(' ')).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    let address: SocketAddr = loop {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("a line") > 0, "it ended");
        if let Some((_, address)) = line.split_once("listening on http://") {
            break address.split('"').next().and_then(|address| address.parse().ok()).expect("an address");
        }
    };
    // From here on nobody reads, until all is answered.
    let mut connection = Connection::open(address).expect("the server accepts");
    let head = Request::get("/").header("X-Request-Id", &"i".repeat(100)).head();
    for _ in 0..REQUESTS / 100 {
        connection.send_bytes(&head.repeat(100)).expect("it is sent");
        (0..100).for_each(|_| assert_eq!(connection.receive().expect("an answer").status, 200));
    }
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().expect("a `kill` command");
    assert!(status.success());
    // At its end it waits a second for somebody who reads the last lines.
    until("the server has stopped", || Connection::open(address).is_err());
    let reader = thread::spawn(move || {
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).map(|_| rest)
    });
    let mut status = None;
    until("it ends", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    let lines: Vec<String> = reader.join().expect("the reader").expect("text").lines().map(str::to_owned).collect();
    let log = parsed(&lines);
    let dropped: u64 = log.iter().filter_map(|line| line["dropped"].as_u64()).sum();
    let requests = log.iter().filter(|line| line["target"] == "tfweb::access").count() as u64;
    assert!(dropped > 0 && dropped + requests >= REQUESTS as u64, "{dropped} + {requests}: each is there or counted");
}

#[test]
fn the_warning_of_a_refused_url_names_its_request() {
    let process = Process::start("--model tests/models/kitchen --log_format json --host 127.0.0.1 --port 0", &[]).ready();
    // An address is refused by its text, a name when it is looked up.
    for (url, id) in [("http://127.0.0.1:1/a", None), ("http://localhost:1/a", None), ("http://localhost:1/b", Some("mine"))] {
        let request = Request::post("/length", json!({"text": [{ "url": url }]}).to_string());
        let request = id.map_or(request.clone(), |id| request.header("X-Request-Id", id));
        let answer = process.connect().call(&request).expect("an answer");
        let answered = answer.header("x-request-id").expect("an id").to_owned();
        assert!(answer.status == 400 && id.is_none_or(|id| id == answered), "{answer:?}");
        until(&format!("{url} is warned of"), || {
            let log = parsed(&process.stderr());
            let mut warned = log.iter().filter(|line| line["level"] == "WARN" && line["request_id"] == answered.as_str());
            warned.any(|line| line["outcome"] == "refused" && line["message"].as_str().is_some_and(|text| text.contains(url)))
        });
    }
}
