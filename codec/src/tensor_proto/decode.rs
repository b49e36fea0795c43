//! Makes tensors of `TensorProto` messages. Pure. The size that a message states reserves no memory.

use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tfweb_engine::{bf16, element_count, f16, with_scalar, Code, DType, Dims, Error, Scalar, Tensor, RANK_MAX};

use tfweb_proto::tensorflow::{TensorProto, TensorShapeProto};

/// Room for elements that a message leaves out, because one value stands for many.
pub struct Room {
    /// The bytes that are left.
    pub bytes: usize,
}

impl Room {
    fn take(&mut self, count: usize, size: usize) -> Result<(), String> {
        let bytes = count.saturating_mul(size);
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            let left = self.bytes;
            format!(
                "one value for {count} elements: expected at most {left} bytes of such elements, got {bytes} bytes; send fewer, or \
                 raise --grpc_message_size"
            )
        })?;
        Ok(())
    }
}

/// Makes the tensor of the input `name`, which must be of `dtype`.
///
/// # Errors
/// `InvalidArgument` naming the input, the expected and the given value; `Unimplemented` for dtypes that are not served.
pub fn decode(name: &str, dtype: DType, mut proto: TensorProto, room: &mut Room) -> Result<Tensor, Error> {
    let got = u32::try_from(proto.dtype).map_or(DType::Other(0), DType::from_number);
    if got != dtype {
        let got = if got.is_served() { got.to_string() } else { format!("DataType {}", proto.dtype) };
        return Err(Error::invalid(format!("input {name:?}: expected {dtype}, got {got}")));
    }
    if !dtype.is_served() {
        return Err(Error::new(Code::Unimplemented, format!("input {name:?}: dtype {dtype} is not supported")));
    }
    let wrong = |text: String| Error::invalid(format!("input {name:?}: {text}"));
    let (dims, count) = dims(proto.tensor_shape.take()).map_err(wrong)?;
    let content = mem::take(&mut proto.tensor_content);
    let tensor = with_scalar!(dtype, T => {
        if content.is_empty() {
            typed::<T>(&mut proto, count, room).map(|values| Tensor::from_vec(&dims, values))
        } else if content.len() == count * size_of::<T>() {
            Ok(Tensor::from_bytes::<T>(&dims, content))
        } else {
            let expected = count * size_of::<T>();
            Err(format!("expected {expected} bytes of tensor_content for {dtype} of shape {:?}, got {}", &dims[..], content.len()))
        }
    }, else {
        let strings = if content.is_empty() { string_values(&mut proto, count, room) } else { packed_strings(content, count) };
        strings.map(|strings| Tensor::from_strings(&dims, Arc::new(strings)))
    });
    tensor.map_err(wrong)
}

/// The dimensions, and the number of elements of that shape. A tensor without a shape is a scalar.
fn dims(shape: Option<TensorShapeProto>) -> Result<(Dims, usize), String> {
    let shape = shape.unwrap_or_default();
    if shape.unknown_rank {
        return Err("expected a shape, got an unknown rank".to_owned());
    }
    if shape.dim.len() > RANK_MAX {
        return Err(format!("expected at most {RANK_MAX} dimensions, got {}", shape.dim.len()));
    }
    let size = |size: i64| usize::try_from(size).map_err(|_| format!("expected a size of 0 or more in each dimension, got {size}"));
    let dims: Dims = shape.dim.iter().map(|dim| size(dim.size)).collect::<Result<_, _>>()?;
    // TensorFlow multiplies sizes, and bytes, in signed 64 bits. So even the sizes beside a zero must fit there.
    let largest: Dims = dims.iter().map(|&dim| dim.max(1)).collect();
    let fits = element_count(&largest).and_then(|count| count.checked_mul(16)).is_some_and(|bytes| i64::try_from(bytes).is_ok());
    let count = element_count(&dims).filter(|_| fits).ok_or_else(|| format!("shape {:?} is too large", &dims[..]))?;
    Ok((dims, count))
}

/// Takes the values of the dtype's own field, and fills the shape with them: the last value stands for the missing ones, and zero
/// if there is no value (`Tensor::FromProto` in tensorflow/core/framework/tensor.cc).
fn typed<T: Scalar>(proto: &mut TensorProto, count: usize, room: &mut Room) -> Result<Vec<T>, String> {
    let (field, mut values) = values::<T>(proto)?;
    check_count(proto, field, values.len(), count)?;
    if values.len() < count {
        room.take(count, size_of::<T>())?;
        values.resize(count, values.last().copied().unwrap_or_default());
    }
    Ok(values)
}

fn check_count(proto: &TensorProto, field: &str, got: usize, count: usize) -> Result<(), String> {
    if got > count {
        return Err(format!("expected at most {count} values for the shape, got {got} in {field}"));
    }
    if got == 0 && count > 0 {
        if let Some(other) = filled(proto) {
            return Err(format!("expected values in {field} or tensor_content, got them in {other}"));
        }
    }
    Ok(())
}

