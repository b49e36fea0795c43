//! How the `tfweb` process starts, and what it says when it cannot. `shutdown` tests how it ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use serde_json::json;
use tfweb::config::Flags;

use crate::client::Request;
use crate::process::Process;
use crate::support::until;

const HALF_PLUS_TWO: &str = "--model tests/models/half_plus_two";

/// Starts with flags that cannot work. Gives the one line that says why.
#[track_caller]
fn check_refused(flags: &str, variables: &[(&str, &str)], exit_code: i32, expect: &[&str]) {
    let (status, stderr) = Process::start(flags, variables).ended();
    assert_eq!(status.code(), Some(exit_code), "{flags}: {stderr:#?}");
    let ours: Vec<&String> = stderr.iter().filter(|line| line.starts_with("tfweb: ")).collect();
    assert!(ours.len() == 1 && stderr.last() == Some(ours[0]), "{flags}: one line, the last: {stderr:#?}");
    assert!(expect.iter().all(|text| ours[0].contains(text)), "{flags}: expected {expect:?}, got {:?}", ours[0]);
    assert!(!stderr.iter().any(|line| line.contains("panicked") || line.contains("stack backtrace")), "{flags}: {stderr:#?}");
}

/// How many threads of the process share the work within operations. They have a name of TensorFlow's, or that of the thread that
/// has made them: the first one that loaded a model.
fn intra_op_threads(process: &Process) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", process.id())).expect("Linux's word on this process");
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.contains("Eigen") || name.trim() == "tfweb-load").count()
}

#[test]
fn tensorflow_has_as_many_threads_as_the_flag_says() {
    for (flag, variables, expect) in [
        ("--intra_op_threads 1", &[][..], 1),
        ("--intra_op_threads 3", &[("TF_NUM_INTRAOP_THREADS", "2")], 3),
        ("", &[("TFWEB_INTRA_OP_THREADS", "4")], 4),
        ("", &[("TF_NUM_INTRAOP_THREADS", "5")], 5),
        ("", &[], thread::available_parallelism().map_or(1, usize::from)),
    ] {
        let process = Process::start(&format!("--host 127.0.0.1 {HALF_PLUS_TWO} {flag}"), variables).ready();
        until(&format!("{flag} {variables:?}: {expect} threads"), || intra_op_threads(&process) == expect);
    }
}

#[test]
fn bad_flags_exit_2_with_one_line() {
    for (flags, variables, expect) in [
        ("", &[][..], &["--model: expected a SavedModel, got nothing"][..]),
        ("--model m --batch_size 0", &[], &["--batch_size: expected at least 1, got 0"]),
        ("--model m --batch_size many", &[], &["many"]),
        ("--model m --colour blue", &[], &["--colour"]),
        ("--model m --static_path no/such/place", &[], &["--static_path", "no/such/place", "not a directory"]),
        ("--model a/m --model b/m", &[], &["two models are called `m`"]),
        ("--model m extra", &[], &["extra"]),
        ("--model m", &[("TFWEB_QUEUE_SIZE", "0")], &["--queue_size: expected at least 1"]),
        ("--model m", &[("TFWEB_NO_CORS", "perhaps")], &["TFWEB_NO_CORS", "perhaps"]),
        ("--model m", &[("TFWEB_PORT", "http")], &["http"]),
    ] {
        check_refused(flags, variables, 2, expect);
    }
}

#[test]
fn help_and_version_exit_0() {
    for flag in ["--help", "-h", "--version"] {
        let (status, stderr) = Process::start(flag, &[]).ended();
        assert_eq!((status.code(), stderr), (Some(0), vec![]), "{flag}");
    }
}

#[test]
fn a_model_that_does_not_exist_exits_1() {
    check_refused("--model no/such/model", &[], 1, &["no/such/model", "No such file or directory"]);
    check_refused("--model tests/suite", &[], 1, &["`tests/suite` is no SavedModel", "expected saved_model.pb"]);
}

#[test]
fn wrong_tags_exit_1_and_list_those_there_are() {
    let expect = ["no graph with exactly the tags `serve,gpu`", "it has `serve`", "--tags"];
    check_refused(&format!("{HALF_PLUS_TWO} --tags serve,gpu"), &[], 1, &expect);
}

#[test]
fn a_wrong_library_exits_1() {
    let place = tempfile::tempdir().unwrap();
    let (status, stderr) = Process::start(&format!("{HALF_PLUS_TWO} --tensorflow_lib {}", place.path().display()), &[]).ended();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains("pip install tensorflow-cpu")), "{stderr:#?}");
}

