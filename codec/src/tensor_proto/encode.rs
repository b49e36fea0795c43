//! Makes `TensorProto` messages of tensors. Pure.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{encode_key, encode_varint, encoded_len_varint, key_len, DecodeContext, WireType};
use prost::{DecodeError, Message};
use tfweb_engine::{DType, Tensor, Values};

use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{TensorProto, TensorShapeProto};

/// The number of `TensorProto.string_val`. Each string has a field of its own.
const STRING_VAL: u32 = 8;

/// A tensor as an answer carries it: a `TensorProto` on the wire. Its values are written from the tensor's own memory, so they take
/// no memory before the answer is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerTensor {
    /// All but the values.
    head: TensorProto,
    /// The tensor whose values follow, and the bytes that they take with their keys.
    values: Option<(Tensor, usize)>,
}

/// A tensor whose bytes a message shares.
struct Content(Tensor);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes().unwrap_or_default()
    }
}

impl AnswerTensor {
    /// Writes the values of a tensor in the field of its dtype (`float_val`, …), as TensorFlow Serving does.
    #[must_use]
    pub fn of_values(tensor: &Tensor) -> Self {
        let values = (tensor.element_count() > 0).then(|| (tensor.clone(), values_len(tensor)));
        Self { head: head(tensor), values }
    }

    /// Writes the bytes of a tensor in `tensor_content`. Strings are written as values, because clients read the bytes of strings in
    /// different ways.
    #[must_use]
    pub fn of_content(tensor: &Tensor) -> Self {
        if tensor.as_bytes().is_none() {
            return Self::of_values(tensor);
        }
        Self { head: encode(tensor), values: None }
    }
}

impl Message for AnswerTensor {
    fn encode_raw(&self, out: &mut impl BufMut) {
        self.head.encode_raw(out);
        if let Some((tensor, _)) = &self.values {
            write_values(tensor, out);
        }
    }

    fn encoded_len(&self) -> usize {
        self.head.encoded_len() + self.values.as_ref().map_or(0, |(_, len)| *len)
    }

    fn merge_field(&mut self, tag: u32, wire: WireType, from: &mut impl Buf, context: DecodeContext) -> Result<(), DecodeError> {
        self.head.merge_field(tag, wire, from, context)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Makes a message of a tensor: its bytes, which the message shares, or its strings.
#[must_use]
pub fn encode(tensor: &Tensor) -> TensorProto {
    let mut proto = head(tensor);
    match tensor.as_strings() {
        Some(strings) => proto.string_val = strings.iter().map(Bytes::copy_from_slice).collect(),
        None => proto.tensor_content = Bytes::from_owner(Content(tensor.clone())),
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

/// The dtype and the shape of a tensor.
fn head(tensor: &Tensor) -> TensorProto {
    let dims = tensor.dims().iter().map(|&dim| Dim { size: dim_size(dim), name: String::new() });
    TensorProto {
        dtype: dtype_number(tensor.dtype()),
        tensor_shape: Some(TensorShapeProto { dim: dims.collect(), unknown_rank: false }),
        ..TensorProto::default()
    }
}

/// How the values of a dtype stand in a message.
enum Field<'a> {
    /// Values of a fixed width. The elements have the same bytes, so all are copied at once.
    Fixed(u32, &'a [u8]),
    /// Values as varints.
    Varints(u32),
    /// Strings.
    Strings,
}

/// The field of `TensorProto` for the values of a dtype, by its number there.
fn field(tensor: &Tensor) -> Field<'_> {
    let fixed = |number| Field::Fixed(number, tensor.as_bytes().unwrap_or_default());
    match tensor.values() {
        Values::Float32(_) => fixed(5),
        Values::Float64(_) => fixed(6),
        Values::Int8(_) | Values::Int16(_) | Values::Int32(_) | Values::Uint8(_) | Values::Uint16(_) => Field::Varints(7),
        Values::String(_) => Field::Strings,
        Values::Complex64(_) => fixed(9),
        Values::Int64(_) => Field::Varints(10),
        // A bool is a varint of one byte, 0 or 1.
        Values::Bool(_) => fixed(11),
        Values::Complex128(_) => fixed(12),
        Values::Float16(_) | Values::Bfloat16(_) => Field::Varints(13),
        Values::Uint32(_) => Field::Varints(16),
        Values::Uint64(_) => Field::Varints(17),
    }
}

/// The bytes that values take with their keys.
fn values_len(tensor: &Tensor) -> usize {
    let delimited = |number: u32, len: usize| key_len(number) + encoded_len_varint(len as u64) + len;
    match field(tensor) {
        Field::Fixed(number, bytes) => delimited(number, bytes.len()),
        Field::Varints(number) => delimited(number, varints_len(tensor)),
        Field::Strings => strings(tensor).map(|string| delimited(STRING_VAL, string.len())).sum(),
    }
}

fn write_values(tensor: &Tensor, out: &mut impl BufMut) {
    let begin = |number: u32, len: usize, out: &mut _| {
        encode_key(number, WireType::LengthDelimited, out);
        encode_varint(len as u64, out);
    };
    match field(tensor) {
        Field::Fixed(number, bytes) => {
            begin(number, bytes.len(), out);
            out.put_slice(bytes);
        }
        Field::Varints(number) => {
            begin(number, varints_len(tensor), out);
            each_varint(tensor, |value| encode_varint(value, out));
        }
        Field::Strings => strings(tensor).for_each(|string| {
            begin(STRING_VAL, string.len(), out);
            out.put_slice(string);
        }),
    }
}

fn varints_len(tensor: &Tensor) -> usize {
    let mut len = 0;
    each_varint(tensor, |value| len += encoded_len_varint(value));
    len
}

/// Gives each value as the number whose varint stands in a message: a negative one as 64 bits, a half as its own bits.
fn each_varint(tensor: &Tensor, mut give: impl FnMut(u64)) {
    match tensor.values() {
        Values::Float16(values) => values.as_slice().iter().for_each(|value| give(value.to_bits().into())),
        Values::Bfloat16(values) => values.as_slice().iter().for_each(|value| give(value.to_bits().into())),
        Values::Int8(values) => signed(values.as_slice(), give),
        Values::Int16(values) => signed(values.as_slice(), give),
        Values::Int32(values) => signed(values.as_slice(), give),
        Values::Int64(values) => signed(values.as_slice(), give),
        Values::Uint8(values) => unsigned(values.as_slice(), give),
        Values::Uint16(values) => unsigned(values.as_slice(), give),
        Values::Uint32(values) => unsigned(values.as_slice(), give),
        Values::Uint64(values) => unsigned(values.as_slice(), give),
        Values::Float32(_) | Values::Float64(_) | Values::Complex64(_) | Values::Complex128(_) | Values::Bool(_) => {}
        Values::String(_) => {}
    }
}

fn signed<T: Copy + Into<i64>>(values: &[T], give: impl FnMut(u64)) {
    values.iter().map(|&value| value.into().cast_unsigned()).for_each(give);
}

fn unsigned<T: Copy + Into<u64>>(values: &[T], give: impl FnMut(u64)) {
    values.iter().map(|&value| value.into()).for_each(give);
}

fn strings(tensor: &Tensor) -> impl Iterator<Item = &[u8]> {
    tensor.as_strings().into_iter().flat_map(|strings| strings.iter())
}
