//! Which signatures share runs: those whose rows are independent. On real models, as the load has found it.

use std::sync::Arc;

use serde_json::{json, Value};
use tfweb_engine::{Rows, Session};

use crate::client::Request;
use crate::gated::Gated;
use crate::process::Process;
use crate::support::{session, RunningServer};

/// The signatures of `tests/models/rows` whose rows depend on each other.
const DEPENDENT: [&str; 15] = [
    "above_all",
    "batch_norm",
    "batch_norm_learns",
    "centred",
    "count",
    "one_row",
    "padded",
    "positive",
    "ranks",
    "reversed",
    "softmax_of_rows",
    "sorted",
    "sums",
    "unique",
    "unique_index",
];
/// Those of which nobody knows, and words of the reason.
const UNPROVEN: [(&str, &str); 3] = [
    ("ages", "its outputs are the same for all made-up rows"),
    ("noise", "its operation RandomUniform may change the model's state"),
    ("tally", "its operation AssignAddVariableOp may change the model's state"),
];

/// The model of the signatures above.
fn model() -> Arc<dyn Session> {
    session("tests/models/rows")
}

/// Serves the model as `test`.
fn served(flags: &str) -> RunningServer {
    RunningServer::of(model(), flags)
}

/// Expects which signatures of a model do not keep rows apart, and those of which that is not known.
#[track_caller]
fn check(directory: &str, dependent: &[&str], unproven: &[&str]) {
    let session = session(directory);
    let signatures = session.signatures().iter().enumerate().filter(|(_, signature)| signature.is_batchable());
    let found: Vec<(&str, Rows)> = signatures.map(|(index, signature)| (signature.name.as_str(), session.rows(index))).collect();
    let names = |is: fn(&Rows) -> bool| -> Vec<&str> { found.iter().filter(|(_, rows)| is(rows)).map(|(name, _)| *name).collect() };
    assert_eq!(names(|rows| matches!(rows, Rows::Dependent(_))), dependent, "{directory}: {found:#?}");
    assert_eq!(names(|rows| matches!(rows, Rows::Unproven(_))), unproven, "{directory}: {found:#?}");
}

#[test]
fn rows_that_depend_on_each_other_are_found() {
    check("tests/models/rows", &DEPENDENT, &UNPROVEN.map(|(name, _)| name));
}

#[test]
fn the_models_of_the_tests_and_examples_are_judged() {
    check("tests/models/half_plus_two", &[], &[]);
    check("examples/digits", &[], &[]);
    check("tests/models/kitchen", &["batch_rows", "fewer_rows", "slow", "zero_rows"], &["nan", "stateful"]);
    check("tests/models/examples", &["one_row"], &[]);
    let unproven = ["draw", "insert", "nested", "read", "write"];
    check("tests/models/engine", &["busy"], &unproven);
    let dependent = ["embedding_sum", "gather", "segments", "strings"];
    check("tests/models/operations", &dependent, &["cosine", "inverse_fourier"]);
}

/// The numbers of 64 rows, some of them the same.
fn numbers(row: &[usize]) -> Value {
    let size: usize = row.iter().product();
    let row_of =
        |row_number: usize| -> Vec<f64> { (0..size).map(|place| ((row_number * 37 + place * 11) % 50) as f64 / 8.0).collect() };
    match row {
        [] => json!((0..64).map(|row| row_of(row)[0]).collect::<Vec<_>>()),
        [_] => json!((0..64).map(row_of).collect::<Vec<_>>()),
        _ => {
            let pixels = |row: usize| row_of(row).chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>();
            let image = |row: usize| pixels(row).chunks(2).map(<[Vec<f64>]>::to_vec).collect::<Vec<_>>();
            json!((0..64).map(image).collect::<Vec<_>>())
        }
    }
}

/// The body of a request with 64 rows.
fn body(name: &str) -> String {
    let x = match name {
        "padded" => json!((0..64).map(|row| "a ".repeat(row % 7 + 1)).collect::<Vec<_>>()),
        "batch_norm" | "batch_norm_learns" => numbers(&[2, 2, 3]),
        "centred" | "reversed" | "softmax_of_rows" | "sorted" => numbers(&[4]),
        _ => numbers(&[]),
    };
    json!({ "x": x }).to_string()
}

