//! Tests of tensors that become messages, and of messages that become tensors.

use bytes::Bytes;
use prost::Message;
use tfweb_engine::{bf16, f16, DType, Tensor};

use super::decode::{decode, Room};
use super::encode::{dtype_number, encode, AnswerTensor};
use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{TensorProto, TensorShapeProto};

const ROOM: usize = 1 << 10;

fn proto(dtype: DType, dims: &[i64]) -> TensorProto {
    let dim = dims.iter().map(|&size| Dim { size, name: String::new() }).collect();
    let tensor_shape = Some(TensorShapeProto { dim, unknown_rank: false });
    TensorProto { dtype: dtype_number(dtype), tensor_shape, ..TensorProto::default() }
}

fn read(proto: TensorProto) -> Result<Tensor, String> {
    let dtype = DType::from_number(u32::try_from(proto.dtype).unwrap());
    decode("x", dtype, proto, &mut Room { bytes: ROOM }).map_err(|error| error.message)
}

#[track_caller]
fn refused(proto: TensorProto, expect: &str) {
    let message = read(proto).unwrap_err();
    assert!(message.starts_with("input \"x\": ") && message.contains(expect), "{message}");
}

#[test]
fn every_dtype_comes_back_in_both_forms() {
    let tensors = [
        Tensor::from_vec(&[2], vec![f16::from_f32(1.5), f16::NEG_INFINITY]),
        Tensor::from_vec(&[2, 1], vec![bf16::from_f32(-2.0), bf16::MAX]),
        Tensor::from_vec(&[2], vec![1.5_f32, f32::MIN]),
        Tensor::from_vec(&[], vec![1e300_f64]),
        Tensor::from_vec(&[2], vec![i8::MIN, i8::MAX]),
        Tensor::from_vec(&[2], vec![i16::MIN, i16::MAX]),
        Tensor::from_vec(&[2], vec![i32::MIN, i32::MAX]),
        Tensor::from_vec(&[2], vec![i64::MIN, i64::MAX]),
        Tensor::from_vec(&[2], vec![0, u8::MAX]),
        Tensor::from_vec(&[2], vec![0, u16::MAX]),
        Tensor::from_vec(&[2], vec![0, u32::MAX]),
        Tensor::from_vec(&[2], vec![0, u64::MAX]),
        Tensor::from_vec(&[3, 1], vec![true, false, true]),
        Tensor::from_vec(&[2], vec![[1.5_f32, -2.0], [f32::MIN, 0.0]]),
        Tensor::from_vec(&[2, 1], vec![[1e300_f64, -0.0], [0.5, f64::INFINITY]]),
        Tensor::from_strings(&[2], std::sync::Arc::new(vec![Bytes::from_static(b"a\0"), Bytes::from_static(b"\xff")])),
        Tensor::from_vec::<f32>(&[0, 3], vec![]),
    ];
    for tensor in tensors {
        for typed_values in [false, true] {
            let answer = if typed_values { AnswerTensor::of_values(&tensor) } else { AnswerTensor::of_content(&tensor) };
            let bytes = answer.encode_to_vec();
            assert_eq!(answer.encoded_len(), bytes.len(), "{tensor:?}");
            let proto = TensorProto::decode(&bytes[..]).unwrap();
            let has_content = !typed_values && tensor.dtype() != DType::String && tensor.element_count() > 0;
            assert_eq!(!proto.tensor_content.is_empty(), has_content, "{tensor:?}");
            // As prost itself writes the same message.
            assert_eq!(proto.encode_to_vec(), bytes, "{tensor:?}");
            assert_eq!(read(proto).unwrap(), tensor, "typed: {typed_values}");
            assert_eq!(read(encode(&tensor)).unwrap(), tensor);
        }
    }
}

#[test]
fn an_answer_is_read_back_as_the_message_that_it_is() {
    let bytes = AnswerTensor::of_values(&Tensor::from_vec(&[2], vec![1.5_f32, -2.0])).encode_to_vec();
    let mut answer = AnswerTensor::decode(&bytes[..]).unwrap();
    assert_eq!(answer.encode_to_vec(), bytes);
    answer.clear();
    assert_eq!(answer, AnswerTensor::default());
}

#[test]
fn content_is_not_copied() {
    let content = Bytes::from(vec![0; 17]);
    let unaligned = content.slice(1..);
    let tensor = read(TensorProto { tensor_content: unaligned.clone(), ..proto(DType::Float32, &[2, 2]) }).unwrap();
    assert_eq!(tensor.as_bytes().unwrap().as_ptr(), unaligned.as_ptr());
    assert_eq!(encode(&tensor).tensor_content.as_ptr(), unaligned.as_ptr());
}

