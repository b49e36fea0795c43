//! The values of attributes, serialized AttrValues, as far as a rewrite reads and changes them. Numbered as in attr_value.proto and
//! tensor_shape.proto of tensorflow/core/framework.

use bytes::Bytes;
use prost::Message;

use super::wire::{entry, fields, message, Rope};

/// How deep functions may stand in attributes of functions.
const DEPTH_MAX: usize = 64;

/// The dtype of handles.
pub(super) const RESOURCE: u32 = 20;
/// Reference types have the number of their type, and more than this.
const REFERENCES: u32 = 100;

/// The attributes that are read here, except functions.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(message, optional, tag = "1")]
    list: Option<List>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) text: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) integer: i64,
    #[prost(uint32, tag = "6")]
    pub(super) dtype: u32,
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    texts: Vec<Bytes>,
    #[prost(uint32, repeated, tag = "6")]
    dtypes: Vec<u32>,
}

/// Gives a field other bytes, by its number and its bytes. `None` leaves it as it is.
type Change<'a> = dyn FnMut(u32, &Bytes) -> Result<Option<Bytes>, String> + 'a;

impl Attribute {
    /// Reads an attribute. One that is missing or malformed has no value.
    pub(super) fn read(value: Option<&Bytes>) -> Self {
        value.and_then(|value| Self::decode(value.clone()).ok()).unwrap_or_default()
    }

    /// The dtypes of a list.
    pub(super) fn dtypes(&self) -> &[u32] {
        self.list.as_ref().map_or(&[], |list| &list.dtypes)
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> &[Bytes] {
        self.list.as_ref().map_or(&[], |list| &list.texts)
    }

    /// Whether the attribute is a reference type, or a list with one.
    pub(super) fn is_reference(&self) -> bool {
        self.dtype > REFERENCES || self.dtypes().iter().any(|&dtype| dtype > REFERENCES)
    }
}

/// An attribute with a dtype.
pub(super) fn of_dtype(dtype: u32) -> Bytes {
    Attribute { dtype, ..Attribute::default() }.encode_to_vec().into()
}

/// An attribute with a list of dtypes.
pub(super) fn of_dtypes(dtypes: Vec<u32>) -> Bytes {
    Attribute { list: Some(List { dtypes, texts: Vec::new() }), ..Attribute::default() }.encode_to_vec().into()
}

/// An attribute with a list of texts.
pub(super) fn of_texts(texts: Vec<Bytes>) -> Bytes {
    Attribute { list: Some(List { dtypes: Vec::new(), texts }), ..Attribute::default() }.encode_to_vec().into()
}

/// Adds the names of the functions in an attribute, also those in attributes of functions.
pub(super) fn add_functions(value: &Bytes, names: &mut Vec<String>) -> Result<(), String> {
    add_functions_at(value, names, 0)
}

/// The names of the functions that an attribute is: a function, or a list of functions.
pub(super) fn functions(value: &Bytes) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for function in callees(value)? {
        names.push(name_and_attributes(function)?.0);
    }
    Ok(names)
}

/// An attribute that is a function or a list of functions, with other names of the functions, in their order.
pub(super) fn with_functions(value: &Bytes, names: &mut impl Iterator<Item = String>) -> Result<Bytes, String> {
    edited(value, &mut |number, bytes| match number {
        10 => renamed(bytes, names).map(Some),
        1 => edited(bytes, &mut |number, bytes| if number == 9 { renamed(bytes, names).map(Some) } else { Ok(None) }).map(Some),
        _ => Ok(None),
    })
}

/// An attribute with a list of shapes, of which those at `indices` become unknown.
pub(super) fn with_unknown_shapes(value: &Bytes, indices: &[usize]) -> Result<Bytes, String> {
    let mut index = 0;
    let unknown_rank = Bytes::from_static(&[0x18, 1]);
    edited(value, &mut |number, list| {
        let shapes = &mut |number, _: &Bytes| {
            let is_shape = number == 7;
            index += usize::from(is_shape);
            Ok((is_shape && indices.contains(&(index - 1))).then(|| unknown_rank.clone()))
        };
        if number == 1 {
            edited(list, shapes).map(Some)
        } else {
            Ok(None)
        }
    })
}

/// A message in which fields that hold bytes have the bytes that `change` gives them.
fn edited(value: &Bytes, change: &mut Change<'_>) -> Result<Bytes, String> {
    let mut rope = Rope::default();
    for field in fields(value.clone()) {
        let field = field?;
        let changed = field.bytes().ok().map(|bytes| change(field.number, &bytes)).transpose()?.flatten();
        match changed {
            Some(bytes) => rope.shared(field.number, &bytes),
            None => rope.piece(&field.whole),
        }
    }
    rope.join(usize::MAX).map(Bytes::from)
}

/// A NameAttrList with the next of `names`. It keeps the function's own attributes.
fn renamed(function: &Bytes, names: &mut dyn Iterator<Item = String>) -> Result<Bytes, String> {
    let name = names.next().ok_or("an attribute has more functions than before; this is a bug")?;
    let mut rope = Rope::default();
    rope.raw(&message(1, name.as_bytes()));
    for field in fields(function.clone()) {
        let field = field?;
        if field.number != 1 {
            rope.piece(&field.whole);
        }
    }
    rope.join(usize::MAX).map(Bytes::from)
}

fn add_functions_at(value: &Bytes, names: &mut Vec<String>, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("functions stand more than {DEPTH_MAX} deep in attributes of functions"));
    }
    for function in callees(value)? {
        let (name, attributes) = name_and_attributes(function)?;
        names.push(name);
        for attribute in attributes {
            add_functions_at(&attribute, names, depth + 1)?;
        }
    }
    Ok(())
}

/// The NameAttrLists of an attribute.
fn callees(value: &Bytes) -> Result<Vec<Bytes>, String> {
    let mut found = Vec::new();
    for field in fields(value.clone()) {
        let field = field?;
        match field.number {
            10 => found.push(field.bytes()?),
            1 => {
                let list = fields(field.bytes()?).filter(|field| field.as_ref().map_or(true, |field| field.number == 9));
                found.extend(list.map(|field| field?.bytes()).collect::<Result<Vec<_>, String>>()?);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn name_and_attributes(function: Bytes) -> Result<(String, Vec<Bytes>), String> {
    let (mut name, mut attributes) = (String::new(), Vec::new());
    for field in fields(function) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => attributes.push(entry(field.bytes()?)?.1),
            _ => {}
        }
    }
    Ok((name, attributes))
}