/// With batches of one row, each request is one run of TensorFlow. `batch_norm_learns` answers the same in each run.
#[test]
fn a_request_of_64_dependent_rows_is_answered_as_tensorflow_does() {
    let (server, whole) = (served(""), served("--batch_size 1"));
    for name in DEPENDENT.into_iter().filter(|name| *name != "one_row") {
        let (target, body) = (format!("/{name}"), body(name));
        let (answer, expect) = (server.post(&target, &body), whole.post(&target, &body));
        assert_eq!(answer.0, 200, "{name}: {answer:?}");
        assert_eq!(answer, expect, "{name}");
    }
    let unique = json!({"x": (0..60).map(|i| i % 30 % 3 + 1).collect::<Vec<_>>()}).to_string();
    assert_eq!(server.post("/unique", &unique), (200, r#"{"y":[1.0,2.0,3.0]}"#.into()));
}

/// The rows of the runs of a request with 64 rows beside two of one row.
fn runs(flags: &str, target: &str) -> Vec<usize> {
    let gated = Gated::judged(model());
    let server = RunningServer::of(gated.clone(), &format!("--run_threads 1 {flags}"));
    gated.hold();
    let mut first = server.send_all([Request::post(target, r#"{"x": [1]}"#)]);
    gated.until_runs(1);
    let mut others =
        server.send_all([body("sums"), r#"{"x": [2]}"#.into(), r#"{"x": [3]}"#.into()].map(|body| Request::post(target, body)));
    server.until_inside("test", 4);
    gated.release();
    for connection in first.iter_mut().chain(&mut others) {
        assert_eq!(connection.receive().expect("an answer").status, 200);
    }
    let mut runs = gated.run_rows();
    runs.sort_unstable();
    runs
}

#[test]
fn dependent_rows_share_no_run_and_are_not_divided() {
    assert_eq!(runs("", "/sums"), [1, 1, 1, 64]);
    assert_eq!(runs("", "/half").iter().sum::<usize>(), 67);
    assert!(runs("", "/half").len() < 4 || runs("", "/half").contains(&32), "parts and batches");
}

#[test]
fn batch_size_of_a_signature_forces_either() {
    assert_eq!(runs("--batch_size 32,test/half=1", "/half"), [1, 1, 1, 64]);
    let forced = runs("--batch_size test/sums=32", "/sums");
    assert!(forced.contains(&32) && !forced.contains(&64), "{forced:?}");
    assert_eq!(runs("--batch_size 1", "/half"), [1, 1, 1, 64]);
}

#[test]
fn models_and_signatures_say_how_their_rows_run() {
    let server = served("");
    let get = |target: &str| server.call(&Request::get(target)).json();
    let model = &get("/models")[0];
    let warnings: Vec<&str> = model["warnings"].as_array().expect("warnings").iter().filter_map(Value::as_str).collect();
    for name in DEPENDENT {
        let start = format!("signature {name:?}: each request runs alone and whole, because its rows depend on each other: ");
        let warning =
            warnings.iter().find(|warning| warning.starts_with(&start)).unwrap_or_else(|| panic!("{name}: {warnings:#?}"));
        assert!(warning.ends_with(&format!("; --batch_size MODEL/{name}=ROWS batches it all the same")), "{warning}");
        assert!(get(&format!("/{name}"))["runs_alone"].is_string(), "{name}");
    }
    for (name, why) in UNPROVEN {
        assert!(model["unproven"][name].as_str().is_some_and(|text| text.contains(why)), "{name}: {model}");
    }
    assert_eq!(get("/half").get("runs_alone"), None);
    let signatures = get("/");
    let alone = signatures.as_array().expect("signatures").iter().filter(|signature| signature.get("runs_alone").is_some());
    assert_eq!(alone.count(), DEPENDENT.len());
}

#[test]
fn the_log_names_signatures_that_run_alone_and_those_that_are_not_there() {
    let process = Process::serve("--model tests/models/rows --batch_size rows/sums=32,rows/nowhere=1,other/sums=1");
    let says = |text: &str| process.stderr().iter().any(|line| line.contains("WARN") && line.contains(text));
    // The graph tells it, so that it takes no time.
    assert!(says(r#"signature "batch_norm_learns": each request runs alone and whole"#), "{:#?}", process.stderr());
    assert!(!says(r#"signature "sums""#), "its user knows better");
    assert!(says("--batch_size names rows/nowhere, which is no signature"), "{:#?}", process.stderr());
    assert!(!says("--batch_size names other/sums"), "of a model that is not there yet");
}