/// The first field that has values, if any.
fn filled(proto: &TensorProto) -> Option<&'static str> {
    let counts = [
        ("half_val", proto.half_val.len()),
        ("float_val", proto.float_val.len()),
        ("double_val", proto.double_val.len()),
        ("int_val", proto.int_val.len()),
        ("string_val", proto.string_val.len()),
        ("scomplex_val", proto.scomplex_val.len()),
        ("int64_val", proto.int64_val.len()),
        ("bool_val", proto.bool_val.len()),
        ("dcomplex_val", proto.dcomplex_val.len()),
        ("uint32_val", proto.uint32_val.len()),
        ("uint64_val", proto.uint64_val.len()),
    ];
    counts.into_iter().find(|(_, count)| *count > 0).map(|(field, _)| field)
}

/// The values of the field of `T`, and the field's name.
fn values<T: Scalar>(proto: &mut TensorProto) -> Result<(&'static str, Vec<T>), String> {
    let (field, tensor) = match T::DTYPE {
        DType::Float32 => ("float_val", vector(&mut proto.float_val)),
        DType::Float64 => ("double_val", vector(&mut proto.double_val)),
        DType::Int64 => ("int64_val", vector(&mut proto.int64_val)),
        DType::Uint32 => ("uint32_val", vector(&mut proto.uint32_val)),
        DType::Uint64 => ("uint64_val", vector(&mut proto.uint64_val)),
        DType::Bool => ("bool_val", vector(&mut proto.bool_val)),
        DType::Int32 => ("int_val", vector(&mut proto.int_val)),
        DType::Int8 => ("int_val", narrow::<i8>(&proto.int_val)?),
        DType::Int16 => ("int_val", narrow::<i16>(&proto.int_val)?),
        DType::Uint8 => ("int_val", narrow::<u8>(&proto.int_val)?),
        DType::Uint16 => ("int_val", narrow::<u16>(&proto.int_val)?),
        DType::Float16 => ("half_val", halves(&proto.half_val, f16::from_bits)?),
        DType::Bfloat16 => ("half_val", halves(&proto.half_val, bf16::from_bits)?),
        DType::Complex64 => ("scomplex_val", pairs("scomplex_val", &proto.scomplex_val)?),
        DType::Complex128 => ("dcomplex_val", pairs("dcomplex_val", &proto.dcomplex_val)?),
        DType::String | DType::Other(_) => return Err("not a scalar; this is a bug".to_owned()),
    };
    let values = tensor.downcast::<Vec<T>>().expect("the field's type is that of the dtype; this is a bug");
    Ok((field, *values))
}

/// A vector whose element type follows from the dtype.
type AnyVec = Box<dyn std::any::Any>;

fn vector<T: 'static>(values: &mut Vec<T>) -> AnyVec {
    Box::new(mem::take(values))
}

fn narrow<T: TryFrom<i32> + Scalar>(values: &[i32]) -> Result<AnyVec, String> {
    let narrow = |&value: &i32| T::try_from(value).map_err(|_| format!("{value} is out of range of {}", T::DTYPE));
    Ok(Box::new(values.iter().map(narrow).collect::<Result<Vec<T>, _>>()?))
}

fn halves<T: 'static>(values: &[i32], from_bits: fn(u16) -> T) -> Result<AnyVec, String> {
    let half = |&bits: &i32| u16::try_from(bits).map(from_bits).map_err(|_| format!("half_val: expected 16 bits, got {bits}"));
    Ok(Box::new(values.iter().map(half).collect::<Result<Vec<T>, _>>()?))
}

/// Complex numbers: each is a real and an imaginary part.
fn pairs<T: Copy + 'static>(field: &str, parts: &[T]) -> Result<AnyVec, String> {
    let (pairs, rest) = parts.as_chunks::<2>();
    if rest.is_empty() {
        Ok(Box::new(pairs.to_vec()))
    } else {
        Err(format!("{field}: expected pairs of a real and an imaginary part, got {} values", parts.len()))
    }
}

fn string_values(proto: &mut TensorProto, count: usize, room: &mut Room) -> Result<Vec<Bytes>, String> {
    let mut values = mem::take(&mut proto.string_val);
    check_count(proto, "string_val", values.len(), count)?;
    if values.len() < count {
        let last = values.last().cloned().unwrap_or_default();
        // A run copies the bytes for each string.
        room.take(count, size_of::<Bytes>() + last.len())?;
        values.resize(count, last);
    }
    Ok(values)
}

/// Reads the strings of `tensor_content`: all lengths as varints, then all bytes.
fn packed_strings(mut content: Bytes, count: usize) -> Result<Vec<Bytes>, String> {
    let malformed = || format!("expected tensor_content of {count} strings: their lengths as varints, then their bytes");
    // Each length takes at least one byte.
    if count > content.len() {
        return Err(malformed());
    }
    let length = |_| {
        let length = prost::encoding::decode_varint(&mut content).map_err(|_| malformed())?;
        usize::try_from(length).map_err(|_| malformed())
    };
    let lengths: Vec<usize> = (0..count).map(length).collect::<Result<_, String>>()?;
    let total = lengths.iter().try_fold(0_usize, |total, &length| total.checked_add(length));
    if total != Some(content.remaining()) {
        return Err(malformed());
    }
    Ok(lengths.into_iter().map(|length| content.split_to(length)).collect())
}
