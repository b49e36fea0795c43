//! Tells from the bytes of a message how much memory it takes once it is decoded, before anything is decoded.
//!
//! A message of a few bytes may become a thousand times as much: an empty part of a list takes two bytes on the wire, and a whole
//! struct in memory. The walk follows the wire format as prost does, allocates nothing, and adds up what prost will allocate. It
//! counts the moment in which a list moves to larger memory, so the decoded message later takes between a quarter and all of it.
//! Bytes fields add nothing, because prost does not copy them out of the message.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet, MessageOptions};

/// The most that fields take in the structs that prost makes, with the padding between them.
const WORD_BYTES: usize = 8;
const TEXT_BYTES: usize = 24;
const LIST_BYTES: usize = 24;
const CONTENT_BYTES: usize = 32;
/// The least that a `String` and a `Vec` of bytes allocate.
const BYTES_MIN: usize = 8;
/// A node of a `BTreeMap` has room for 11 entries, and at least 5 unless it is the root. These are its bytes beside them.
const NODE_ENTRIES: usize = 11;
const NODE_ENTRIES_MIN: usize = 5;
const NODE_BYTES: usize = 16 + 12 * WORD_BYTES;
/// The most fields of one type, whose first occurrences are told apart.
const FIELDS_MAX: usize = 64;

/// The weights of all types of messages in a set of descriptors.
pub struct Weights {
    kinds: Arc<[Kind]>,
    /// By the types' names, which begin with a dot.
    by_name: BTreeMap<String, usize>,
    /// By the paths of the methods.
    inputs: BTreeMap<String, usize>,
}

/// The weight of messages of one type.
#[derive(Clone)]
pub struct Weight {
    kinds: Arc<[Kind]>,
    kind: usize,
}

/// A type of messages.
struct Kind {
    /// In the order of their numbers.
    fields: Vec<Field>,
    /// The size of its struct.
    bytes: usize,
}

struct Field {
    number: u64,
    growth: Growth,
    content: Content,
}

/// The memory for the elements of a field, beside their contents.
#[derive(Clone, Copy)]
enum Growth {
    /// It is in the struct.
    Single,
    /// A vector of elements of this size.
    List(usize),
    /// A map with nodes of this size.
    Map(usize),
}

#[derive(Clone, Copy)]
enum Content {
    /// Has no memory of its own.
    Nothing,
    Text,
    /// A number, or a list of them in one piece.
    Varints,
    Fixed(usize),
    Message(usize),
}

impl Weights {
    /// Reads an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    /// A text about the type that has no weight: one that contains itself, has too many fields, or lacks the type of a field.
    pub fn read(descriptors: &[u8]) -> Result<Self, String> {
        let set = FileDescriptorSet::decode(descriptors).map_err(|error| error.to_string())?;
        let mut types = BTreeMap::new();
        for file in &set.file {
            collect(&scope("", file.package()), &file.message_type, &mut types);
        }
        let mut found = Found { types, kinds: Vec::new(), by_name: BTreeMap::new() };
        for name in found.types.keys().cloned().collect::<Vec<_>>() {
            found.add(&name, 0)?;
        }
        let mut inputs = BTreeMap::new();
        for file in &set.file {
            for service in &file.service {
                let service_name = scope(&scope("", file.package()), service.name());
                for method in &service.method {
                    let input = found.by_name.get(method.input_type()).ok_or("a method lacks its type")?;
                    inputs.insert(format!("/{}/{}", &service_name[1..], method.name()), *input);
                }
            }
        }
        Ok(Self { kinds: found.kinds.into(), by_name: found.by_name, inputs })
    }

    /// The weight of the messages that a method takes, by its path `/package.Service/Method`.
    #[must_use]
    pub fn of_method(&self, path: &str) -> Option<Weight> {
        self.inputs.get(path).map(|&kind| Weight { kinds: Arc::clone(&self.kinds), kind })
    }

    /// The weight of the messages of a type, by its full name.
    #[must_use]
    pub fn of_type(&self, name: &str) -> Option<Weight> {
        self.by_name.get(&scope("", name)).map(|&kind| Weight { kinds: Arc::clone(&self.kinds), kind })
    }
}

/// The types that have been read so far.
struct Found<'a> {
    types: BTreeMap<String, &'a DescriptorProto>,
    kinds: Vec<Kind>,
    by_name: BTreeMap<String, usize>,
}

