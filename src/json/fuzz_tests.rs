//! Bodies that went wrong on the way: whatever comes, the answer is tensors or an error that names a place.

use tfweb_engine::{Code, Signature};

use super::decode;
use super::tests::{signature, Random};

const BODIES: [&str; 14] = [
    r#"{"f":[[1.0,2.5],[-3e2,"NaN"]],"i":[1,-9223372036854775808],"s":["é",{"b64":"/+8="}],"b":[true,false]}"#,
    r#"{"b":[],"f":[],"i":[],"s":[]}"#,
    r#"{"b":[true],"f":{"b64":"AACAPwAAAEA="},"i":{"b64":"AQAAAAAAAAA="},"s":["\ud83d\ude00\n"]}"#,
    r#"[{"f":[1,2],"i":3,"s":"a","b":true},{"b":false,"s":{"b64":"_-8"},"i":1e2,"f":["Infinity",0.1]}]"#,
    r#"[{"f":{"b64":"AACAPwAAAEA="},"i":{"b64":"AQAAAAAAAAA="},"s":"","b":true}]"#,
    "[]",
    r#"{"f":[0.1,1e-7],"i":9223372036854775807,"s":"x","b":false}"#,
    r#"{"u":[[[1,2],[3,4]],[[5,6],[7,8]]],"h":[[1.5,2],[3,4]]}"#,
    r#"{"h":[[65504]],"u":7}"#,
    r#"{"u":[],"h":{"b64":"ADwAPA=="}}"#,
    r#" { "u" : [ [ ] , [ ] ] , "h" : [ [ ] , [ ] ] } "#,
    r#"{"u":[255,0],"h":[["-Infinity","Infinity"]]}"#,
    r#"{"b":[true],"f":[[1,1]],"i":[18446744073709551616],"s":[{"url":"http://localhost/"}]}"#,
    r#"[{"f":[1,2],"i":1.5,"s":"a","b":true}]"#,
];

/// What a mutation inserts: the pieces that JSON and wrappers are made of.
const PIECES: [&str; 22] = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "null",
    "true",
    "-",
    "1e999",
    "1.5",
    "\"b64\"",
    "{\"b64\":\"AAAA\"}",
    "\"f\":",
    "\u{feff}",
    "[[[[",
    "99999999999999999999",
    "\"NaN\"",
    " ",
];

fn mutate(body: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(body.len() + 1);
        match random.below(6) {
            0 => body.truncate(at),
            1 => body.extend_from_within(at..),
            2 => drop(body.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
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

fn check(body: &[u8], signature: &Signature, batch_transpose: bool) {
    let Err(error) = decode(body, signature, batch_transpose) else {
        return;
    };
    let shown = String::from_utf8_lossy(body);
    assert!(matches!(error.code, Code::InvalidArgument | Code::Unimplemented), "{:?} for {shown}", error.code);
    let names_place = ["input", "line", "example", "expected an object"].iter().any(|place| error.message.contains(place));
    assert!(names_place, "{} for {shown}", error.message);
    assert!(error.message.len() < 1000, "{} for {shown}", error.message);
}

#[test]
fn mutated_bodies_never_panic() {
    let batchable = signature("b: bool [-1]; f: float32 [-1, 2]; i: int64 [-1]; s: string [-1]");
    let other = signature("h: float16 [-1, -1]; u: uint8 ?");
    let mut random = Random(88_172_645_463_325_252);
    let mut accepted = 0;
    for round in 0..100_000 {
        let mut body = BODIES[round % BODIES.len()].as_bytes().to_vec();
        mutate(&mut body, &mut random);
        let signature = if random.below(8) == 0 || body.windows(3).any(|key| key == b"\"h\"") { &other } else { &batchable };
        let batch_transpose = random.below(2) == 0;
        check(&body, signature, batch_transpose);
        accepted += usize::from(decode(&body, signature, batch_transpose).is_ok());
    }
    assert!(accepted > 1000, "only {accepted} bodies were accepted: the others hide what comes after an error");
}
