//! TensorFlow Serving's API: labels and versions of models that are kept, random bodies, and bodies that are too large for a
//! transcript.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Error, PartialShape, Session, Signature, Tensor, TensorSpec};

use crate::client::{Connection, Request};
use crate::fuzz::mutate;
use crate::open_loop::{self, quantile};
use crate::process::Process;
use crate::support::{is_alone, Random, RunningServer};

const SEED: u64 = 88_172_645_463_325_252;
const FLAGS: &str = "--model tests/models/half_plus_two --model tests/models/kitchen --model tests/models/examples";

/// Verbs, signatures, and bodies that they take, without the signature's name.
const VALID: [(&str, &str, &str); 18] = [
    ("kitchen:predict", "two_inputs", r#""instances":[{"a":1,"b":2},{"b":NaN,"a":0.1}]"#),
    ("kitchen:predict", "two_inputs", r#""inputs":{"a":[1,2.5],"b":[-3e2,-Infinity],"c":{}}"#),
    ("kitchen:predict", "echo_string", r#""instances":[["é\n",{"b64":"/+8="}],["\ud83d\ude00","a\u0000"]]"#),
    ("kitchen:predict", "echo_string", r#""inputs":[["a",{"b64":"/+8"}]]"#),
    ("kitchen:predict", "echo_float32", r#""instances":[[1.0,2],[-0.0,3.4e38]]"#),
    ("kitchen:predict", "echo_float64", r#""inputs":[[1.7976931348623157e308,5e-324]]"#),
    ("kitchen:predict", "echo_int8", r#""instances":[[-128,127]]"#),
    ("kitchen:predict", "echo_int64", r#""inputs":{"x":[[-9223372036854775808,9223372036854775807]]}"#),
    ("kitchen:predict", "echo_uint64", r#""instances":[{"x":[18446744073709551615,0]}]"#),
    ("kitchen:predict", "echo_bool", r#""inputs":[[true,false],[false,true]]"#),
    ("kitchen:predict", "any_rank", r#""instances":[[[1],[2]],[[3],[4]]]"#),
    ("kitchen:predict", "any_rank", r#""inputs":7"#),
    ("kitchen:predict", "bytes_out", r#""instances":["a",{"b64":"Yg=="}],"output_filter":["flat"]"#),
    ("kitchen:predict", "wrappers", r#""instances":[{"url":"a","b64":{"b64":"Yg"}}]"#),
    ("half_plus_two:predict", "serving_default", r#""instances":[1,2.5,-Inf]"#),
    ("examples:classify", "serving_default", r#""context":{"bias":1.5},"examples":[{"x":[2.0],"name":"a"},{}]"#),
    ("examples:regress", "regress", r#""examples":[{"x":1e3},{"name":[{"b64":"YQ=="}]}]"#),
    ("examples:regress", "counts", r#""examples":[{"count":[3]},{"count":true}]"#),
];

/// The pieces that bodies are made of, and those that have broken parsers.
const PIECES: [&str; 26] = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "\\u0000NaN",
    "null",
    "true",
    "-",
    "1e400",
    "1.5",
    "\"b64\"",
    "{\"b64\":\"AAAA\"}",
    "\"x\":",
    "\"inputs\":1,",
    "\u{feff}",
    "[[[[[[[[",
    "99999999999999999999",
    "NaN",
    "-Inf",
    "Infinity",
    " ",
];

fn body(signature: &str, keys: &str) -> String {
    format!(r#"{{"signature_name":"{signature}",{keys}}}"#)
}

#[test]
fn bodies_as_they_are_valid_are_taken() {
    let server = RunningServer::shared(FLAGS);
    for (verb, signature, keys) in VALID {
        let (status, text) = server.post(&format!("/v1/models/{verb}"), &body(signature, keys));
        assert_eq!(status, 200, "{signature}: {keys}: {text}");
    }
}

#[test]
fn of_20_000_bodies_none_is_the_servers_fault() {
    let server = RunningServer::shared(FLAGS);
    let mut random = Random(SEED);
    let mut connection: Option<Connection> = None;
    let mut accepted = 0;
    for round in 0..20_000 {
        let (verb, signature, keys) = VALID[round % VALID.len()];
        let mut body = body(signature, keys).into_bytes();
        mutate(&mut body, &PIECES, &mut random);
        let request = Request::post(&format!("/v1/models/{verb}"), body);
        let mut open = connection.take().unwrap_or_else(|| server.connect());
        let response = open.call(&request).unwrap_or_else(|error| panic!("{error}: {request:?}"));
        let sent = String::from_utf8_lossy(&request.body);
        assert!([200, 400, 501].contains(&response.status), "{response:?} to {verb}: {sent}");
        assert!(response.status == 200 || response.text().len() < 1000, "{} to {sent}", response.text());
        accepted += usize::from(response.status == 200);
        connection = (response.header("connection") != Some("close")).then_some(open);
    }
    assert!(accepted > 200, "only {accepted} bodies were accepted: the others hide what comes after an error");
}

#[test]
fn half_a_million_nested_brackets_are_refused() {
    let server = RunningServer::shared(FLAGS);
    let deep = |piece: &str| piece.repeat(500_000);
    let nested = deep("[") + &deep("]");
    for (verb, body) in [
        ("kitchen:predict", deep("[")),
        ("kitchen:predict", nested.clone()),
        ("kitchen:predict", deep("{\"inputs\":")),
        ("kitchen:predict", format!(r#"{{"signature_name": {nested}}}"#)),
        ("kitchen:predict", format!(r#"{{"signature_name": "any_rank", "inputs": {nested}}}"#)),
        ("kitchen:predict", format!(r#"{{"signature_name": "any_rank", "inputs": {{"x": {nested}}}}}"#)),
        ("kitchen:predict", format!(r#"{{"signature_name": "any_rank", "instances": {nested}}}"#)),
        ("kitchen:predict", format!(r#"{{"signature_name": "echo_string", "instances": [{{"x": {{"b64": {nested}}}}}]}}"#)),
        ("kitchen:predict", format!(r#"{{"signature_name": "any_rank", "inputs": 1, "output_filter": {nested}}}"#)),
        ("examples:classify", format!(r#"{{"examples": {nested}}}"#)),
        ("examples:classify", format!(r#"{{"context": {nested}, "examples": [{{}}]}}"#)),
        ("examples:classify", format!(r#"{{"examples": [{{"x": {nested}}}]}}"#)),
    ] {
        let (status, text) = server.post(&format!("/v1/models/{verb}"), &body);
        assert_eq!(status, 400, "{verb}: {}…: {text}", &body[..40]);
        assert!(text.len() < 1000, "{text}");
    }
    let ignored = format!(r#"{{"others": {nested}, "instances": [1]}}"#);
    assert_eq!(server.post("/v1/models/half_plus_two:predict", &ignored).0, 200, "what is ignored may be deep");
}

#[test]
fn a_context_that_would_fill_the_memory_is_refused() {
    const GROWN_KIB_MAX: u64 = 50 << 10;
    let process = Process::serve("--model tests/models/examples");
    let context = "c".repeat(400_000);
    let body = format!(r#"{{"context":{{"name":"{context}"}},"examples":[{}{{}}]}}"#, "{},".repeat(59_999));
    assert!(body.len() < 581_000, "{} bytes stand for 24 GB", body.len());
    let mut connection = process.connect();
    let mut post = |verb: &str, body: &str| {
        let answer = connection.call(&Request::post(&format!("/v1/models/examples:{verb}"), body)).expect("an answer");
        (answer.status, answer.text())
    };
    // The first request brings the program's own pages into memory.
    assert_eq!(post("classify", r#"{"examples":[{"x":1.5,"name":"a"}]}"#).0, 200);
    let before = process.resident_kib();
    for verb in ["classify", "regress"] {
        let (status, text) = post(verb, &body);
        assert_eq!(status, 413, "{text}");
        // Serialized, the context is a few bytes longer than its text.
        assert!(text.contains("expected at most 67108864 bytes of copies, got 24001"), "{text}");
    }
    let grown = process.resident_kib().saturating_sub(before);
    eprintln!("{grown} KiB more");
    assert!(grown < GROWN_KIB_MAX, "{grown} KiB more");
}

/// A session of two signatures: `wide` takes 600 inputs of any shape, and `narrow` one.
struct Wide(FakeSession, Vec<Signature>);

impl Wide {
    const INPUTS: usize = 600;

    fn new() -> Self {
        let fake = FakeSession::new(Behaviour::HalfPlusTwo);
        let narrow = Signature { name: "narrow".into(), ..fake.signatures()[0].clone() };
        let spec = |i| TensorSpec { name: format!("x{i:03}"), shape: PartialShape::UNKNOWN, ..narrow.inputs[0].clone() };
        let wide = Signature { name: "wide".into(), inputs: (0..Self::INPUTS).map(spec).collect(), ..narrow.clone() };
        Self(fake, vec![narrow, wide])
    }

    /// A body of a megabyte for `wide`, with the last value of its last input.
    fn body(last: &str) -> String {
        let zeros = "0,".repeat(1_000_000 / Self::INPUTS / 2);
        let columns: Vec<String> = (0..Self::INPUTS).map(|i| format!("\"x{i:03}\":[{zeros}")).collect();
        format!(r#"{{"signature_name":"wide","inputs":{{{}{last}]}}}}"#, columns.join("0],"))
    }
}

impl Session for Wide {
    fn signatures(&self) -> &[Signature] {
        &self.1
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        if signature == 0 {
            return self.0.run(0, requests);
        }
        Ok(vec![Tensor::from_vec(&[1], vec![0.0_f32])])
    }
}

/// Sends four bodies at once; gives the time that 99 of 100 small requests beside them do not exceed.
fn small_requests_beside(server: &RunningServer, body: &str, status: u16) -> Duration {
    const SMALL_A_SECOND: f64 = 100.0;
    const TIME: Duration = Duration::from_secs(2);
    let target = "/v1/models/test:predict";
    let small = Request::post(target, r#"{"signature_name":"narrow","instances":[1]}"#);
    let large = Request::post(target, body);
    let small = [small.head(), small.body].concat();
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| server.call(&large))).collect();
        let answers = open_loop::run(server.address, small, SMALL_A_SECOND, TIME).expect("every request is answered");
        for call in calls {
            let answer = call.join().expect("an answer");
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        answers.iter().map(|answer| answer.time).collect()
    });
    quantile(&mut times, 0.99)
}

#[test]
fn refused_bodies_hold_up_their_neighbours_no_more_than_others() {
    if !is_alone("tf_serving::refused_bodies_hold_up_their_neighbours_no_more_than_others") {
        return;
    }
    let server = RunningServer::of(Arc::new(Wide::new()), "");
    let taken = small_requests_beside(&server, &Wide::body("0"), 200);
    let refused = small_requests_beside(&server, &Wide::body("null"), 400);
    eprintln!("small requests at p99: {taken:?} beside bodies that are taken, {refused:?} beside refused ones");
    assert!(refused < 3 * taken + Duration::from_millis(50), "{refused:?}, and {taken:?} beside bodies that are taken");
}

#[test]
fn versions_and_labels_choose_what_is_called() {
    let shelf = shelf();
    let flags = format!("--model m={} --version_policy all --version_labels stable=1,gone=7", shelf.path().display());
    let server = RunningServer::kept(&flags);
    let predict = |target: &str| server.post(target, r#"{"instances": [1]}"#);
    let is = |target: &str, value: &str| {
        let expected = format!("{{\n    \"predictions\": [{value}\n    ]\n}}");
        assert_eq!(predict(target), (200, expected), "{target}");
    };
    is("/v1/models/m:predict", "3.5");
    is("/v1/models/m/versions/1:predict", "2.5");
    is("/v1/models/m/labels/stable:predict", "2.5");
    let refuses = |target: &str, status: u16, error: &str| {
        let (found, text) = predict(target);
        assert!(found == status && text.contains(error), "{target}: {found} {text}");
    };
    refuses("/v1/models/m/labels/gone:predict", 404, "Servable not found for request: Specific(m, 7)");
    refuses("/v1/models/m/labels/other:predict", 400, "Unrecognized servable version label: other");
    refuses("/v1/models/m/versions/3:predict", 404, "Servable not found for request: Specific(m, 3)");
    let get = |target: &str| server.call(&Request::get(target)).text();
    let states = get("/v1/models/m");
    let [second, first] = ["\"2\"", "\"1\""].map(|number| states.find(number).expect("a version"));
    assert!(second < first, "highest first: {states}");
    for label in ["stable", "nosuch"] {
        assert_eq!(get(&format!("/v1/models/m/labels/{label}")), states, "a label is ignored");
    }
    assert!(get("/v1/models/m/labels/stable/metadata").contains("\"version\": \"1\""));
    assert!(!get("/v1/models/m/versions/1").contains("\"2\""));
}

/// A directory of two versions: half plus two, and half plus three.
pub(crate) fn shelf() -> tempfile::TempDir {
    let shelf = tempfile::tempdir().unwrap();
    for (number, model) in [("1", "half_plus_two"), ("2", "half_plus_three")] {
        copy(&Path::new("tests/models").join(model).join("1"), &shelf.path().join(number));
    }
    shelf
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
