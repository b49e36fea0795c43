//! Makes `TensorProto` messages of tensors. Pure.

use bytes::Bytes;
use tfweb_engine::{DType, Tensor, Values};

use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{TensorProto, TensorShapeProto};

/// A tensor whose bytes a message shares.
struct Content(Tensor);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes().unwrap_or_default()
    }
}

/// Writes a tensor: its bytes, which the message shares, or with `typed_values` the values in the field of its dtype. Strings are
/// always written as values, because clients read the bytes of strings in different ways.
pub fn encode(tensor: &Tensor, typed_values: bool) -> TensorProto {
    let dims = tensor.dims().iter().map(|&dim| Dim { size: dim_size(dim), name: String::new() });
    let mut proto = TensorProto {
        dtype: dtype_number(tensor.dtype()),
        tensor_shape: Some(TensorShapeProto { dim: dims.collect(), unknown_rank: false }),
        ..TensorProto::default()
    };
    let is_bytes = tensor.as_bytes().is_some() && !typed_values;
    if is_bytes {
        proto.tensor_content = Bytes::from_owner(Content(tensor.clone()));
    } else {
        fill(&mut proto, tensor.values());
    }
    proto
}

/// A dtype's number in messages.
pub fn dtype_number(dtype: DType) -> i32 {
    i32::try_from(dtype.number()).unwrap_or_default()
}

/// A dimension's size in messages.
pub fn dim_size(dim: usize) -> i64 {
    i64::try_from(dim).unwrap_or(i64::MAX)
}

fn fill(proto: &mut TensorProto, values: &Values) {
    match values {
        Values::Float16(values) => proto.half_val = values.as_slice().iter().map(|value| i32::from(value.to_bits())).collect(),
        Values::Bfloat16(values) => proto.half_val = values.as_slice().iter().map(|value| i32::from(value.to_bits())).collect(),
        Values::Float32(values) => proto.float_val = values.as_slice().to_vec(),
        Values::Float64(values) => proto.double_val = values.as_slice().to_vec(),
        Values::Int8(values) => proto.int_val = widened(values.as_slice()),
        Values::Int16(values) => proto.int_val = widened(values.as_slice()),
        Values::Int32(values) => proto.int_val = values.as_slice().to_vec(),
        Values::Int64(values) => proto.int64_val = values.as_slice().to_vec(),
        Values::Uint8(values) => proto.int_val = widened(values.as_slice()),
        Values::Uint16(values) => proto.int_val = widened(values.as_slice()),
        Values::Uint32(values) => proto.uint32_val = values.as_slice().to_vec(),
        Values::Uint64(values) => proto.uint64_val = values.as_slice().to_vec(),
        Values::Bool(values) => proto.bool_val = values.as_slice().to_vec(),
        Values::String(strings) => proto.string_val = strings.iter().map(Bytes::copy_from_slice).collect(),
    }
}

fn widened<T: Copy + Into<i32>>(values: &[T]) -> Vec<i32> {
    values.iter().map(|&value| value.into()).collect()
}
