//! Models with a signature that cannot be served whole, of `tests/models/odd`. A fault of a signature, an input or an output hurts
//! nothing else. Ragged and sparse tensors are served as their parts.

use std::path::Path;
use std::sync::Barrier;
use std::{fs, thread};

use serde_json::{json, Value};

use crate::client::Request;
use crate::grpc;
use crate::process::Process;
use crate::support::RunningServer;

/// The models that have the signature `plain` and can be loaded.
const LOADED: [&str; 14] = [
    "ragged_out",
    "ragged_in",
    "sparse_out",
    "sparse_in",
    "missing_node",
    "resource",
    "quantised",
    "complex",
    "slash",
    "text",
    "missing_asset",
    "missing_asset_1",
    "impossible",
    "input_as_output",
];

fn flags() -> String {
    let model = |name: &str| format!("--model {name}=tests/models/odd/{name}");
    LOADED.iter().copied().chain(["no_signature"]).map(model).collect::<Vec<_>>().join(" ")
}

fn server() -> &'static RunningServer {
    RunningServer::shared(&flags())
}

/// Posts to the native API. Gives the status and the answer or the text of the error.
#[track_caller]
fn native(target: &str, body: &Value) -> (u16, Value) {
    answer(server().post(&format!("/models/{target}"), &body.to_string()))
}

/// Posts to TensorFlow Serving's REST API.
#[track_caller]
fn rest(model: &str, body: &Value) -> (u16, Value) {
    answer(server().post(&format!("/v1/models/{model}:predict"), &body.to_string()))
}

fn answer((status, text): (u16, String)) -> (u16, Value) {
    let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let error = answer.get_mut("error").map(Value::take);
    (status, error.unwrap_or(answer))
}

#[track_caller]
fn described(model: &str, signature: &str) -> Value {
    server().call(&Request::get(&format!("/models/{model}/{signature}"))).json()
}

#[test]
fn every_odd_model_loads_and_serves_its_other_signature() {
    for model in LOADED {
        assert_eq!(native(&format!("{model}/plain"), &json!({"x": [1, 2]})), (200, json!({"y": [2.0, 4.0]})), "{model}");
    }
    let turned = json!({"y": [2.0, 3.0], "z": [[1.0, 1.0], [2.0, 2.0]]});
    assert_eq!(native("complex/turn", &json!({"x": [1, 2]})), (200, turned));
    let real = rest("complex", &json!({"signature_name": "turn", "inputs": [1, 2], "output_filter": ["y"]}));
    assert_eq!(real, (200, json!({"outputs": [2.0, 3.0]})));
}

