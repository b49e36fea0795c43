//! Tests of decoding values: the element of each JSON value, dtype by dtype, and wrappers.

use super::decode::decode;
use super::tests::{check, check_transposed, signature};

#[test]
fn floats_accept_numbers_and_three_words() {
    for dtype in ["float16", "bfloat16", "float32", "float64"] {
        let x = format!("x: {dtype} [-1]");
        check(
            &x,
            r#"{"x":[1,-1,1.5,-0.0,-0,"NaN","Infinity","-Infinity",1e2]}"#,
            r#"Columns x = [9] [1.0,-1.0,1.5,-0.0,-0.0,"NaN","Infinity","-Infinity",100.0]"#,
        );
        for word in ["nan", "inf", "1.0", "+Infinity", ""] {
            check(
                &x,
                &format!(r#"{{"x":["{word}"]}}"#),
                &format!(r#"! input "x": expected {dtype} of shape [-1], got the text "{word}" at [0]"#),
            );
        }
        check(
            &x,
            r#"{"x":[0,1e400]}"#,
            &format!(r#"! input "x": expected {dtype} of shape [-1], got the number 1e400 at [1] (out of the range of float64)"#),
        );
    }
}

#[test]
fn finite_numbers_do_not_become_infinite() {
    let cases = [
        ("float16", "65504", "65500.0"),
        ("float16", "65519.99", "65500.0"),
        ("float16", "65520", "!"),
        ("float16", "70000", "!"),
        ("float16", "-70000.0", "!"),
        ("bfloat16", "3.39e38", "3.39e+38"),
        ("bfloat16", "3.4e38", "!"),
        ("float32", "3.4028235e38", "3.4028235e+38"),
        ("float32", "1e39", "!"),
        ("float32", "-1e39", "!"),
        ("float64", "1.7976931348623157e308", "1.7976931348623157e+308"),
        ("float64", "1e-400", "0.0"),
        ("float64", "18446744073709551616", "1.8446744073709552e+19"),
    ];
    for (dtype, number, expected) in cases {
        let expected = if expected == "!" {
            format!(r#"! input "x": expected {dtype} of shape [-1], got the number {number} at [0] (out of the range of {dtype})"#)
        } else {
            format!("Columns x = [1] [{expected}]")
        };
        check(&format!("x: {dtype} [-1]"), &format!("{{\"x\":[{number}]}}"), &expected);
    }
}

#[test]
fn floats_are_rounded_once() {
    // Halfway between two float16, and just above: by way of float32 both would round to even.
    check("x: float16 []", r#"{"x":1.00048828125}"#, "Columns x = [] 1.0");
    check("x: float16 []", r#"{"x":1.0004882812500002}"#, "Columns x = [] 1.001");
    check("x: float16 []", r#"{"x":1.0004882812499998}"#, "Columns x = [] 1.0");
    // Above the tie by a little more than one unit of float32.
    check("x: float16 []", r#"{"x":1.0004884004592897}"#, "Columns x = [] 1.001");
    check("x: float16 []", r#"{"x":-1.0014648437499998}"#, "Columns x = [] -1.001");
    check("x: float16 []", r#"{"x":-1.00146484375}"#, "Columns x = [] -1.002");
    check("x: bfloat16 []", r#"{"x":1.0039062499999998}"#, "Columns x = [] 1.0");
    check("x: bfloat16 []", r#"{"x":1.00390625}"#, "Columns x = [] 1.0");
    check("x: bfloat16 []", r#"{"x":1.0039062500000002}"#, "Columns x = [] 1.01");
    // One unit in the last place off without serde_json's feature `float_roundtrip`.
    check(
        "x: float64 [-1]",
        r#"{"x":[31.245270191439438,121.48791951161945,2.2250738585072014e-308]}"#,
        "Columns x = [3] [31.245270191439438,121.48791951161945,2.2250738585072014e-308]",
    );
}

#[test]
fn integers_accept_whole_numbers_in_range() {
    let ranges: [(&str, i128, i128); 8] = [
        ("int8", i8::MIN.into(), i8::MAX.into()),
        ("int16", i16::MIN.into(), i16::MAX.into()),
        ("int32", i32::MIN.into(), i32::MAX.into()),
        ("int64", i64::MIN.into(), i64::MAX.into()),
        ("uint8", 0, u8::MAX.into()),
        ("uint16", 0, u16::MAX.into()),
        ("uint32", 0, u32::MAX.into()),
        ("uint64", 0, u64::MAX.into()),
    ];
    for (dtype, min, max) in ranges {
        let x = format!("x: {dtype} [-1]");
        check(&x, &format!("{{\"x\":[{min},{max},1.0,1e2,-0,-0.0]}}"), &format!("Columns x = [6] [{min},{max},1,100,0,0]"));
        let refused = |number: &str, note: &str| {
            let expected = format!(r#"! input "x": expected {dtype} of shape [-1], got the number {number} at [0]{note}"#);
            check(&x, &format!("{{\"x\":[{number}]}}"), &expected);
        };
        let range = format!(" (out of the range of {dtype})");
        refused("1.5", " (not a whole number)");
        refused("1e-3", " (not a whole number)");
        refused("1e20", &range);
        for beyond in [min - 1, max + 1] {
            refused(&beyond.to_string(), &range);
        }
        check(&x, r#"{"x":["1"]}"#, &format!(r#"! input "x": expected {dtype} of shape [-1], got the text "1" at [0]"#));
        refused("1e400", " (out of the range of float64)");
    }
    check(
        "x: int64 []",
        r#"{"x":9.3e18}"#,
        r#"! input "x": expected int64 of shape [], got the number 9.3e18 (out of the range of int64)"#,
    );
    check(
        "x: int64 []",
        r#"{"x":-9.3e18}"#,
        r#"! input "x": expected int64 of shape [], got the number -9.3e18 (out of the range of int64)"#,
    );
    check(
        "x: uint64 []",
        r#"{"x":-1.0}"#,
        r#"! input "x": expected uint64 of shape [], got the number -1.0 (out of the range of uint64)"#,
    );
}

#[test]
fn integers_are_exact_or_refused() {
    for (number, same) in [("9007199254740991.0", "9007199254740991"), ("-9.007199254740991e15", "-9007199254740991")] {
        check("x: int64 []", &format!("{{\"x\":{number}}}"), &format!("Columns x = [] {same}"));
    }
    for dtype in ["int64", "uint64"] {
        // float64 has 9007199254740992 for the first two.
        let least = if dtype == "int64" { "-9.2e18" } else { "9007199254740992.0" };
        for number in ["9007199254740993.0", least, "9007199254740993e0", "9.2e18", "1E+16"] {
            let expected = format!(
                r#"! input "x": expected {dtype} of shape [], got the number {number} (whole numbers of 2^53 and more need all their digits, without a point and an exponent)"#
            );
            check(&format!("x: {dtype} []"), &format!("{{\"x\":{number}}}"), &expected);
        }
        check(&format!("x: {dtype} []"), r#"{"x":9007199254740993}"#, "Columns x = [] 9007199254740993");
    }
}

#[test]
fn errors_say_what_to_write() {
    let number = "1234567890".repeat(9);
    let cut = &number[..80];
    let got = |what: &str| format!(r#"! input "x": expected {what}"#);
    for (inputs, body, expected) in [
        ("x: float32 [-1]", "", "! the body is empty; expected a JSON object or array".to_owned()),
        ("x: float32 [-1]", " \r\n", "! the body is empty; expected a JSON object or array".to_owned()),
        (
            "x: float32 [-1]",
            "\u{feff}{\"x\":[1]}",
            "! malformed JSON: the body begins with a byte order mark (the bytes EF BB BF); send it without".to_owned(),
        ),
        ("x: int64 []", &format!(r#"{{"x":{number}}}"#), got(&format!("int64 of shape [], got the number {cut}… (out of the range of int64)"))),
        ("x: float32 [-1]", "{\"x\":\n[0,\n -1.0e+0400\n]}", got("float32 of shape [-1], got the number -1.0e+0400 at [1] (out of the range of float64)")),
        ("x: int64 [-1]", "{\"x\":\n[0,\r\n -1.50 ]}", got("int64 of shape [-1], got the number -1.50 at [1] (not a whole number)")),
        ("x: string [-1]", r#"{"x":{"b64":"YQ=="}}"#, got("string of shape [-1], got an object (an object stands for one string; write it in […])")),
        ("x: string [-1, 2]", r#"{"x":{"url":"a"}}"#, got("string of shape [-1, 2], got an object (an object stands for one string; write it in [[…]])")),
        ("x: string [-1, 2]", r#"{"x":[{"url":"a"}]}"#, got("string of shape [-1, 2], got an object at [0] (an object stands for one string; write it in […])")),
        ("x: string [-1, 2]", r#"[{"x":{"url":"a"}}]"#, r#"! example 0, input "x": expected string of shape [2], got an object (an object stands for one string; write it in […])"#.to_owned()),
    ] {
        check(inputs, body, &expected);
    }
    for (word, write) in [
        ("NaN", "NaN"),
        ("nan", "NaN"),
        ("Infinity", "Infinity"),
        ("inf", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("-inf", "-Infinity"),
    ] {
        for body in [format!(r#"{{"x":[1, {word}]}}"#), format!("{{\"x\":\n[{word},\n1]}}"), format!(r#"{{"x":{word}}}"#)] {
            let error = decode_message("x: float32 [-1]", &body);
            assert!(
                error.starts_with("malformed JSON at line ") && error.ends_with(&format!("; write \"{write}\", in quotes")),
                "{error}"
            );
        }
    }
}

#[test]
fn bools_are_true_or_false() {
    check("x: bool [-1]", r#"{"x":[true,false]}"#, "Columns x = [2] [true,false]");
    for number in ["1", "-1", "1.5"] {
        let expected = format!(r#"! input "x": expected bool of shape [-1], got the number {number} at [0]"#);
        check("x: bool [-1]", &format!("{{\"x\":[{number}]}}"), &expected);
    }
    check("x: bool [-1]", r#"{"x":["true"]}"#, r#"! input "x": expected bool of shape [-1], got the text "true" at [0]"#);
    check("x: bool [-1]", r#"{"x":[null]}"#, r#"! input "x": expected bool of shape [-1], got null at [0]"#);
    check("x: bool [-1]", r#"{"x":{"b64":"AA=="}}"#, r#"! input "x": expected bool of shape [-1], got an object"#);
    check("x: bool [-1]", r#"{"x":[{"b64":"AA=="}]}"#, r#"! input "x": expected bool of shape [-1], got an object at [0]"#);
    check("x: float32 [-1]", r#"{"x":[true]}"#, r#"! input "x": expected float32 of shape [-1], got true at [0]"#);
}

#[test]
fn strings_are_text_or_wrapped() {
    let x = "x: string [-1]";
    check(x, r#"{"x":["","é\u0000\ud83d\ude00","a"]}"#, r#"Columns x = [3] ["","é\u0000😀","a"]"#);
    check(x, r#"{"x":[{"b64":"/+8="},"b",{"b64":""}]}"#, r#"Columns x = [3] [{"b64":"/+8="},"b",""]"#);
    for base64 in ["/+8=", "/+8", "_-8=", "_-8", "/+8=\\n", "/+\\r\\n8=\\r\\n", "_\\n-8"] {
        check(x, &format!(r#"{{"x":[{{"b64":"{base64}"}}]}}"#), r#"Columns x = [1] [{"b64":"/+8="}]"#);
    }
    check(x, r#"{"x":[{"\u0062\u0036\u0034":"YQ\u003d\u003d"}]}"#, r#"Columns x = [1] ["a"]"#);
    for base64 in ["Y", "YQ=", "YQ===", "Y Q", "_+8=", "YR==", "é", "YQ==YQ=="] {
        let got = decode_message(x, &format!(r#"{{"x":["a",{{"b64":"{base64}"}}]}}"#));
        let start = r#"input "x": expected base64 in "b64", got other text at [1] (invalid "#;
        assert!(got.starts_with(start) || base64 == "YQ=", "{base64}: {got}");
    }
    for number in ["5", "1.5"] {
        let expected = format!(r#"! input "x": expected string of shape [-1], got the number {number} at [0]"#);
        check(x, &format!("{{\"x\":[{number}]}}"), &expected);
    }
    check(x, r#"{"x":[null]}"#, r#"! input "x": expected string of shape [-1], got null at [0]"#);
    check(x, r#"{"x":[["a"]]}"#, r#"! input "x": expected string of shape [-1], got a list at [0]"#);
    check(x, r#"{"x":"a"}"#, r#"! input "x": expected string of shape [-1], got the text "a""#);
    check("x: string []", r#"{"x":{"b64":"YQ=="}}"#, r#"Columns x = [] "a""#);
    check_transposed(x, r#"{"x":{"b64":"YQ=="}}"#, r#"Example x = [1] ["a"]"#);
    check(x, r#"[{"x":{"b64":"YQ=="}},{"x":"b"}]"#, r#"Examples(2) x = [2] ["a","b"]"#);
}

fn decode_message(inputs: &str, body: &str) -> String {
    let decoded = decode(body.as_bytes(), &signature(inputs), false);
    decoded.map_or_else(|error| error.message, |decoded| format!("{decoded:?}"))
}

#[test]
fn wrappers_have_a_single_key() {
    let x = "x: string [-1]";
    check(
        x,
        r#"{"x":[{"b64":"YQ==","y":1}]}"#,
        r#"! input "x": expected text, {"b64": …} or {"url": …}, got an object with more than the single key at [0]"#,
    );
    check(
        x,
        r#"{"x":[{"b64":"YQ==","b64":"YQ=="}]}"#,
        r#"! input "x": expected text, {"b64": …} or {"url": …}, got an object with more than the single key at [0]"#,
    );
    check(
        x,
        r#"{"x":[{"y":1,"b64":"YQ=="}]}"#,
        r#"! input "x": expected text, {"b64": …} or {"url": …}, got an object with the key "y" at [0]"#,
    );
    check(x, r#"{"x":[{}]}"#, r#"! input "x": expected text, {"b64": …} or {"url": …}, got an empty object at [0]"#);
    check(x, r#"{"x":[{"b64":5}]}"#, r#"! input "x": expected text in "b64", got the number 5 at [0]"#);
    check(x, r#"{"x":[{"b64":null}]}"#, r#"! input "x": expected text in "b64", got null at [0]"#);
    check(x, r#"{"x":[{"b64":["YQ=="]}]}"#, r#"! input "x": expected text in "b64", got a list at [0]"#);
    check(x, r#"{"x":[{"b64":{"b64":"YQ=="}}]}"#, r#"! input "x": expected text in "b64", got an object at [0]"#);
    check(
        "x: int32 [-1]",
        r#"{"x":{"b64":"AQAAAA==","y":1}}"#,
        r#"! input "x": expected lists or {"b64": …}, got an object with more than the single key"#,
    );
    check("x: int32 [-1]", r#"{"x":{"y":1}}"#, r#"! input "x": expected lists or {"b64": …}, got an object with the key "y""#);
}

#[test]
fn urls_are_noted_with_their_places() {
    check(
        "x: string [-1]",
        r#"{"x":["a",{"url":"http://localhost/a"},{"b64":"YQ=="}]}"#,
        r#"Columns x = [3] ["a","","a"]; x[1] <- http://localhost/a"#,
    );
    check(
        "x: string [-1, 2]; y: string [-1]",
        r#"[{"y":{"url":"b"},"x":["a","b"]},{"x":[{"url":"c"},{"url":"d"}],"y":""}]"#,
        r#"Examples(2) x = [2, 2] [["a","b"],["",""]]; y = [2] ["",""]; x[2] <- c; x[3] <- d; y[0] <- b"#,
    );
    check_transposed("x: string [-1]", r#"{"x":{"url":"data:,a"}}"#, r#"Example x = [1] [""]; x[0] <- data:,a"#);
    check("x: string []", r#"{"x":{"url":""}}"#, r#"Columns x = [] ""; x[0] <- "#);
    let many = |count: usize| format!(r#"{{"x":[{}]}}"#, vec![r#"{"url":"u"}"#; count].join(","));
    assert!(decode(many(256).as_bytes(), &signature("x: string [-1]"), false).is_ok_and(|decoded| decoded.urls.len() == 256));
    check("x: string [-1]", &many(257), r#"! input "x": a request may name at most 256 urls at [256]"#);
    check("x: string [-1]", r#"{"x":[{"url":5}]}"#, r#"! input "x": expected text in "url", got the number 5 at [0]"#);
    check(
        "x: int32 [-1]",
        r#"{"x":{"url":"http://localhost/a"}}"#,
        r#"! input "x": expected int32 of shape [-1], got an object with the key "url" (only string inputs take urls)"#,
    );
}

#[test]
fn inputs_may_be_named_like_wrappers() {
    let inputs = "b64: string [-1]";
    check(inputs, r#"{"b64":["a"]}"#, r#"Columns b64 = [1] ["a"]"#);
    check_transposed(inputs, r#"{"b64":"not base64"}"#, r#"Example b64 = [1] ["not base64"]"#);
    check_transposed(inputs, r#"{"b64":{"b64":"YQ=="}}"#, r#"Example b64 = [1] ["a"]"#);
    check(inputs, r#"[{"b64":"?"}]"#, r#"Examples(1) b64 = [1] ["?"]"#);
    check_transposed(
        "b64: float32 [-1]; url: string [-1]",
        r#"{"url":"x","b64":1}"#,
        r#"Example b64 = [1] [1.0]; url = [1] ["x"]"#,
    );
}

#[test]
fn numbers_may_come_as_bytes() {
    let x = "x: uint16 [-1, 2]";
    check(x, r#"{"x":{"b64":"AQACAAMABAE="}}"#, "Columns x = [2, 2] [[1,2],[3,260]]");
    check(x, r#"{"x":{"b64":""}}"#, "Columns x = [0, 2] []");
    check(x, r#"{"x":{"b64":"AQACAAMA"}}"#, r#"! input "x": expected a multiple of 4 bytes, got 6 bytes as "b64""#);
    check("x: uint16 [2, 2]", r#"{"x":{"b64":"AQACAAMABAE="}}"#, "Columns x = [2, 2] [[1,2],[3,260]]");
    check("x: uint16 [2, 1]", r#"{"x":{"b64":"AQACAAMABAE="}}"#, r#"! input "x": expected 4 bytes, got 8 bytes as "b64""#);
    check("x: uint16 []", r#"{"x":{"b64":"AQE="}}"#, "Columns x = [] 257");
    check("x: uint16 [-1, 0]", r#"{"x":{"b64":""}}"#, "Columns x = [0, 0] []");
    check("x: uint16 [-1, 0]", r#"{"x":{"b64":"AQE="}}"#, r#"! input "x": expected 0 bytes, got 2 bytes as "b64""#);
    check(
        "x: uint16 [-1, -1]",
        r#"{"x":{"b64":"AQE="}}"#,
        r#"! input "x": expected uint16 of shape [-1, -1], got bytes as "b64" (bytes settle one unknown dimension, not 2; send lists)"#,
    );
    check(
        "x: uint16 [1000000000000, 1000000000000]",
        r#"{"x":{"b64":"AQE="}}"#,
        r#"! input "x": expected 18446744073709551615 bytes, got 2 bytes as "b64""#,
    );
    check(x, r#"{"x":[{"b64":"AQACAA=="}]}"#, r#"! input "x": expected uint16 of shape [-1, 2], got an object at [0]"#);
    check(
        x,
        r#"{"x":[[{"b64":"AQA="},1]]}"#,
        r#"! input "x": expected uint16 of shape [-1, 2], got an object at [0][0] ({"b64": …} stands for an input's whole value only)"#,
    );
    check(x, r#"{"x":{"b64":"AQA"}}"#, r#"! input "x": expected a multiple of 4 bytes, got 2 bytes as "b64""#);
    check(x, r#"{"x":{"b64":"???"}}"#, r#"! input "x": expected base64 in "b64", got other text (invalid symbol 63, offset 0)"#);
    check_transposed(x, r#"{"x":{"b64":"AQACAA=="}}"#, "Example x = [1, 2] [[1,2]]");
    check_transposed(x, r#"{"x":{"b64":"AQACAAMABAE="}}"#, r#"! input "x": expected 4 bytes, got 8 bytes as "b64""#);
    check(x, r#"[{"x":{"b64":"AQACAA=="}},{"x":[3,4]}]"#, "Examples(2) x = [2, 2] [[1,2],[3,4]]");
    check("x: uint8 [-1, -1]", r#"[{"x":{"b64":"AQI="}},{"x":[3,4]}]"#, "Examples(2) x = [2, 2] [[1,2],[3,4]]");
    check(
        "x: uint8 [-1, -1]",
        r#"[{"x":{"b64":"AQI="}},{"x":{"b64":"AQ=="}}]"#,
        r#"! example 1, input "x": expected uint8 of shape [-1], got a list of 1 value (the lists before it have 2)"#,
    );
    check("x: float32 [-1]", r#"{"x":{"b64":"AADAfwAAgH8="}}"#, r#"Columns x = [2] ["NaN","Infinity"]"#);
    for (dtype, bytes) in [
        ("float16", 2),
        ("bfloat16", 2),
        ("float64", 8),
        ("int8", 1),
        ("int16", 2),
        ("int32", 4),
        ("int64", 8),
        ("uint8", 1),
        ("uint32", 4),
        ("uint64", 8),
    ] {
        let zero = ["", "AA==", "AAA=", "", "AAAAAA==", "", "", "", "AAAAAAAAAAA="][bytes];
        let text = if dtype.contains("float") { "0.0" } else { "0" };
        check(&format!("x: {dtype} [-1]"), &format!(r#"{{"x":{{"b64":"{zero}"}}}}"#), &format!("Columns x = [1] [{text}]"));
    }
}
