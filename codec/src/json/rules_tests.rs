//! Tests that the reader and the writer follow the rules of a dialect, on dialects that only these tests have.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeSeed as _;
use tfweb_engine::{f16, Code, DType, Error, Signature, Tensor};

use super::found::Found;
use super::inputs::{Inputs, OtherKeys};
use super::numbers::{Float, Integer};
use super::rules::{ReadRules, WriteRules};
use super::tests::{signature, tensor_text};
use super::write::write_tensor;

/// A dialect that takes as much as rules can allow, or as little.
#[derive(Clone, Copy)]
struct Dialect<const IS_LARGE: bool, const CHECKS_SHAPES: bool>;

const LARGE: Dialect<true, true> = Dialect;
const SMALL: Dialect<false, true> = Dialect;

impl<const IS_LARGE: bool, const CHECKS_SHAPES: bool> ReadRules for Dialect<IS_LARGE, CHECKS_SHAPES> {
    const CHECKS_SHAPES: bool = CHECKS_SHAPES;
    const NUMBERS_AS_BASE64: bool = IS_LARGE;
    const URL_SAFE_BASE64: bool = IS_LARGE;
    const URLS: bool = IS_LARGE;

    fn has_form(dtype: DType) -> bool {
        IS_LARGE || dtype != DType::Uint16
    }

    fn float<T: Float>(self, found: Found<'_>) -> Option<T> {
        T::nearest(found).filter(|value| IS_LARGE || value.is_finite())
    }

    fn integer<T: Integer>(self, found: Found<'_>) -> Option<T> {
        if let (Found::Float(value), true) = (found, IS_LARGE) {
            return T::whole(value);
        }
        T::same(found)
    }

    fn text(self, found: Found<'_>) -> Option<&str> {
        if let Found::Text(text) = found {
            Some(text).filter(|text| IS_LARGE || *text != "secret")
        } else {
            None
        }
    }
}

impl<const IS_LARGE: bool> WriteRules for Dialect<IS_LARGE, true> {
    const SEPARATOR: &'static [u8] = if IS_LARGE { b", " } else { b"," };

    fn write_float32(&self, value: f32, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{value}f").as_bytes());
    }

    fn write_float64(&self, value: f64, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{value}d").as_bytes());
    }

    fn write_string(&self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} bytes", bytes.len()).as_bytes());
    }
}

/// The tensors of a body, and the number of its URLs.
fn read(rules: impl ReadRules, signature: &Signature, body: &str, other_keys: OtherKeys) -> Result<(Vec<Tensor>, usize), Error> {
    let mut inputs = Inputs::new(signature, rules, body.len())?;
    let mut json = serde_json::Deserializer::from_str(body);
    match inputs.named(0, other_keys).deserialize(&mut json) {
        Ok(()) => {
            let (tensors, urls) = inputs.finish(None);
            Ok((tensors, urls.len()))
        }
        Err(error) => Err(inputs.into_error(&error, body.as_bytes())),
    }
}

/// Checks that both dialects read `body`, or that the large one does and the small one refuses it with an error that has
/// `refusal`.
#[track_caller]
fn check(inputs: &str, body: &str, large: &str, refusal: &str) {
    let signature = signature(inputs);
    let (tensors, _) = read(LARGE, &signature, body, OtherKeys::Refuse).unwrap();
    assert_eq!(tensor_text(&tensors[0]), large);
    match read(SMALL, &signature, body, OtherKeys::Refuse) {
        Ok((tensors, _)) => assert!(refusal.is_empty() && tensor_text(&tensors[0]) == large, "{inputs} took {body}"),
        Err(error) => assert!(!refusal.is_empty() && error.message.contains(refusal), "{error}"),
    }
}

