//! Reads a node's attributes, as far as they tell whether its operation keeps rows apart.

use std::collections::HashMap;

use prost::Message;

use super::proto::{AttrValue, Constant, TensorShape};
use crate::dtype::DType;

/// The most elements of a constant whose integers are kept: more than a tensor has dimensions and their paddings.
const INTEGERS_MAX: usize = 64;

/// The sizes of a tensor's dimensions, -1 where one is not known.
pub(super) type Sizes = Vec<i64>;

/// The attributes of a node.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The shape of each output as it was inferred when the graph was built. Functions have them, and the graph itself does not.
    pub(super) shapes: Vec<Option<Sizes>>,
    /// The shape of a placeholder, a variable or a constant.
    pub(super) shape: Option<Sizes>,
    /// The integers of a constant.
    pub(super) integers: Option<Vec<i64>>,
    /// The equation of an `Einsum`.
    pub(super) equation: String,
    /// Attributes that are an integer or a switch.
    numbers: HashMap<String, i64>,
}

impl Facts {
    pub(super) fn of(attributes: &HashMap<String, AttrValue>) -> Self {
        let shapes = attributes.get("_output_shapes").and_then(|value| value.list.as_ref());
        let number = |(name, value): (&String, &AttrValue)| (name.clone(), if value.switch { 1 } else { value.integer });
        let constant = attributes.get("value").filter(|value| !value.tensor.is_empty());
        let constant = constant.and_then(|value| Constant::decode(value.tensor.clone()).ok());
        let shape = attributes.get("shape").and_then(|value| value.shape.as_ref());
        let shape = shape.or_else(|| constant.as_ref().map(|constant| constant.shape.as_ref())?).and_then(sizes);
        Self {
            shapes: shapes.map(|list| list.shapes.iter().map(sizes).collect()).unwrap_or_default(),
            shape,
            integers: constant.as_ref().and_then(integers),
            equation: attributes.get("equation").map(|value| String::from_utf8_lossy(&value.text).into_owned()).unwrap_or_default(),
            numbers: attributes.iter().map(number).collect(),
        }
    }

    /// The value of an attribute that is an integer, or of a switch as 0 or 1. `None` if it has its default.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.numbers.get(name).copied()
    }
}

/// The sizes of a shape, if its rank is known.
fn sizes(shape: &TensorShape) -> Option<Sizes> {
    (!shape.is_unknown).then(|| shape.dims.iter().map(|dim| dim.size).collect())
}

/// The integers of a constant, if it has few. TensorFlow leaves out elements that equal the one before.
fn integers(constant: &Constant) -> Option<Vec<i64>> {
    let sizes = sizes(constant.shape.as_ref()?)?;
    let count = sizes.iter().try_fold(1_usize, |count, &size| count.checked_mul(usize::try_from(size).ok()?))?;
    if count > INTEGERS_MAX {
        return None;
    }
    let content = &constant.content;
    let dtype = DType::from_number(u32::try_from(constant.dtype).ok()?);
    let mut integers: Vec<i64> = if dtype == DType::Int32 {
        let packed = content.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes));
        constant.int32.iter().copied().chain(packed).map(i64::from).collect()
    } else if dtype == DType::Int64 {
        let packed = content.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        constant.int64.iter().copied().chain(packed).collect()
    } else {
        return None;
    };
    if integers.len() > count {
        return None;
    }
    let last = integers.last().copied().unwrap_or_default();
    integers.resize(count, last);
    Some(integers)
}
