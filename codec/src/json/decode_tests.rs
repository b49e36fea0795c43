//! Tests of decoding bodies: their forms, names and shapes. Each check has inputs, a body, and the expected tensors or error.

use super::decode::decode;
use super::tests::{check, check_bytes, check_transposed, signature};

#[test]
fn forms_follow_the_first_character() {
    let x = "x: float32 [-1]";
    check(x, r#"{"x":[1.0]}"#, "Columns x = [1] [1.0]");
    check_transposed(x, r#"{"x":1.0}"#, "Example x = [1] [1.0]");
    check(x, r#"[{"x":1},{"x":2}]"#, "Examples(2) x = [2] [1.0,2.0]");
    check_transposed(x, r#"[{"x":1},{"x":2}]"#, "Examples(2) x = [2] [1.0,2.0]");
    check_transposed("x: float32 [2]", r#"{"x":[1,2]}"#, "Columns x = [2] [1.0,2.0]");
    check(
        "x: float32 [2]",
        r#"[{"x":[1,2]}]"#,
        r#"! expected an object, got an array; examples need a signature whose every input and output has -1 as its first dimension, which "predict" is not"#,
    );
    check(x, " \t\r\n{ \"x\" : [ 1 , 2 ] } \n", "Columns x = [2] [1.0,2.0]");
    check("", "{}", "Columns ");
    for (body, what) in [
        ("5", "the number 5"),
        ("-5", "the number -5"),
        ("1e3", "the number 1e3"),
        ("true", "true"),
        ("null", "null"),
        (r#""x""#, r#"the text "x""#),
    ] {
        check(x, body, &format!("! expected an object or an array, got {what}"));
    }
}

#[test]
fn inputs_keep_the_signatures_order() {
    let inputs = "a: int32 [-1]; b: string [-1]";
    check(inputs, r#"{"b":["x"],"a":[1]}"#, r#"Columns a = [1] [1]; b = [1] ["x"]"#);
    check(inputs, r#"[{"b":"x","a":1},{"a":2,"b":"y"}]"#, r#"Examples(2) a = [2] [1,2]; b = [2] ["x","y"]"#);
}

#[test]
fn malformed_json_names_line_and_column() {
    let x = "x: float32 [-1]; s: string [-1]";
    let cases: [(&[u8], &str); 10] = [
        (b"{", "line 1 column 1: EOF while parsing an object"),
        (b"{\"x\":[1.0", "line 1 column 9: EOF while parsing a list"),
        (b"{\"x\":[1.0]\n", "line 2 column 0: EOF while parsing an object"),
        (b"{\"x\":[1.0,]}", "line 1 column 11: trailing comma"),
        (b"{\"x\":[1 2]}", "line 1 column 9: expected `,` or `]`"),
        (b"[]]", "line 1 column 3: trailing characters"),
        (b"{\"s\":[\"\xff\"]}", "line 1 column 8: invalid unicode code point"),
        (b"{\"s\":[\"\\ud800\"]}", "line 1 column 14: unexpected end of hex escape"),
        (b"{\"s\":[\"a\nb\"]}", r#"line 2 column 0: control character (\u0000-\u001F) found while parsing a string"#),
        (b"{\"\xff\":1}", "line 1 column 3: invalid unicode code point"),
    ];
    for (body, expected) in cases {
        check_bytes(x, body, false, &format!("! malformed JSON at {expected}"));
    }
    check("x: float32 [-1]", r#"{"x":[1.0]} x"#, "! malformed JSON at line 1 column 13: trailing characters");
    check("x: float32 [-1]", r#"{"x":[01]}"#, "! malformed JSON at line 1 column 8: invalid number");
    check("x: float32 [-1]", r#"{x:[1]}"#, "! malformed JSON at line 1 column 2: key must be a string");
}

#[test]
fn names_must_be_the_signatures() {
    let inputs = "a: float32 [-1]; b: float32 [-1]; c: int32 [-1]";
    check(inputs, r#"{"a":[1],"z":[1]}"#, r#"! unknown input "z"; the inputs of signature "predict" are "a", "b", "c""#);
    check(inputs, r#"{"a":[1],"b":[1]}"#, r#"! missing input "c" of signature "predict""#);
    check(inputs, "{}", r#"! missing inputs "a", "b", "c" of signature "predict""#);
    check(inputs, r#"{"a":[1],"a":[1]}"#, r#"! input "a" is given twice"#);
    check(inputs, r#"{"a":[1],"b":[1],"c":[1],"b":[1]}"#, r#"! input "b" is given twice"#);
    check(inputs, r#"[{"a":1,"b":1,"c":1},{"a":1,"a":1}]"#, r#"! example 1: input "a" is given twice"#);
    check(inputs, r#"[{"a":1,"b":1,"c":1},{"a":1,"c":1}]"#, r#"! example 1: missing input "b" of signature "predict""#);
    check(
        inputs,
        r#"[{"a":1,"b":1,"c":1},{"A":1}]"#,
        r#"! example 1: unknown input "A"; the inputs of signature "predict" are "a", "b", "c""#,
    );
    check("", r#"{"x":1}"#, r#"! unknown input "x"; the inputs of signature "predict" are none"#);
    let many = |count: usize, separator: &str, text: fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>().join(separator);
    for (count, end) in [(32, ""), (33, ", …")] {
        let inputs = many(count, "; ", |i| format!("x{i}: float32 [-1]"));
        let names = many(32, ", ", |i| format!("\"x{i}\"")) + end;
        check(&inputs, "{}", &format!(r#"! missing inputs {names} of signature "predict""#));
    }
    let long = "é".repeat(100);
    let cut = "é".repeat(80);
    check(
        inputs,
        &format!(r#"{{"{long}":1}}"#),
        &format!(r#"! unknown input "{cut}…"; the inputs of signature "predict" are "a", "b", "c""#),
    );
    check(
        "x: float32 [-1]",
        &format!(r#"{{"x":["{long}"]}}"#),
        r#"! input "x": expected float32 of shape [-1], got the text "éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé…" at [0]"#,
    );
    check(inputs, r#"{"a\n\"":[1]}"#, r#"! unknown input "a\n\""; the inputs of signature "predict" are "a", "b", "c""#);
}

#[test]
fn lists_must_have_the_signatures_shape() {
    let image = "image: float32 [-1, 2]";
    check(image, r#"{"image":[[1,2],[3,4]]}"#, "Columns image = [2, 2] [[1.0,2.0],[3.0,4.0]]");
    check(
        image,
        r#"{"image":[[1,2],[3,4,5]]}"#,
        r#"! input "image": expected float32 of shape [-1, 2], got a list of 3 values at [1]"#,
    );
    check(image, r#"{"image":[[1,2],[3]]}"#, r#"! input "image": expected float32 of shape [-1, 2], got a list of 1 value at [1]"#);
    check(image, r#"{"image":[[1,2],3]}"#, r#"! input "image": expected float32 of shape [-1, 2], got the number 3 at [1]"#);
    check(image, r#"{"image":[[1,2],[3,[4]]]}"#, r#"! input "image": expected float32 of shape [-1, 2], got a list at [1][1]"#);
    check(image, r#"{"image":[]}"#, "Columns image = [0, 2] []");
    check(image, r#"{"image":[[]]}"#, r#"! input "image": expected float32 of shape [-1, 2], got a list of 0 values at [0]"#);
    check(image, r#"{"image":1}"#, r#"! input "image": expected float32 of shape [-1, 2], got the number 1"#);
    check(image, r#"{"image":[null]}"#, r#"! input "image": expected float32 of shape [-1, 2], got null at [0]"#);
    check(image, r#"{"image":[[null,1]]}"#, r#"! input "image": expected float32 of shape [-1, 2], got null at [0][0]"#);
    check(image, r#"{"image":[[1,"2"]]}"#, r#"! input "image": expected float32 of shape [-1, 2], got the text "2" at [0][1]"#);
    check(image, r#"{"image":[[1,true]]}"#, r#"! input "image": expected float32 of shape [-1, 2], got true at [0][1]"#);
    check(
        image,
        r#"{"image":[[1,{"a":2}]]}"#,
        r#"! input "image": expected float32 of shape [-1, 2], got an object at [0][1] ({"b64": …} stands for an input's whole value only)"#,
    );
    check(image, r#"{"image":[{"a":2}]}"#, r#"! input "image": expected float32 of shape [-1, 2], got an object at [0]"#);
    check("x: int32 []", r#"{"x":7}"#, "Columns x = [] 7");
    check("x: int32 []", r#"{"x":[7]}"#, r#"! input "x": expected int32 of shape [], got a list"#);
    check("x: int32 [2, 2]", r#"{"x":[[1,2]]}"#, r#"! input "x": expected int32 of shape [2, 2], got a list of 1 value"#);
    check("x: int32 [0, 2]", r#"{"x":[]}"#, "Columns x = [0, 2] []");
    check("x: int32 [-1, 0]", r#"{"x":[[],[]]}"#, "Columns x = [2, 0] [[],[]]");
    check("x: int32 [-1, 1000000000000, 1000000000000]", r#"{"x":[]}"#, "Columns x = [0, 1000000000000, 1000000000000] []");
}

#[test]
fn unknown_dimensions_follow_the_first_list() {
    let x = "x: int32 [-1, -1]";
    check(x, r#"{"x":[[1],[2]]}"#, "Columns x = [2, 1] [[1],[2]]");
    check(
        x,
        r#"{"x":[[1,2],[3]]}"#,
        r#"! input "x": expected int32 of shape [-1, -1], got a list of 1 value at [1] (the lists before it have 2)"#,
    );
    check(
        x,
        r#"{"x":[[],[3]]}"#,
        r#"! input "x": expected int32 of shape [-1, -1], got a list of 1 value at [1] (the lists before it have 0)"#,
    );
    check(x, r#"{"x":[]}"#, "Columns x = [0, 0] []");
    check(x, r#"{"x":[[],[]]}"#, "Columns x = [2, 0] [[],[]]");
    check("x: int32 [-1, -1, 3]", r#"{"x":[[],[]]}"#, "Columns x = [2, 0, 3] [[],[]]");
    check(x, r#"[{"x":[1]},{"x":[2]}]"#, "Examples(2) x = [2, 1] [[1],[2]]");
    check(
        x,
        r#"[{"x":[1]},{"x":[2,3]}]"#,
        r#"! example 1, input "x": expected int32 of shape [-1], got a list of 2 values (the lists before it have 1)"#,
    );
    check(x, r#"[{"x":[]},{"x":[]}]"#, "Examples(2) x = [2, 0] [[],[]]");
    check(x, "[]", "Examples(0) x = [0, 0] []");
    check("x: int32 [-1, 4]; s: string [-1, -1]", "[]", "Examples(0) x = [0, 4] []; s = [0, 0] []");
    check(
        "x: int32 [-1, -1, 1]",
        r#"{"x":[[[1],[2]],[[3],[4,5]]]}"#,
        r#"! input "x": expected int32 of shape [-1, -1, 1], got a list of 2 values at [1][1]"#,
    );
}

#[test]
fn unknown_rank_follows_the_first_value() {
    let x = "x: int32 ?";
    check(x, r#"{"x":1}"#, "Columns x = [] 1");
    check(x, r#"{"x":[]}"#, "Columns x = [0] []");
    check(x, r#"{"x":[[],[]]}"#, "Columns x = [2, 0] [[],[]]");
    check(x, r#"{"x":[[1],[2]]}"#, "Columns x = [2, 1] [[1],[2]]");
    check(
        x,
        r#"{"x":[[1],2]}"#,
        r#"! input "x": expected int32 of any shape, got the number 2 at [1] (the first value has rank 2)"#,
    );
    check(x, r#"{"x":[1,[2]]}"#, r#"! input "x": expected int32 of any shape, got a list at [1] (the first value has rank 1)"#);
    check(
        x,
        r#"{"x":[[],[[]]]}"#,
        r#"! input "x": expected int32 of any shape, got a list at [1][0] (the first value has rank 2)"#,
    );
    check(
        x,
        r#"{"x":[[1],[2,3]]}"#,
        r#"! input "x": expected int32 of any shape, got a list of 2 values at [1] (the lists before it have 1)"#,
    );
    check(x, r#"{"x":["a"]}"#, r#"! input "x": expected int32 of any shape, got the text "a" at [0]"#);
    check(
        x,
        r#"{"x":[{"b64":"AAAAAA"}]}"#,
        r#"! input "x": expected int32 of any shape, got an object at [0] ({"b64": …} stands for an input's whole value only)"#,
    );
    check(
        x,
        r#"{"x":{"b64":"AAAAAA"}}"#,
        r#"! input "x": expected int32 of any shape, got bytes as "b64" (bytes need a shape of known rank; send lists)"#,
    );
    check("x: string ?", r#"{"x":{"b64":"YQ"}}"#, r#"Columns x = [] "a""#);
    check("x: string ?", r#"{"x":[{"b64":"YQ"},"b"]}"#, r#"Columns x = [2] ["a","b"]"#);
    check(
        "x: string ?",
        r#"{"x":["b",[]]}"#,
        r#"! input "x": expected string of any shape, got a list at [1] (the first value has rank 1)"#,
    );
    check(
        x,
        r#"[{"x":1}]"#,
        r#"! expected an object, got an array; examples need a signature whose every input and output has -1 as its first dimension, which "predict" is not"#,
    );
    let nested = |depth: usize| format!("{{\"x\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let ones = vec!["1"; 32].join(", ");
    check(x, &nested(32), &format!("Columns x = [{ones}] {}1{}", "[".repeat(32), "]".repeat(32)));
    let place = "[0]".repeat(32);
    check(
        x,
        &nested(33),
        &format!(r#"! input "x": expected int32 of any shape, got a list at {place} (lists may be at most 32 deep)"#),
    );
}

#[test]
fn half_a_million_brackets_are_an_error() {
    let brackets = "[".repeat(500_000);
    let objects = r#"{"x":"#.repeat(100_000);
    check("x: int32 [-1]", &brackets, "! example 0: expected an object, got a list");
    check(
        "x: int32 ?",
        &brackets,
        r#"! expected an object, got an array; examples need a signature whose every input and output has -1 as its first dimension, which "predict" is not"#,
    );
    check("x: int32 [-1]", &format!("{{\"x\":{brackets}"), r#"! input "x": expected int32 of shape [-1], got a list at [0]"#);
    check(
        "x: int32 ?",
        &format!("{{\"x\":{brackets}"),
        &format!(r#"! input "x": expected int32 of any shape, got a list at {} (lists may be at most 32 deep)"#, "[0]".repeat(32)),
    );
    check("x: int32 [-1]", &objects, r#"! input "x": expected lists or {"b64": …}, got an object with the key "x""#);
    check("x: string ?", &objects, r#"! input "x": expected text, {"b64": …} or {"url": …}, got an object with the key "x""#);
    check("x: string [-1]", &format!(r#"{{"x":[{{"b64":{brackets}"#), r#"! input "x": expected text in "b64", got a list at [0]"#);
    let deep = format!("x: int32 [{}]", vec!["-1"; 200].join(", "));
    check(&deep, &format!("{{\"x\":{brackets}"), "! malformed JSON at line 1 column 132: recursion limit exceeded");
}

#[test]
fn examples_name_their_index() {
    let inputs = "image: float32 [-1, 2]; n: int32 [-1]";
    check(
        inputs,
        r#"[{"image":[1,2],"n":1},{"image":[1,2,3],"n":1}]"#,
        r#"! example 1, input "image": expected float32 of shape [2], got a list of 3 values"#,
    );
    check(
        inputs,
        r#"[{"image":[1,2],"n":1},{"image":[1,"2"],"n":1}]"#,
        r#"! example 1, input "image": expected float32 of shape [2], got the text "2" at [1]"#,
    );
    check(
        inputs,
        r#"[{"image":[1,2],"n":1},{"image":[1,2],"n":[1]}]"#,
        r#"! example 1, input "n": expected int32 of shape [], got a list"#,
    );
    check(inputs, r#"[{"image":[1,2],"n":1},[]]"#, "! example 1: expected an object, got a list");
    check(inputs, "[5]", "! example 0: expected an object, got the number 5");
    check_transposed(
        inputs,
        r#"{"image":[1,2,3],"n":1}"#,
        r#"! input "image": expected float32 of shape [2], got a list of 3 values"#,
    );
    check_transposed(
        inputs,
        r#"{"image":[[1,2]],"n":[1]}"#,
        r#"! input "image": expected float32 of shape [2], got a list at [0]"#,
    );
}

#[test]
fn columns_must_agree_in_rows() {
    let inputs = "a: int32 [-1]; b: int32 [-1]";
    check(inputs, r#"{"a":[1,2],"b":[1,2,3]}"#, r#"! input "a" has 2 rows but input "b" has 3 rows; every input needs as many"#);
    check("a: int32 [-1]; b: int32 ?", r#"{"a":[1,2],"b":[1,2,3]}"#, "Columns a = [2] [1,2]; b = [3] [1,2,3]");
}

#[test]
fn complex_numbers_are_pairs() {
    let input = "x: complex64 [-1]";
    let note = "(a complex number is a list of two numbers: [real, imaginary])";
    let refused = |input: &str, body: &str, expect: &str| check(input, body, &format!("! input \"x\": expected {expect} {note}"));
    check(input, r#"{"x":[[1,2],[-0.5,"NaN"]]}"#, r#"Columns x = [2] [[1.0,2.0],[-0.5,"NaN"]]"#);
    check(input, r#"[{"x":[1,2]},{"x":[3,4]}]"#, "Examples(2) x = [2] [[1.0,2.0],[3.0,4.0]]");
    check(input, r#"{"x":{"b64":"AACAPwAAAEA="}}"#, "Columns x = [1] [[1.0,2.0]]");
    check(input, r#"{"x":[]}"#, "Columns x = [0] []");
    check("x: complex128 []", r#"{"x":[1,1e300]}"#, "Columns x = [] [1.0,1e+300]");
    check("x: complex128 ?", r#"{"x":[[[1,2]]]}"#, "Columns x = [1, 1] [[[1.0,2.0]]]");
    refused(input, r#"{"x":[1]}"#, "complex64 of shape [-1], got the number 1 at [0]");
    refused(input, r#"{"x":[[1,2,3]]}"#, "complex64 of shape [-1], got a list of 3 values at [0]");
    let beyond = r#"! input "x": expected complex64 of shape [-1], got the number 1e39 at [0][1] (out of the range of float32)"#;
    check(input, r#"{"x":[[1,1e39]]}"#, beyond);
    refused(input, r#"{"x":{"b64":"AACAPw=="}}"#, "a multiple of 8 bytes, got 4 bytes as \"b64\"");
    refused("x: complex128 ?", r#"{"x":[[1],[2]]}"#, "complex128 of any shape, got lists that do not end in pairs");
    refused("x: complex128 ?", r#"{"x":1}"#, "complex128 of any shape, got lists that do not end in pairs");
}

#[test]
fn memory_is_bounded_by_the_body() {
    // Each would reserve 8 TB if the signature were believed.
    let inputs: Vec<String> = (0..9).map(|i| format!("x{i}: float64 [-1, 1000000, 1000000]")).collect();
    let body: Vec<String> = (0..9).map(|i| format!(r#""x{i}":[]"#)).collect();
    let decoded = decode(format!("{{{}}}", body.join(",")).as_bytes(), &signature(&inputs.join("; ")), false);
    assert!(decoded.unwrap().inputs.iter().all(|tensor| tensor.dims() == [0, 1_000_000, 1_000_000]));
}