#[test]
fn the_last_value_stands_for_the_missing_ones() {
    let values = |values: &[f32]| TensorProto { float_val: values.to_vec(), ..proto(DType::Float32, &[3]) };
    assert_eq!(read(values(&[5.0])).unwrap().as_slice::<f32>().unwrap(), [5.0; 3]);
    assert_eq!(read(values(&[1.0, 2.0])).unwrap().as_slice::<f32>().unwrap(), [1.0, 2.0, 2.0]);
    assert_eq!(read(values(&[])).unwrap().as_slice::<f32>().unwrap(), [0.0; 3]);
    let complex = TensorProto { scomplex_val: vec![1.0, 2.0], ..proto(DType::Complex64, &[2]) };
    assert_eq!(read(complex).unwrap().as_slice::<[f32; 2]>().unwrap(), [[1.0, 2.0]; 2]);
    let strings = TensorProto { string_val: vec![Bytes::from_static(b"a")], ..proto(DType::String, &[2]) };
    assert_eq!(read(strings).unwrap().as_strings().unwrap().iter().collect::<Vec<_>>(), [b"a", b"a"]);
}

#[test]
fn strings_may_be_packed() {
    let packed = |content: &'static [u8]| TensorProto { tensor_content: Bytes::from_static(content), ..proto(DType::String, &[2]) };
    assert_eq!(read(packed(b"\x01\x02abc")).unwrap().as_strings().unwrap().iter().collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
    assert_eq!(read(packed(b"\0\0")).unwrap().as_strings().unwrap().iter().collect::<Vec<_>>(), [b"", b""]);
    for content in [&b"\x01"[..], b"\x01\x02ab", b"\x01\x02abcd", b"\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02a"] {
        refused(packed(content), "expected tensor_content of 2 strings");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let floats = |dims: &[i64]| TensorProto { float_val: vec![1.0], ..proto(DType::Float32, dims) };
    refused(floats(&[-1]), "a size of 0 or more in each dimension, got -1");
    refused(floats(&[i64::MAX, i64::MAX]), "is too large");
    refused(floats(&[i64::MAX, 2, 0]), "is too large");
    assert_eq!(read(floats(&[1; 32])).unwrap().dims(), [1; 32]);
    refused(floats(&[1; 33]), "at most 32 dimensions, got 33");
    refused(floats(&[0]), "at most 0 values for the shape, got 1 in float_val");
    refused(floats(&[1 << 40]), "one value for 1099511627776 elements");
    refused(
        TensorProto { tensor_shape: Some(TensorShapeProto { unknown_rank: true, dim: vec![] }), ..floats(&[]) },
        "unknown rank",
    );
    let content = TensorProto { tensor_content: Bytes::from_static(&[0; 7]), ..proto(DType::Float32, &[2]) };
    refused(content, "expected 8 bytes of tensor_content for float32 of shape [2], got 7");
    refused(
        TensorProto { int_val: vec![1], ..proto(DType::Int64, &[1]) },
        "expected values in int64_val or tensor_content, got them in int_val",
    );
    let nothing = read(TensorProto { int_val: vec![1], ..proto(DType::Int64, &[0]) }).unwrap();
    assert_eq!(nothing.as_slice::<i64>(), Some(&[][..]), "no value is missing");
    refused(TensorProto { int_val: vec![300], ..proto(DType::Uint8, &[1]) }, "300 is out of range of uint8");
    refused(TensorProto { half_val: vec![-1], ..proto(DType::Float16, &[1]) }, "expected 16 bits, got -1");
    refused(TensorProto { dcomplex_val: vec![1.0; 3], ..proto(DType::Complex128, &[2]) }, "expected pairs of a real and");
    let content = TensorProto { tensor_content: Bytes::from_static(&[0; 8]), ..proto(DType::Complex64, &[2]) };
    refused(content, "expected 16 bytes of tensor_content for complex64 of shape [2], got 8");
    let long = TensorProto { string_val: vec![Bytes::from(vec![0; ROOM / 2])], ..proto(DType::String, &[2]) };
    refused(long, "one value for 2 elements");
    // Values that a message holds itself need no room.
    let all = read(TensorProto { float_val: vec![1.0; ROOM], ..proto(DType::Float32, &[i64::try_from(ROOM).unwrap()]) }).unwrap();
    assert_eq!(all.element_count(), ROOM);
    let all = read(TensorProto { string_val: vec![Bytes::new(); ROOM], ..proto(DType::String, &[i64::try_from(ROOM).unwrap()]) });
    assert_eq!(all.unwrap().element_count(), ROOM);
    // Strings of no bytes take memory too.
    let most = i64::try_from(ROOM / size_of::<Bytes>()).unwrap();
    assert!(read(proto(DType::String, &[most])).is_ok());
    refused(proto(DType::String, &[most + 1]), &format!("one value for {} elements", most + 1));
}

#[test]
fn another_dtype_is_refused() {
    let error = decode("x", DType::Float32, proto(DType::String, &[]), &mut Room { bytes: 0 }).unwrap_err();
    assert_eq!(error.message, "input \"x\": expected float32, got string");
    let error = decode("x", DType::Float32, TensorProto::default(), &mut Room { bytes: 0 }).unwrap_err();
    assert_eq!(error.message, "input \"x\": expected float32, got DataType 0");
}
