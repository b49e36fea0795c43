//! Random bodies. The server answers each with a prediction, or with an error that blames the body.

use std::collections::BTreeMap;

use tfweb_codec::json;
use tfweb_engine::{Code, Signature};

use crate::client::{Connection, Request};
use crate::support::{session, Random, RunningServer, MODELS};

const SEED: u64 = 88_172_645_463_325_252;

/// Signatures of the kitchen, and bodies that each of them takes.
const VALID: [(&str, &str); 22] = [
    ("two_inputs", r#"{"a":[1,2.5],"b":[-3e2,"NaN"]}"#),
    ("two_inputs", r#"[{"a":1,"b":2},{"b":"Infinity","a":0.1}]"#),
    ("two_inputs", r#"{"a":{"b64":"AACAPw=="},"b":[0]}"#),
    ("echo_string", r#"{"x":[["é\n",{"b64":"/+8="}],["\ud83d\ude00","a\u0000"]]}"#),
    ("echo_string", r#"[{"x":["a",{"b64":"_-8"}]}]"#),
    ("echo_float16", r#"{"x":[[65504,1e-8],["-Infinity",0]]}"#),
    ("echo_bfloat16", r#"{"x":{"b64":"gD8AQA"}}"#),
    ("echo_float32", r#" { "x" : [ [ 1.0 , 2 ] , [ -0.0 , 3.4e38 ] ] } "#),
    ("echo_float64", r#"{"x":[[1.7976931348623157e308,5e-324]]}"#),
    ("echo_int8", r#"{"x":[[-128,127]]}"#),
    ("echo_int64", r#"{"x":[[-9223372036854775808,9223372036854775807],[1.0,2e2]]}"#),
    ("echo_uint64", r#"[{"x":[18446744073709551615,0]},{"x":{"b64":"AQAAAAAAAAACAAAAAAAAAA=="}}]"#),
    ("echo_bool", r#"{"x":[[true,false],[false,true]]}"#),
    ("echo_complex64", r#"{"x":[[[1,-0.0],[2.5,"NaN"]]]}"#),
    ("any_rank", r#"{"x":[[[1],[2]],[[3],[4]]]}"#),
    ("any_rank", r#"{"x":7}"#),
    ("ragged", r#"{"x":[[1,2,3],[4,5,6]]}"#),
    ("fixed", r#"{"x":[[1,2,3],[4,5,6]]}"#),
    ("scalar", r#"{"x":{"b64":"AACAPw=="}}"#),
    ("strings", r#"{"x":["a","b",{"b64":""}]}"#),
    ("wrappers", r#"{"url":["a"],"b64":[{"b64":"Yg"}]}"#),
    ("bytes_out", "[]"),
];

/// The pieces that a mutation puts in: parts of bodies, and texts that have broken parsers.
const PIECES: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "\\u0000",
    "null",
    "true",
    "-",
    "1e400",
    "1.5",
    "\"b64\"",
    "{\"b64\":\"AAAA\"}",
    "\"x\":",
    "\"a\":1,",
    "\u{feff}",
    "[[[[[[[[",
    "99999999999999999999",
    "\"NaN\"",
    " ",
];

/// Damages a body in one to three places; now and then one of the pieces is put in.
pub(crate) fn mutate(body: &mut Vec<u8>, pieces: &[&str], random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(body.len() + 1);
        match random.below(6) {
            0 => body.truncate(at),
            1 => body.extend_from_within(at..),
            2 => drop(body.splice(at..at, pieces[random.below(pieces.len())].bytes())),
            3 => drop(body.drain(at..body.len().min(at + 1 + random.below(6)))),
            4 => body.insert(at, random.next().to_le_bytes()[0]),
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// A signature, and a body that it mostly does not take.
fn next(round: usize, random: &mut Random) -> (&'static str, Vec<u8>) {
    let (name, body) = VALID[round % VALID.len()];
    let mut body = body.as_bytes().to_vec();
    mutate(&mut body, &PIECES, random);
    // Some go to a signature that they were not made for.
    let name = if random.below(8) == 0 { VALID[random.below(VALID.len())].0 } else { name };
    (name, body)
}

#[test]
fn bodies_as_they_are_valid_are_taken() {
    let server = RunningServer::shared(MODELS);
    for (name, body) in VALID {
        assert_eq!(server.post(&format!("/models/kitchen/{name}"), body).0, 200, "{name}: {body}");
    }
}

#[test]
fn of_100_000_bodies_none_panics_and_every_error_blames_the_body() {
    let session = session("tests/models/kitchen");
    let signatures: BTreeMap<&str, &Signature> = session.signatures().iter().map(|known| (known.name.as_str(), known)).collect();
    let mut random = Random(SEED);
    let mut accepted = 0;
    for round in 0..100_000 {
        let (name, body) = next(round, &mut random);
        match json::decode(&body, signatures[name], random.below(2) == 0) {
            Ok(_) => accepted += 1,
            Err(error) => {
                let blames = matches!(error.code, Code::InvalidArgument | Code::Unimplemented) && error.message.len() < 1000;
                assert!(blames, "{name}: {}: {error:?}", String::from_utf8_lossy(&body));
            }
        }
    }
    assert!(accepted > 1000, "only {accepted} bodies were accepted: the others hide what comes after an error");
}

#[test]
fn of_2_000_bodies_over_http_none_is_the_servers_fault() {
    let server = RunningServer::shared(MODELS);
    let mut random = Random(SEED);
    let mut connection: Option<Connection> = None;
    for round in 0..2_000 {
        let (name, body) = next(round, &mut random);
        let request = Request::post(&format!("/models/kitchen/{name}"), body);
        let mut open = connection.take().unwrap_or_else(|| server.connect());
        let response = open.call(&request).unwrap_or_else(|error| panic!("{error}: {request:?}"));
        assert!([200, 400, 501].contains(&response.status), "{response:?} to {name}: {}", String::from_utf8_lossy(&request.body));
        let _ = response.json();
        connection = (response.header("connection") != Some("close")).then_some(open);
    }
}

#[test]
fn half_a_million_nested_brackets_are_refused() {
    let server = RunningServer::shared(MODELS);
    let deep = |piece: &str| piece.repeat(500_000);
    for (target, body) in [
        ("/", deep("[")),
        ("/", deep("{\"x\":")),
        ("/", format!(r#"{{"x": {}"#, deep("["))),
        ("/", format!(r#"{{"x": {}{}}}"#, deep("["), deep("]"))),
        ("/models/kitchen/any_rank", format!(r#"{{"x": {}{}}}"#, deep("["), deep("]"))),
        ("/models/kitchen/any_rank", format!(r#"{{"x": {}"#, deep("{\"b64\":"))),
        ("/models/kitchen/echo_string", format!(r#"{{"x": [["", {}"#, deep("{\"b64\":"))),
        ("/models/kitchen/echo_string", format!(r#"{{"x": [["", {{"b64": {}"#, deep("["))),
        ("/models/kitchen/echo_string", format!(r#"{{"x": [["", {{"b64": "", "y": {}"#, deep("["))),
        ("/models/kitchen/two_inputs", format!(r#"{{"z": {}"#, deep("["))),
        ("/models/kitchen/two_inputs", format!(r#"[{{"a": 1, "b": {}"#, deep("{\"a\":"))),
    ] {
        let (status, text) = server.post(target, &body);
        assert_eq!(status, 400, "{target}: {}…: {text}", &body[..40]);
        assert!(text.len() < 1000, "{text}");
    }
    assert_eq!(server.post("/", r#"{"x": [1]}"#), (200, r#"{"y":[2.5]}"#.into()), "alive");
}

#[test]
fn what_is_no_http_hurts_nobody() {
    let server = RunningServer::shared(MODELS);
    let request = Request::post("/", r#"{"x": [1]}"#).header("Content-Type", "application/json");
    let mut whole = request.head();
    whole.extend_from_slice(&request.body);
    let mut random = Random(SEED);
    for _ in 0..500 {
        let mut bytes = whole.clone();
        mutate(&mut bytes, &PIECES, &mut random);
        // Its answer, if it is one to be answered, is left unread.
        let _ = server.connect().send_bytes(&bytes);
    }
    assert_eq!(server.post("/", r#"{"x": [1]}"#), (200, r#"{"y":[2.5]}"#.into()));
}