/// Copies a model and damages its saved_model.pb.
fn damaged(damage: impl Fn(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let model = Path::new("tests/models/half_plus_two/1");
    fs::create_dir(place.path().join("variables")).unwrap();
    for entry in fs::read_dir(model.join("variables")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.path().join("variables").join(entry.file_name())).unwrap();
    }
    fs::write(place.path().join("saved_model.pb"), damage(fs::read(model.join("saved_model.pb")).unwrap())).unwrap();
    place
}

#[test]
fn a_damaged_model_exits_1() {
    let halved = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let noise = |bytes: Vec<u8>| (0..bytes.len()).map(|i| (i * 7919 % 251) as u8).collect();
    for place in [damaged(halved), damaged(noise), damaged(|_| Vec::new())] {
        let path = place.path().to_str().unwrap();
        check_refused(&format!("--port 0 --model {path}"), &[], 1, &[path]);
    }
}

#[test]
fn a_port_in_use_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let flags = format!("{HALF_PLUS_TWO} --host 127.0.0.1 --port {}", address.port());
    check_refused(&flags, &[], 1, &[&format!("cannot listen on {address}"), "in use"]);
}

#[test]
fn variables_do_what_flags_do() {
    let variables = [
        ("TFWEB_MODEL", "tests/models/half_plus_two,k=tests/models/kitchen"),
        ("TFWEB_BATCH_TRANSPOSE", "1"),
        ("TFWEB_PORT", "0"),
        ("TFWEB_HOST", "127.0.0.1"),
        ("TFWEB_NO_CORS", "true"),
        ("TFWEB_REQUEST_SIZE", "100"),
    ];
    let process = Process::start("", &variables).ready();
    let call = |request: &Request| process.connect().call(request).unwrap();
    assert_eq!(call(&Request::post("/", r#"{"x": 1}"#)).text(), r#"{"y":2.5}"#);
    assert_eq!(call(&Request::get("/models/k/versions/1/scalar")).status, 200);
    assert_eq!(call(&Request::get("/").header("Origin", "https://a.example")).header("access-control-allow-origin"), None);
    assert_eq!(call(&Request::post("/", " ".repeat(101))).status, 413);
}

#[test]
fn no_variable_of_a_flag_is_empty() {
    let help = Flags::parse(["tfweb", "--help"]).unwrap_err().text;
    let unwrapped = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = unwrapped.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap().trim());
    let variables: Vec<&str> = named.chain(["TFWEB_LOG"]).collect();
    assert!(variables.len() > 40, "{variables:?}");
    for variable in variables {
        check_refused(HALF_PLUS_TWO, &[(variable, "")], 2, &[&format!("{variable}: expected a value, got nothing")]);
    }
    for (variable, value, expect) in [
        ("TFWEB_API_TOKEN", " \n", "TFWEB_API_TOKEN: expected a value, got nothing"),
        ("TFWEB_API_TOKEN", ",", "TFWEB_API_TOKEN: expected values separated by commas, got an empty one"),
        ("TFWEB_API_TOKEN", "one,", "TFWEB_API_TOKEN: expected values separated by commas"),
        ("PORT", "", "PORT: expected a value"),
    ] {
        check_refused(HALF_PLUS_TWO, &[(variable, value)], 2, &[expect]);
    }
    check_refused("", &[("MODEL", "")], 2, &["MODEL: expected a value"]);
    check_refused("", &[("MODEL", "m"), ("MODEL_NAME", "")], 2, &["MODEL_NAME: expected a value"]);
    check_refused("", &[("MODEL", "m"), ("MODEL_NAME", "a/b")], 2, &["tfweb: MODEL_NAME: expected a name of letters"]);
    check_refused("", &[("MODEL", "ftp://x/m")], 2, &["tfweb: MODEL: `ftp://x/m`: expected"]);
}

#[test]
fn a_typed_list_takes_the_place_of_its_variable() {
    // The number of threads is checked after the hosts.
    let flags = format!("{HALF_PLUS_TWO} --run_threads 1000000");
    check_refused(&flags, &[("TFWEB_URL_ALLOW", "*")], 2, &["--url_allow: expected HOST"]);
    check_refused(&format!("{flags} --url_allow h"), &[("TFWEB_URL_ALLOW", "*")], 2, &["--run_threads: expected at most"]);
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, value, expect) in [
        ("TFWEB_PORT", "http", "TFWEB_PORT: expected a whole number, got `http`"),
        ("TFWEB_NO_URL", "perhaps", "TFWEB_NO_URL: expected true or false, got `perhaps`"),
        ("TFWEB_NO_CORS", "false", "--no_cors: expected --cors_origin with false"),
        ("TFWEB_LOG", "loud", "TFWEB_LOG: expected off, error, warn, info, debug or trace, got `loud`"),
    ] {
        check_refused(HALF_PLUS_TWO, &[(variable, value)], 2, &[expect]);
    }
}

#[test]
fn white_space_around_a_value_is_not_part_of_it() {
    let variables = [
        ("TFWEB_HOST", "127.0.0.1\n"),
        ("TFWEB_PORT", " 0 "),
        ("TFWEB_API_TOKEN", "one, two\n"),
        ("TFWEB_BATCH_TRANSPOSE", "true\r\n"),
    ];
    let process = Process::start(HALF_PLUS_TWO, &variables).ready();
    let request = Request::post("/", r#"{"x": 1}"#).header("Authorization", "Bearer two");
    assert_eq!(process.connect().call(&request).unwrap().text(), r#"{"y":2.5}"#);
}

#[test]
fn a_switch_that_is_off_is_off() {
    let transposed = |flag: &str, variable: &str| {
        let flags = format!("--host 127.0.0.1 --port 0 {HALF_PLUS_TWO} {flag}");
        let process = Process::start(&flags, &[("TFWEB_BATCH_TRANSPOSE", variable)]).ready();
        process.connect().call(&Request::post("/", r#"{"x": 1}"#)).unwrap().status == 200
    };
    assert!(transposed("", "true") && transposed("--batch_transpose", "false"));
    assert!(!transposed("", "false") && !transposed("--batch_transpose=false", "true"));
}

#[test]
fn a_flag_goes_before_its_variable() {
    let variables = [("TFWEB_MODEL", "no/such/model"), ("TFWEB_PORT", "1"), ("TFWEB_HOST", "127.0.0.1")];
    let process = Process::start(&format!("{HALF_PLUS_TWO} --port 0"), &variables).ready();
    assert_eq!(process.connect().call(&Request::get("/livez")).unwrap().status, 200);
}

/// Serves a model that loads and cannot run. Gives what it says of it in the log and in the list of models.
#[track_caller]
fn check_warned(model: &str, expect: &str) {
    let process = Process::serve(&format!("--model {model}"));
    let call = |request: &Request| process.connect().call(request).unwrap();
    let models = call(&Request::get("/models")).json();
    let warning = models[0]["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("serving_default") && warning.contains(expect), "{models}");
    let log = process.stderr().join("\n");
    let logged = log.split_once("WARN ").is_some_and(|(_, warned)| warned.contains(expect));
    assert!(logged, "{log}");
}

#[test]
fn a_model_that_cannot_run_is_served_with_a_warning() {
    check_warned("tests/models/broken_variables", "save it with model.export(directory)");
}

#[test]
fn a_model_without_its_variables_exits_1() {
    let place = damaged(|bytes| bytes);
    let variables = place.path().join("variables");
    for entry in fs::read_dir(&variables).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for directory in ["empty", "missing"] {
        let expect = ["is not complete", "variables/variables.index is missing"];
        check_refused(&format!("--port 0 --model {}", place.path().display()), &[], 1, &expect);
        if directory == "empty" {
            fs::remove_dir(&variables).unwrap();
        }
    }
}

#[test]
fn a_model_that_cannot_run_answers_500() {
    let process = Process::serve("--model tests/models/broken_variables");
    let answer = process.connect().call(&Request::post("/", r#"{"x": [[1, 2]]}"#)).unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (500, &json!("INTERNAL")), "the fault is not the caller's");
}

#[test]
fn health_is_answered_once_models_are_loaded() {
    let process = Process::serve(HALF_PLUS_TWO);
    let call = |target| process.connect().call(&Request::get(target)).unwrap();
    assert_eq!((call("/livez").status, call("/livez").json()), (200, json!({"status": "live"})));
    let models = json!([{"name": "half_plus_two", "version": 1, "state": "AVAILABLE"}]);
    assert_eq!((call("/readyz").status, call("/readyz").json()), (200, json!({"status": "ready", "models": models})));
}
