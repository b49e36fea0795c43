//! Tests of encoding, and of decoding what was encoded.

use std::sync::Arc;

use bytes::Bytes;
use tfweb_engine::{bf16, f16, with_scalar, DType, Scalar, Tensor};

use super::decode::{decode, Form};
use super::encode::{columns, example, examples, text_bytes};
use super::native::NativeRules;
use super::numbers::round_to_odd;
use super::rules::WriteRules;
use super::tests::{signature, tensor_text, Random};

/// Checks the text of a tensor of these values, whatever its shape.
#[track_caller]
fn check<T: Scalar>(dims: &[usize], elements: &[T], expected: &str) {
    assert_eq!(tensor_text(&Tensor::from_vec(dims, elements.to_vec())), format!("{dims:?} {expected}"));
}

fn strings(dims: &[usize], strings: &[&'static [u8]]) -> Tensor {
    Tensor::from_strings(dims, Arc::new(strings.iter().map(|text| Bytes::from_static(text)).collect::<Vec<_>>()))
}

#[test]
fn shapes_are_nested_lists() {
    check(&[], &[7], "7");
    check(&[3], &[1, 2, 3], "[1,2,3]");
    check(&[2, 1, 2], &[1, 2, 3, 4], "[[[1,2]],[[3,4]]]");
    check::<i32>(&[0], &[], "[]");
    check::<i32>(&[0, 3], &[], "[]");
    check::<i32>(&[2, 0], &[], "[[],[]]");
    check::<i32>(&[1, 0, 2], &[], "[[]]");
    assert_eq!(tensor_text(&strings(&[2, 1], &[b"a", b"b"])), r#"[2, 1] [["a"],["b"]]"#);
    assert_eq!(tensor_text(&strings(&[], &[b"a"])), r#"[] "a""#);
    assert_eq!(tensor_text(&strings(&[2, 0], &[])), "[2, 0] [[],[]]");
}

#[test]
fn integers_and_bools_are_plain() {
    check(&[2], &[i8::MIN, i8::MAX], "[-128,127]");
    check(&[2], &[i64::MIN, i64::MAX], "[-9223372036854775808,9223372036854775807]");
    check(&[2], &[0, u64::MAX], "[0,18446744073709551615]");
    check(&[2], &[0, u16::MAX], "[0,65535]");
    check(&[2], &[true, false], "[true,false]");
}

#[test]
fn floats_are_the_shortest_of_their_dtype() {
    check(&[5], &[0.1_f32, 1.0, -0.0, 16_777_216.0, 1e-7], "[0.1,1.0,-0.0,16777216.0,1e-7]");
    check(&[3], &[0.1_f64, 0.1_f32.into(), 5e-324], "[0.1,0.10000000149011612,5e-324]");
    let half = [0.1_f32, -1.5, 0.0, -0.0, 65504.0, 1.001, 1.0 / 3.0, 100.0].map(f16::from_f32);
    check(&[8], &half, "[0.1,-1.5,0.0,-0.0,65500.0,1.001,0.3333,100.0]");
    check(&[2], &[f16::from_bits(1), f16::from_bits(0x3ff)], "[6e-8,0.000061]");
    let brain = [0.1_f32, -1.5, -0.0, 3.0e38, 1.01, 1.0 / 3.0].map(bf16::from_f32);
    check(&[6], &brain, "[0.1,-1.5,-0.0,3e+38,1.01,0.334]");
    check(&[2], &[bf16::from_bits(1), bf16::MAX], "[9e-41,3.39e+38]");
}

#[test]
fn non_finite_floats_are_words() {
    const WORDS: &str = r#"["NaN","NaN","Infinity","-Infinity"]"#;
    let words = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    check(&[4], &words, WORDS);
    check(&[4], &words.map(f64::from), WORDS);
    check(&[4], &words.map(f16::from_f32), WORDS);
    check(&[4], &words.map(bf16::from_f32), WORDS);
}

/// The fewest digits that give the same value, found by trying all texts of one digit, then two …
fn digits_needed(value: f64, is_same: impl Fn(f64) -> bool) -> usize {
    let candidates = |digits: usize| {
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) =
            text.split_once('e').map(|(mantissa, exponent)| (mantissa.replace('.', ""), exponent.parse::<i32>().unwrap())).unwrap();
        let mantissa: i64 = mantissa.parse().unwrap();
        let exponent = exponent + 1 - i32::try_from(digits).unwrap();
        [mantissa - 1, mantissa, mantissa + 1].map(|mantissa| format!("{mantissa}e{exponent}").parse::<f64>().unwrap())
    };
    (1..=9).find(|&digits| candidates(digits).into_iter().any(&is_same)).unwrap()
}

#[test]
fn every_short_float_is_shortest_and_comes_back() {
    fn check_all<T: Scalar + Into<f64>>(from_bits: impl Fn(u16) -> T, from_text: impl Fn(f64) -> T) {
        for bits in 0..=u16::MAX {
            let value = from_bits(bits);
            let number: f64 = value.into();
            if !number.is_finite() {
                continue;
            }
            let text = tensor_text(&Tensor::from_vec(&[], vec![value]));
            let text = text.trim_start_matches("[] ");
            assert_eq!(from_text(text.parse().unwrap()), value, "{text}");
            let digits = text.trim_start_matches('-').split('e').next().unwrap().replace('.', "");
            let digits = digits.trim_start_matches('0').trim_end_matches('0').len();
            if number != 0.0 {
                assert!(digits <= digits_needed(number, |short| from_text(short) == value), "{text} for {number:e}");
            }
        }
    }
    check_all(f16::from_bits, |value| f16::from_f32(round_to_odd(value)));
    check_all(bf16::from_bits, |value| bf16::from_f32(round_to_odd(value)));
}

#[test]
fn strings_are_text_or_base64() {
    let cases: [(&[u8], &str); 7] = [
        (b"", r#""""#),
        (b"a\0", r#""a\u0000""#),
        ("é\"\\\n".as_bytes(), r#""é\"\\\n""#),
        (b"\xff", r#"{"b64":"/w=="}"#),
        (b"\xff\xfe\xfd", r#"{"b64":"//79"}"#),
        (b"abc\xff", r#"{"b64":"YWJj/w=="}"#),
        (b"\xed\xa0\x80", r#"{"b64":"7aCA"}"#),
    ];
    for (bytes, expected) in cases {
        let mut out = Vec::new();
        NativeRules.write_string(bytes, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn forms_are_those_of_the_request() {
    let outputs = signature("a\"b: int32 [-1, 2]; c: string [-1]").inputs;
    let tensors = [Tensor::from_vec(&[2, 2], vec![1, 2, 3, 4]), strings(&[2], &[b"x", b"\xff"])];
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert_eq!(text(columns(&outputs, &tensors)), r#"{"a\"b":[[1,2],[3,4]],"c":["x",{"b64":"/w=="}]}"#);
    assert_eq!(text(example(&outputs, &tensors)), r#"{"a\"b":[1,2],"c":"x"}"#);
    assert_eq!(text(examples(&outputs, &tensors, 2)), r#"[{"a\"b":[1,2],"c":"x"},{"a\"b":[3,4],"c":{"b64":"/w=="}}]"#);
    assert_eq!(text(examples(&outputs, &tensors, 0)), "[]");
    assert_eq!(text(columns(&[], &[])), "{}");
    let scalars = signature("s: float32 []").inputs;
    assert_eq!(text(columns(&scalars, &[Tensor::from_vec(&[], vec![0.5_f32])])), r#"{"s":0.5}"#);
}

#[test]
fn the_memory_of_an_answer_is_about_its_text() {
    let (name, long) = ("x".to_owned(), "x".repeat(100));
    let full = |dims: &[usize]| Tensor::from_vec(dims, vec![i8::MAX; dims.iter().product()]);
    for (name, dims) in [(&name, vec![1000]), (&name, vec![1000, 1]), (&name, vec![1000, 3]), (&long, vec![1000]), (&name, vec![0])]
    {
        let outputs = signature(&format!("{name}: int8 [-1]")).inputs;
        let tensors = [full(&dims)];
        for (text, rows) in [(columns(&outputs, &tensors), 1), (examples(&outputs, &tensors, dims[0]), dims[0])] {
            let (text, estimate) = (text.len(), text_bytes(&outputs, &tensors, rows));
            assert!(text <= estimate && estimate <= 2 * text + 32, "{dims:?}, {rows} rows: {text} bytes, estimated as {estimate}");
        }
    }
}

/// A tensor of pseudo-random bits; NaN of every kind included, which all come back as the one NaN that JSON has a word for.
fn random_tensor(dtype: DType, dims: &[usize], random: &mut Random) -> Tensor {
    let count: usize = dims.iter().product();
    with_scalar!(dtype, T => {
        let mut element = || {
            let bits = if T::DTYPE == DType::Bool { random.next() & 1 } else { random.next() };
            T::read_le(&[bits, random.next()].map(u64::to_le_bytes).concat()[..size_of::<T>()])
        };
        Tensor::from_vec(dims, (0..count).map(|_| element()).collect::<Vec<T>>())
    }, else {
        let mut string = || {
            let bytes = (0..random.below(9)).map(|_| random.next().to_le_bytes()[0]);
            Bytes::from(bytes.collect::<Vec<u8>>())
        };
        Tensor::from_strings(dims, Arc::new((0..count).map(|_| string()).collect::<Vec<_>>()))
    })
}

/// The bits of every element, NaN as one pattern.
fn bits(tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::new();
    with_scalar!(tensor.dtype(), T => {
        for &element in tensor.as_slice::<T>().unwrap() {
            if element.eq(&element) { element.write_le(&mut out) } else { out.extend_from_slice(b"NaN") }
        }
    }, else tensor.as_strings().unwrap().iter().for_each(|text| { out.extend_from_slice(text); out.push(0); }));
    out
}

#[test]
fn what_was_encoded_decodes_to_the_same() {
    let mut random = Random(2024);
    let dtypes = (1..=23).map(DType::from_number).filter(|dtype| dtype.is_served());
    for (dtype, shape) in dtypes.flat_map(|dtype| ["[-1]", "[-1, 3]", "[-1, -1, 2]"].map(|shape| (dtype, shape))) {
        let signature = signature(&format!("x: {dtype} {shape}"));
        for round in 0..40 {
            let rows = random.below(5);
            let inner = [3, 2][..shape.matches(',').count()].to_vec();
            let inner = if inner.len() == 2 { vec![1 + random.below(3), 2] } else { inner };
            let dims: Vec<usize> = std::iter::once(rows).chain(inner).collect();
            let tensor = random_tensor(dtype, &dims, &mut random);
            let (text, form, transpose) = match round % 3 {
                0 => (columns(&signature.inputs, std::slice::from_ref(&tensor)), Form::Columns, false),
                1 => (examples(&signature.inputs, std::slice::from_ref(&tensor), rows), Form::Examples(rows), false),
                _ if rows == 0 => continue,
                _ => (example(&signature.inputs, std::slice::from_ref(&tensor)), Form::Example, true),
            };
            let decoded = decode(&text, &signature, transpose).unwrap();
            let expected = if form == Form::Example { tensor.slice_rows(0, 1) } else { tensor };
            assert_eq!(decoded.form, form);
            assert_eq!(bits(&decoded.inputs[0]), bits(&expected), "{dtype} {dims:?} {}", String::from_utf8_lossy(&text));
            if rows > 0 {
                assert_eq!(decoded.inputs[0].dims(), expected.dims());
            }
        }
    }
}