impl Found<'_> {
    /// Adds a type and those of its fields.
    fn add(&mut self, name: &str, depth: usize) -> Result<usize, String> {
        if let Some(&known) = self.by_name.get(name) {
            return Ok(known);
        }
        let message = *self.types.get(name).ok_or_else(|| format!("{name} is not described"))?;
        if depth > self.types.len() || message.field.len() > FIELDS_MAX {
            return Err(format!("{name} contains itself, or has more than {FIELDS_MAX} fields"));
        }
        let mut fields = Vec::new();
        let mut bytes = 0;
        // The variants of a oneof share the place of the largest.
        let mut choices = vec![0; message.oneof_decl.len()];
        for field in &message.field {
            let inner = match field.r#type() {
                Type::Message | Type::Group => Some(self.add(field.type_name(), depth + 1)?),
                Type::String | Type::Bytes | Type::Bool | Type::Enum => None,
                Type::Double | Type::Fixed64 | Type::Sfixed64 | Type::Int64 | Type::Uint64 | Type::Sint64 => None,
                Type::Float | Type::Fixed32 | Type::Sfixed32 | Type::Int32 | Type::Uint32 | Type::Sint32 => None,
            };
            let inline = inner.map_or_else(|| inline_bytes(field.r#type()), |inner| self.kinds[inner].bytes + WORD_BYTES);
            let is_map = inner.is_some() && is_map_entry(self.types[field.type_name()]);
            let is_list = field.label() == Label::Repeated;
            match field.oneof_index.and_then(|index| choices.get_mut(usize::try_from(index).ok()?)) {
                Some(largest) => *largest = inline.max(*largest),
                None => bytes += if is_list { LIST_BYTES } else { inline },
            }
            let growth = match (is_list, inner) {
                (true, Some(entry)) if is_map => Growth::Map(NODE_ENTRIES * self.kinds[entry].bytes + NODE_BYTES),
                (true, Some(inner)) => Growth::List(self.kinds[inner].bytes),
                (true, None) => Growth::List(element_bytes(field.r#type())),
                (false, _) => Growth::Single,
            };
            let number = u64::try_from(field.number()).map_err(|_| format!("{name} has a negative number"))?;
            fields.push(Field { number, growth, content: content(field.r#type(), inner) });
        }
        bytes += choices.iter().map(|largest| largest + WORD_BYTES).sum::<usize>();
        fields.sort_by_key(|field| field.number);
        self.kinds.push(Kind { fields, bytes });
        self.by_name.insert(name.to_owned(), self.kinds.len() - 1);
        Ok(self.kinds.len() - 1)
    }
}

fn scope(outer: &str, name: &str) -> String {
    if name.is_empty() {
        outer.to_owned()
    } else {
        format!("{outer}.{name}")
    }
}

fn collect<'a>(outer: &str, messages: &'a [DescriptorProto], types: &mut BTreeMap<String, &'a DescriptorProto>) {
    for message in messages {
        let name = scope(outer, message.name());
        collect(&name, &message.nested_type, types);
        types.insert(name, message);
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(MessageOptions::map_entry)
}

/// The size of a field that is no message, in its struct.
fn inline_bytes(of: Type) -> usize {
    match of {
        Type::String => TEXT_BYTES,
        Type::Bytes => CONTENT_BYTES,
        Type::Double | Type::Fixed64 | Type::Sfixed64 | Type::Int64 | Type::Uint64 | Type::Sint64 => WORD_BYTES,
        Type::Float | Type::Fixed32 | Type::Sfixed32 | Type::Int32 | Type::Uint32 | Type::Sint32 => WORD_BYTES,
        Type::Bool | Type::Enum | Type::Message | Type::Group => WORD_BYTES,
    }
}

/// The size of an element that is no message, in a vector.
fn element_bytes(of: Type) -> usize {
    match of {
        Type::Bool => 1,
        Type::Float | Type::Fixed32 | Type::Sfixed32 | Type::Int32 | Type::Uint32 | Type::Sint32 | Type::Enum => WORD_BYTES / 2,
        Type::Double | Type::Fixed64 | Type::Sfixed64 | Type::Int64 | Type::Uint64 | Type::Sint64 => WORD_BYTES,
        Type::String | Type::Bytes | Type::Message | Type::Group => inline_bytes(of),
    }
}

fn content(of: Type, inner: Option<usize>) -> Content {
    match of {
        Type::Message | Type::Group => inner.map_or(Content::Nothing, Content::Message),
        Type::String => Content::Text,
        Type::Bytes => Content::Nothing,
        Type::Float | Type::Fixed32 | Type::Sfixed32 => Content::Fixed(4),
        Type::Double | Type::Fixed64 | Type::Sfixed64 => Content::Fixed(8),
        Type::Int64 | Type::Uint64 | Type::Sint64 | Type::Int32 | Type::Uint32 | Type::Sint32 => Content::Varints,
        Type::Bool | Type::Enum => Content::Varints,
    }
}

impl Weight {
    /// The bytes that this message takes at most while it is decoded and afterwards, beside its bytes on the wire. Of a damaged
    /// message it counts what comes before the damage, where decoding ends too. It stops where it passes `bytes_max`.
    #[must_use]
    pub fn of(&self, message: &[u8], bytes_max: usize) -> usize {
        let mut walk = Walk { kinds: &self.kinds, rest: message, bytes: self.kinds[self.kind].bytes, bytes_max };
        let _ = walk.message(self.kind, message.len(), false);
        walk.bytes
    }
}

struct Walk<'a> {
    kinds: &'a [Kind],
    /// The bytes that come. A part may claim more than its whole has left; prost reads on, and finds the fault at the part's end.
    rest: &'a [u8],
    bytes: usize,
    bytes_max: usize,
}

impl<'a> Walk<'a> {
    /// Walks a message of that length. `is_more` says that its fields are added to those of an earlier message. `None` where it is
    /// damaged.
    fn message(&mut self, kind: usize, length: usize, is_more: bool) -> Option<()> {
        let kind = &self.kinds[kind];
        let end = self.rest.len().checked_sub(length)?;
        let mut seen = [0_u8; FIELDS_MAX];
        while self.rest.len() > end && self.bytes <= self.bytes_max {
            let key = self.varint()?;
            let index = kind.index(key >> 3);
            let content = index.map_or(Content::Nothing, |index| kind.fields[index].content);
            let growth = index.map_or(Growth::Single, |index| kind.fields[index].growth);
            let before = index.map_or(0, |index| seen[index]);
            // A single field that comes again is added to the earlier one.
            let is_again = matches!(growth, Growth::Single) && (is_more || before > 0);
            let mut inner = None;
            let count = match key & 7 {
                0 => self.varint().map(|_| 1)?,
                1 => self.take(8).map(|_| 1)?,
                2 => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    let count = self.count(content, length, is_again)?;
                    match content {
                        Content::Message(kind) => inner = Some((kind, length)),
                        Content::Nothing | Content::Text | Content::Varints | Content::Fixed(_) => drop(self.take(length)?),
                    }
                    count
                }
                // A group. Its fields are counted as if they were here; prost skips them.
                3 | 4 => continue,
                5 => self.take(4).map(|_| 1)?,
                _ => return None,
            };
            let Some(index) = index else { continue };
            seen[index] = before.saturating_add(1);
            self.bytes += growth.bytes(usize::from(before), count, is_more);
            if let Some((kind, length)) = inner {
                self.message(kind, length, is_again)?;
            }
        }
        (self.rest.len() == end).then_some(())
    }

    /// The number of elements in a field of that length. Adds the memory of a text.
    fn count(&mut self, content: Content, length: usize, is_again: bool) -> Option<usize> {
        let bytes = self.rest.get(..length)?;
        Some(match content {
            Content::Nothing | Content::Message(_) => 1,
            Content::Text => {
                // The text before is still there when this one needs larger memory, which may be twice as large.
                self.bytes += if is_again { 2 * length } else { length.max(BYTES_MIN) };
                1
            }
            // The last one may go on behind the end.
            Content::Varints => bytes.iter().filter(|&&byte| byte < 0x80).count() + 1,
            Content::Fixed(width) => length.div_ceil(width),
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        prost::encoding::decode_varint(&mut self.rest).ok()
    }
}

impl Growth {
    /// The bytes for `count` more elements after `before` others.
    fn bytes(self, before: usize, count: usize, is_more: bool) -> usize {
        match (self, before) {
            (Self::Single, _) => 0,
            // A vector doubles its memory: from 4 · n elements on, it moves from room for as many to room for 8 · n.
            (Self::List(element), 0) => 3 * element * count + element.max(BYTES_MIN - 3),
            (Self::List(element), _) => 3 * element * count,
            // Full, the root becomes three nodes. Later every node but the root has at least five entries.
            (Self::Map(node), 0) if is_more => 3 * node,
            (Self::Map(node), 0) => node,
            (Self::Map(node), NODE_ENTRIES) => 2 * node,
            (Self::Map(_), 1..NODE_ENTRIES) if !is_more => 0,
            (Self::Map(node), _) => node.div_ceil(NODE_ENTRIES_MIN),
        }
    }
}

impl Kind {
    fn index(&self, number: u64) -> Option<usize> {
        // Most types number their fields from 1 on.
        let guess = usize::try_from(number.wrapping_sub(1)).ok().filter(|&guess| self.is_at(guess, number));
        guess.or_else(|| (0..self.fields.len()).find(|&index| self.is_at(index, number)))
    }

    fn is_at(&self, index: usize, number: u64) -> bool {
        self.fields.get(index).is_some_and(|field| field.number == number)
    }
}