#[test]
fn a_malformed_name_of_a_tensor_hurts_its_signature_alone() {
    let place = tempfile::tempdir().expect("a directory");
    let (from, to) = (Path::new("tests/models/odd/missing_node/1"), place.path().join("1"));
    fs::create_dir_all(to.join("variables")).expect("a directory");
    for entry in fs::read_dir(from.join("variables")).expect("the variables").map(|entry| entry.expect("a file")) {
        fs::copy(entry.path(), to.join("variables").join(entry.file_name())).expect("a file");
    }
    let mut model = fs::read(from.join("saved_model.pb")).expect("the model");
    let name = b"PartitionedCall_2:10";
    let at = model.windows(name.len()).position(|window| window == name).expect("the name of a tensor");
    model[at..at + name.len()].copy_from_slice(b"PartitionedCall_2:xx");
    fs::write(to.join("saved_model.pb"), model).expect("a file");
    let server = RunningServer::start(&format!("--model m={}", place.path().display()));
    assert_eq!(answer(server.post("/models/m/plain", r#"{"x": [1, 2]}"#)), (200, json!({"y": [2.0, 4.0]})));
    let (status, error) = answer(server.post("/models/m/output", r#"{"x": [1, 2]}"#));
    let expect = r#"output "z" names "PartitionedCall_2:xx", which is no tensor"#;
    assert!(status == 501 && error.as_str().is_some_and(|error| error.starts_with(expect)), "{status} {error}");
}

#[test]
fn a_signature_that_is_not_served_says_what_is_wrong() {
    for (target, input, wrong) in [
        ("missing_node/operation", "x", r#"output "z" names the operation "nowhere", which is not in the graph"#),
        ("missing_node/output", "x", r#"output "z" names output "#),
        ("missing_node/input", "x", r#"input "x" names the operation "nowhere", which is not in the graph"#),
        ("resource/handle", "x", r#"output "z" is resource, which is not served"#),
        ("quantised/quantise", "x", r#"output "z" is quint8, which is not served"#),
        ("text/slices", "x", r#"output "z" names no tensor of the graph"#),
        ("quantised/dequantise", "x", r#"input "x" is quint8, which is not served"#),
    ] {
        let (model, signature) = target.split_once('/').expect("two names");
        let (status, error) = native(target, &json!({input: [1, 2]}));
        assert!(status == 501 && error.as_str().is_some_and(|error| error.starts_with(wrong)), "{target}: {status} {error}");
        let (status, error) = rest(model, &json!({"signature_name": signature, "inputs": [1, 2]}));
        assert!(status == 501 && error.as_str().is_some_and(|error| error.starts_with(wrong)), "{target}: {status} {error}");
        let description = described(model, signature).to_string();
        let (_, reason) = wrong.split_once("\" ").expect("a name and a reason");
        assert!(description.contains(&reason.replace('"', "\\\"")), "{target}: {description}");
    }
}

#[test]
fn only_the_outputs_that_are_asked_for_have_to_be_served() {
    for (model, signature) in [("quantised", "quantise"), ("missing_node", "operation"), ("missing_node", "output")] {
        let ask = |outputs: &[&str]| rest(model, &json!({"signature_name": signature, "inputs": [1, 2], "output_filter": outputs}));
        assert_eq!(ask(&["y"]), (200, json!({"outputs": [2.0, 3.0]})), "{signature}");
        assert_eq!(ask(&["z"]).0, 501, "{signature}");
        assert_eq!(ask(&["y", "z"]).0, 501, "{signature}");
        assert_eq!(ask(&["w"]).0, 400, "{signature}");
    }
}

#[test]
fn metadata_says_what_a_signature_is() {
    let z = |model: &str, signature: &str| described(model, signature)["outputs"]["z"].clone();
    assert_eq!(z("quantised", "quantise"), json!({"type": "quint8", "shape": [-1], "unserved": "is quint8, which is not served"}));
    assert_eq!(z("resource", "handle")["type"], "resource");
    let metadata = |model: &str| {
        let metadata = server().call(&Request::get(&format!("/v1/models/{model}/metadata"))).json();
        metadata["metadata"]["signature_def"]["signature_def"].clone()
    };
    assert_eq!(metadata("quantised")["quantise"]["outputs"]["z"]["dtype"], "DT_QUINT8");
    assert_eq!(metadata("resource")["handle"]["outputs"]["z"]["dtype"], "DT_RESOURCE");
    let words = &metadata("ragged_out")["split"]["outputs"];
    assert_eq!((&words["words.values"]["dtype"], &words["words.row_splits"]["dtype"]), (&json!("DT_STRING"), &json!("DT_INT64")));
    let of = json!({"name": "words", "type": "ragged tensor of string"});
    let native = &described("ragged_out", "split")["outputs"];
    assert_eq!(native["words.values"], json!({"type": "string", "shape": [-1], "part_of": of}));
    assert_eq!(native["words.row_splits"], json!({"type": "int64", "shape": [-1], "part_of": of}));
    let sparse = &described("sparse_in", "declared")["inputs"];
    let of = json!({"name": "table", "type": "sparse tensor of float32"});
    assert_eq!(sparse["table.indices"], json!({"type": "int64", "shape": [-1, 2], "part_of": of}));
    assert_eq!(sparse["table.dense_shape"], json!({"type": "int64", "shape": [2], "part_of": of}));
}

#[test]
fn ragged_and_sparse_tensors_are_their_parts() {
    let words = json!({
        "bytes": [4, 0, 1],
        "words.values": ["a", "bc", "d"], "words.row_splits": [0, 2, 2, 3],
        "letters.values": ["a", "b", "c", "d"], "letters.row_splits_0": [0, 2, 2, 3], "letters.row_splits_1": [0, 1, 3, 4],
    });
    let text = json!(["a bc", "", "d"]);
    assert_eq!(native("ragged_out/split", &json!({"text": text})), (200, words.clone()));
    assert_eq!(rest("ragged_out", &json!({"signature_name": "split", "inputs": text})), (200, json!({"outputs": words})));
    let above = json!({"above.indices": [[0, 1], [2, 0]], "above.values": [3.0, 5.0], "above.dense_shape": [3, 2], "sum": 7.0});
    assert_eq!(native("sparse_out/where", &json!({"x": [[0, 3], [-1, 0], [5, 0]]})), (200, above));
    let ratios = (200, json!({"ratios": [1.0, 3.0, 1.0]}));
    assert_eq!(native("ragged_in/declared", &json!({"rows.values": [1, 3, 5], "rows.row_splits": [0, 2, 3]})), ratios);
    assert_eq!(native("ragged_in/ratio", &json!({"rows": [1, 3, 5], "rows_1": [0, 2, 3]})), ratios);
    let dense = (200, json!({"dense": [[0.0, 4.0, 0.0], [0.0, 0.0, 6.0]]}));
    let parts = [json!([[0, 1], [1, 2]]), json!([4, 6]), json!([2, 3])];
    let [indices, values, shape] = &parts;
    let declared = json!({"table.indices": indices, "table.values": values, "table.dense_shape": shape});
    assert_eq!(native("sparse_in/declared", &declared), dense);
    assert_eq!(native("sparse_in/dense", &json!({"table": indices, "table_1": values, "table_2": shape})), dense);
}

#[test]
fn rows_of_parts_are_no_rows() {
    let (status, error) = rest("ragged_out", &json!({"signature_name": "split", "instances": ["a b"]}));
    assert_eq!(status, 400, "{error}");
    assert!(error.to_string().contains("ragged tensor of string, which has no rows"), "{error}");
    let (status, error) = native("ragged_out/split", &json!([{"text": "a b"}, {"text": "c"}]));
    assert_eq!(status, 400, "{error}");
}

/// Three values with three row splits look like three rows. Requests of this kind must not be stacked: the row splits of one
/// would point at the values of another.
#[test]
fn parts_of_a_ragged_tensor_share_no_run_with_others() {
    const CLIENTS: u32 = 8;
    const REQUESTS: u32 = 50;
    let start = Barrier::new(CLIENTS.try_into().expect("few clients"));
    let (names, server, start) =
        ([("declared", ["rows.values", "rows.row_splits"]), ("ratio", ["rows", "rows_1"])], server(), &start);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut connection = server.connect();
                start.wait();
                for request in 0..REQUESTS {
                    let (signature, [values, splits]) = names[usize::from(request % 2 == 0)];
                    let first = f64::from(client + 1);
                    let body = json!({values: [first, 3.0 * first, 5], splits: [0, 2, 3]}).to_string();
                    let answer =
                        connection.call(&Request::post(&format!("/models/ragged_in/{signature}"), body)).expect("an answer");
                    assert_eq!(answer.json(), json!({"ratios": [1.0, 3.0, 1.0]}), "{signature}");
                }
            });
        }
    });
}

#[test]
fn a_model_without_signatures_is_loaded_with_a_warning() {
    let models = server().call(&Request::get("/models")).json();
    let model =
        models.as_array().and_then(|models| models.iter().find(|model| model["name"] == "no_signature")).expect("the model");
    assert_eq!((&model["state"], &model["signatures"]), (&json!("AVAILABLE"), &json!([])));
    let warning = model["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("no signature") && warning.contains("tf.saved_model.save("), "{warning}");
    assert_eq!(native("no_signature/x", &json!({"x": [1]})).0, 404);
}

#[test]
fn a_signature_with_a_slash_is_called_by_its_name() {
    for name in ["a/b", "a%2Fb", "%252F", "a%20b"] {
        assert_eq!(native(&format!("slash/{name}"), &json!({"x": [1]})), (200, json!({"y": [2.0]})), "{name}");
    }
    assert_eq!(rest("slash", &json!({"signature_name": "a/b", "inputs": [1]})), (200, json!({"outputs": [2.0]})));
    assert_eq!(described("slash", "a/b")["name"], "a/b");
}

#[test]
fn tensorflow_servings_client_calls_odd_signatures() {
    grpc::check(&grpc::served(&flags()).target(), &["odd_signatures", "odd_parts", "odd_metadata"]);
}

#[test]
fn what_can_never_run_says_so() {
    let no_splits = "is a ragged tensor of float32, which is not served: expected 1 tensors of row splits, found 0";
    let one_split = "is a ragged tensor of float32, which is not served: expected 2 tensors of row splits, found 1";
    let dtype = |tensor: &str| format!("is declared as int64, and its tensor {tensor:?} in the graph is float32");
    let twice = r#"names the tensor "twice_a:0", and so does input "a": a run cannot take both"#;
    for (signature, side, name, reason) in [
        ("twice", "input", "b", twice),
        ("input", "input", "x", &dtype("input_x:0")),
        ("output", "output", "z", &dtype("PartitionedCall_4:1")),
        ("no_splits", "output", "z", no_splits),
        ("one_split", "output", "z", one_split),
    ] {
        let expect = (501, json!(format!("{side} {name:?} {reason}")));
        let inputs = if signature == "twice" { json!({"a": [1], "b": [2]}) } else { json!({"x": [1]}) };
        assert_eq!(native(&format!("impossible/{signature}"), &inputs), expect, "{signature}");
        assert_eq!(rest("impossible", &json!({"signature_name": signature, "inputs": inputs})), expect, "{signature}");
        assert_eq!(described("impossible", signature)[format!("{side}s")][name]["unserved"], reason, "{signature}");
        let ask = |output: &str| json!({"signature_name": signature, "inputs": inputs, "output_filter": [output]});
        let y = if side == "input" { expect.clone() } else { (200, json!({"outputs": [2.0]})) };
        assert_eq!(rest("impossible", &ask("y")), y, "{signature}");
        if side == "output" {
            assert_eq!(rest("impossible", &ask("z")), expect, "{signature}");
        }
    }
}

#[test]
fn a_signature_without_outputs_says_so() {
    let fault = "has no outputs, so it cannot run";
    let expect = (501, json!(format!("signature \"no_outputs\" {fault}")));
    assert_eq!(native("impossible/no_outputs", &json!({"x": [1]})), expect);
    assert_eq!(rest("impossible", &json!({"signature_name": "no_outputs", "inputs": [1]})), expect);
    assert_eq!(described("impossible", "no_outputs")["unserved"], fault);
    let models = server().call(&Request::get("/models")).text();
    assert!(models.contains(&format!(r#"signature \"no_outputs\": {fault}"#)), "{models}");
}

/// TensorFlow refuses to fetch a tensor that is fed.
#[test]
fn an_output_that_is_the_tensor_of_an_input_comes_back() {
    for (signature, expect) in [
        ("both", json!({"y": [2.0, 3.0], "z": [1.0, 2.0]})),
        ("only", json!({"z": [1.0, 2.0]})),
        ("same", json!({"y": [2.0, 3.0], "z": [2.0, 3.0]})),
    ] {
        assert_eq!(native(&format!("input_as_output/{signature}"), &json!({"x": [1, 2]})), (200, expect), "{signature}");
    }
}

/// The log and `GET /models` say what is wrong with each model.
#[test]
fn warnings_name_what_is_not_served() {
    let process = Process::serve(&flags());
    let models = process.connect().call(&Request::get("/models")).expect("an answer").text();
    for text in [
        r#"signature "quantise": output "z" is quint8, which is not served"#,
        r#"signature "handle": output "z" is resource, which is not served"#,
        r#"signature "no_outputs": has no outputs"#,
        r#"signature "find": output "y" is not served"#,
        "no signature",
    ] {
        let says = |line: &String| line.contains("WARN") && line.contains(text);
        assert!(process.stderr().iter().any(says), "{text}: {:#?}", process.stderr());
        assert!(models.contains(&text.replace('"', "\\\"")), "{text}: {models}");
    }
}
