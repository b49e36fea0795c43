//! The nodes that take the place of variables.

use std::collections::HashSet;

use bytes::Bytes;

use super::attributes::{of_dtype, of_texts, Attribute};
use super::messages::Node;
use super::variables::element_bytes;
use super::wire::Rope;
use crate::dtype::DType;
use crate::shape::{element_count, Dims};

/// The prefix of names of nodes in lists of nodes that have to be on the same device.
const LOCATION: &[u8] = b"loc:@";

/// The value of a variable.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// The variable's name in the plan.
    pub(crate) variable: String,
    pub(crate) dtype: DType,
    pub(crate) dims: Dims,
    /// The elements, row by row, as TensorFlow has them in memory.
    pub(crate) bytes: Bytes,
}

impl Value {
    /// Checks that the value has whole elements of `dtype`, as many as its shape says.
    pub(super) fn check(&self, dtype: DType) -> Result<(), String> {
        let Self { variable, dtype: found, dims, bytes } = self;
        if *found != dtype {
            return Err(format!("the value of `{variable}`: expected {dtype}, found {found}"));
        }
        let expected = element_count(dims).zip(element_bytes(dtype)).and_then(|(count, bytes)| count.checked_mul(bytes));
        if expected == Some(bytes.len()) {
            return Ok(());
        }
        Err(format!("the value of `{variable}`: expected the bytes of {dtype} of shape {dims:?}, found {} bytes", bytes.len()))
    }
}

/// The serialized constant with the name and the place of `node`, and with a value.
pub(super) fn constant(node: &Node, value: &Value) -> Rope {
    let mut shape = Rope::default();
    for dim in &value.dims {
        let mut message = Rope::default();
        message.integer(1, *dim as u64);
        shape.nested(2, message);
    }
    let mut tensor = Rope::default();
    tensor.integer(1, value.dtype.number().into());
    tensor.nested(2, shape);
    tensor.shared(4, &value.bytes);
    let mut attribute = Rope::default();
    attribute.nested(8, tensor);
    stand_in(node, "Const", [("dtype", of_dtype(value.dtype.number()))]).write(Some(("value", attribute)))
}

/// The serialized node that gives the output of the node `first`, the constant of the same variable, in place of `node`.
pub(super) fn same(node: &Node, first: &str, dtype: DType) -> Rope {
    let mut same = stand_in(node, "Identity", [("T", of_dtype(dtype.number()))]);
    same.inputs.insert(0, first.to_owned());
    same.write(None)
}

/// Leaves out of the list of nodes on the same device those that are not `there`: TensorFlow takes no graph that names them.
pub(super) fn without_missing(node: &mut Node, there: &HashSet<&str>) {
    let Some(class) = node.attributes.get("_class") else { return };
    let is_there = |text: &&Bytes| {
        let name = text.strip_prefix(LOCATION).map(std::str::from_utf8);
        name.is_none_or(|name| name.is_ok_and(|name| there.contains(name)))
    };
    let class = Attribute::read(Some(class));
    let found: Vec<Bytes> = class.texts().iter().filter(is_there).cloned().collect();
    if found.is_empty() {
        node.attributes.remove("_class");
    } else if found.len() < class.texts().len() {
        node.attributes.insert("_class".into(), of_texts(found));
    }
}

/// A node with the name, the place and the order of `node`, and with another operation.
fn stand_in<const N: usize>(node: &Node, op: &str, attributes: [(&str, Bytes); N]) -> Node {
    let mut other = node.clone();
    other.op = op.into();
    other.full_type.clear();
    other.attributes.retain(|name, _| name == "_class");
    other.attributes.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
    other
}