#[test]
fn shapes_are_checked_where_the_rules_say_so() {
    let signature = signature("x: int32 [2]");
    let body = r#"{"x":[[1],[2],[3]]}"#;
    let (tensors, _) = read(Dialect::<true, false>, &signature, body, OtherKeys::Refuse).unwrap();
    assert_eq!(tensor_text(&tensors[0]), "[3, 1] [[1],[2],[3]]");
    let error = read(LARGE, &signature, body, OtherKeys::Refuse).unwrap_err();
    assert_eq!(error.message, r#"input "x": expected int32 of shape [2], got a list at [0]"#);
}

#[test]
fn bytes_stand_for_numbers_where_the_rules_say_so() {
    check("x: uint8 [2]", r#"{"x":{"b64":"AQI="}}"#, "[2] [1,2]", r#"expected uint8 of shape [2], got an object"#);
}

#[test]
fn base64_has_the_alphabets_of_the_rules() {
    check("x: string []", r#"{"x":{"b64":"/+8="}}"#, r#"[] {"b64":"/+8="}"#, "");
    check("x: string []", r#"{"x":{"b64":"_-8="}}"#, r#"[] {"b64":"/+8="}"#, r#"expected base64 in "b64", got other text"#);
}

#[test]
fn urls_stand_for_strings_where_the_rules_say_so() {
    check("x: string []", r#"{"x":{"url":"a"}}"#, r#"[] """#, r#"expected text or {"b64": …}, got an object with the key "url""#);
    let (_, urls) = read(LARGE, &signature("x: string [2]"), r#"{"x":["a",{"url":"b"}]}"#, OtherKeys::Refuse).unwrap();
    assert_eq!(urls, 1);
}

#[test]
fn elements_are_those_of_the_rules() {
    check("x: uint16 []", r#"{"x":7}"#, "[] 7", r#"input "x" is uint16, which is not served"#);
    check("x: float32 []", r#"{"x":1e300}"#, r#"[] "Infinity""#, "got the number 1e300 (out of the range of float32)");
    check("x: float32 []", r#"{"x":2}"#, "[] 2.0", "");
    check("x: int32 []", r#"{"x":2.0}"#, "[] 2", "got the number 2.0");
    check("x: string []", r#"{"x":"secret"}"#, r#"[] "secret""#, r#"got the text "secret""#);
    check("x: bool []", r#"{"x":true}"#, "[] true", "");
}

#[test]
fn of_keys_that_are_skipped_the_first_counts() {
    let signature = signature("x: int32 []; y: int32 []");
    let body = r#"{"z":{"a":[0]},"x":1,"x":2,"y":3}"#;
    let (tensors, _) = read(LARGE, &signature, body, OtherKeys::Skip).unwrap();
    assert_eq!([0, 1].map(|index| tensor_text(&tensors[index])), ["[] 1", "[] 3"]);
    let refused = |body, other_keys| read(LARGE, &signature, body, other_keys).unwrap_err();
    assert!(refused(body, OtherKeys::Refuse).message.starts_with("unknown input \"z\""));
    assert_eq!(refused(r#"{"x":1,"x":2}"#, OtherKeys::Refuse).message, "input \"x\" is given twice");
    let missing = refused(r#"{"z":1,"x":2}"#, OtherKeys::Skip);
    assert_eq!((missing.code, missing.message.as_str()), (Code::InvalidArgument, "missing input \"y\" of signature \"predict\""));
}

#[test]
fn elements_are_written_by_the_rules() {
    let mut out = Vec::new();
    write_tensor(&LARGE, &Tensor::from_vec(&[2, 1], vec![1.5_f32, 2.0]), &mut out);
    write_tensor(&SMALL, &Tensor::from_vec(&[2], vec![0.5_f64, 2.0]), &mut out);
    write_tensor(&LARGE, &Tensor::from_vec(&[], vec![-7_i8]), &mut out);
    write_tensor(&LARGE, &Tensor::from_vec(&[], vec![f16::from_f32(0.1)]), &mut out);
    write_tensor(&LARGE, &Tensor::from_strings(&[], Arc::new(vec![Bytes::from_static(b"abc")])), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "[[1.5f], [2f]][0.5d,2d]-70.1d3 bytes");
}
