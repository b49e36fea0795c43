//! Protobuf messages as the fields that lie in them. The reader of a message takes the fields that it knows, and keeps the others as
//! they came.

use bytes::{Buf, Bytes};
use prost::encoding::{decode_key, decode_varint, encode_key, encode_varint, WireType};

/// Bytes of this length or more are shared and not copied while a message is put together.
const SHARED_BYTES_MIN: usize = 4096;

/// A field of a message.
pub(super) struct Field {
    pub(super) number: u32,
    value: Value,
    /// The field's key and value, as they lie in the message.
    pub(super) whole: Bytes,
}

enum Value {
    Number(u64),
    Bytes(Bytes),
    Fixed,
}

/// A message while it is put together. Its large parts are shared with the messages that they come from, and copied once: at the
/// end, by [`Rope::join`].
#[derive(Default)]
pub(super) struct Rope {
    pieces: Vec<Bytes>,
    tail: Vec<u8>,
    length: usize,
}

/// Takes the fields of a message one after the other. Each holds a window of the message and no copy.
pub(super) fn fields(message: Bytes) -> impl Iterator<Item = Result<Field, String>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let field = (!rest.is_empty()).then(|| next(&mut rest))?;
        if field.is_err() {
            rest = Bytes::new();
        }
        Some(field)
    })
}

/// Reads the field `key` of an entry of a map, which is text, and the field `value`.
pub(super) fn entry(message: Bytes) -> Result<(String, Bytes), String> {
    let (mut key, mut value) = (String::new(), Bytes::new());
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => key = field.text()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// A message of one field, which holds `bytes`.
pub(super) fn message(number: u32, bytes: &[u8]) -> Bytes {
    let mut rope = Rope::default();
    rope.bytes(number, bytes);
    rope.tail.into()
}

fn next(rest: &mut Bytes) -> Result<Field, String> {
    let before = rest.clone();
    let malformed = |error| format!("the graph is no protobuf message: {error}");
    let (number, wire_type) = decode_key(rest).map_err(malformed)?;
    let value = match wire_type {
        WireType::Varint => Value::Number(decode_varint(rest).map_err(malformed)?),
        WireType::SixtyFourBit => split(rest, 8).map(|_| Value::Fixed)?,
        WireType::ThirtyTwoBit => split(rest, 4).map(|_| Value::Fixed)?,
        WireType::LengthDelimited => {
            let length = decode_varint(rest).map_err(malformed)?;
            Value::Bytes(split(rest, length)?)
        }
        WireType::StartGroup | WireType::EndGroup => return Err(format!("the graph has a group as field {number}")),
    };
    let whole = before.slice(..before.len() - rest.len());
    Ok(Field { number, value, whole })
}

fn split(rest: &mut Bytes, length: u64) -> Result<Bytes, String> {
    match usize::try_from(length) {
        Ok(length) if length <= rest.remaining() => Ok(rest.split_to(length)),
        _ => Err(format!("the graph ends within a field of {length} bytes")),
    }
}

impl Field {
    /// The field's bytes, which may be a message.
    pub(super) fn bytes(&self) -> Result<Bytes, String> {
        match &self.value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            Value::Number(_) | Value::Fixed => Err(format!("field {} of the graph: expected bytes, found a number", self.number)),
        }
    }

    /// The field's text.
    pub(super) fn text(&self) -> Result<String, String> {
        let text = String::from_utf8(self.bytes()?.to_vec());
        text.map_err(|_| format!("field {} of the graph: expected text in UTF-8", self.number))
    }

    /// The field's number, as an unsigned integer of 32 bits.
    pub(super) fn integer(&self) -> Result<u32, String> {
        match self.value {
            Value::Number(number) => u32::try_from(number).ok(),
            Value::Bytes(_) | Value::Fixed => None,
        }
        .ok_or_else(|| format!("field {} of the graph: expected a number of 32 bits", self.number))
    }
}

impl Rope {
    /// Appends the field `number` with a number.
    pub(super) fn integer(&mut self, number: u32, value: u64) {
        let before = self.tail.len();
        encode_key(number, WireType::Varint, &mut self.tail);
        encode_varint(value, &mut self.tail);
        self.length += self.tail.len() - before;
    }

    /// Appends the field `number` with bytes.
    pub(super) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.header(number, bytes.len());
        self.raw(bytes);
    }

    /// Appends the field `number` with bytes, which are shared if they are many.
    pub(super) fn shared(&mut self, number: u32, bytes: &Bytes) {
        self.header(number, bytes.len());
        self.piece(bytes);
    }

    /// Appends the field `number` with a message.
    pub(super) fn nested(&mut self, number: u32, message: Self) {
        self.header(number, message.length);
        message.pieces.iter().for_each(|piece| self.piece(piece));
        self.raw(&message.tail);
    }

    /// Appends an entry of the map `number`.
    pub(super) fn entry(&mut self, number: u32, key: &str, value: Self) {
        let mut entry = Self::default();
        entry.bytes(1, key.as_bytes());
        entry.nested(2, value);
        self.nested(number, entry);
    }

    /// Appends whole fields.
    pub(super) fn raw(&mut self, fields: &[u8]) {
        self.tail.extend_from_slice(fields);
        self.length += fields.len();
    }

    /// Appends whole fields, which are shared if they are many.
    pub(super) fn piece(&mut self, fields: &Bytes) {
        if fields.len() < SHARED_BYTES_MIN {
            return self.raw(fields);
        }
        self.pieces.extend([std::mem::take(&mut self.tail).into(), fields.clone()]);
        self.length += fields.len();
    }

    /// The message, if it has at most `bytes_max` bytes. This copies each part once.
    pub(super) fn join(self, bytes_max: usize) -> Result<Vec<u8>, String> {
        if self.length > bytes_max {
            return Err(format!("the frozen graph takes {} bytes, and at most {bytes_max} are allowed", self.length));
        }
        let mut whole = Vec::with_capacity(self.length);
        self.pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.extend_from_slice(&self.tail);
        Ok(whole)
    }

    fn header(&mut self, number: u32, length: usize) {
        let before = self.tail.len();
        encode_key(number, WireType::LengthDelimited, &mut self.tail);
        encode_varint(length as u64, &mut self.tail);
        self.length += self.tail.len() - before;
    }
}

impl From<Bytes> for Rope {
    fn from(message: Bytes) -> Self {
        let mut rope = Self::default();
        rope.piece(&message);
        rope
    }
}
