//! One input while its values are being read, whatever its dtype.

use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer};
use tfweb_engine::{bf16, f16, DType, PackedStrings, PartialShape, Tensor, TensorSpec};

use super::context::{Context, Problem};
use super::elements::{Scalars, Texts};
use super::rules::ReadRules;
use super::scope::Scope;
use super::shape::SeenShape;
use super::values::Value;

/// The shape of every input, for dialects that do not check shapes.
static ANY_SHAPE: PartialShape = PartialShape::UNKNOWN;

/// One input while its values are being read.
pub(super) struct Input<'s, R> {
    /// The number of values so far: one, or one for each row.
    pub(super) values_read: usize,
    shape: SeenShape<'s>,
    collection: Collection<R>,
}

impl<'s, R: ReadRules> Input<'s, R> {
    /// Starts on an input; `None` where the dialect has no form for its dtype.
    pub(super) fn new(spec: &'s TensorSpec, rules: R) -> Option<Self> {
        let collection = Collection::new(spec.dtype, rules)?;
        let shape = if R::CHECKS_SHAPES { &spec.shape } else { &ANY_SHAPE };
        let shape = if collection.has_pairs() { SeenShape::of_pairs(shape) } else { SeenShape::new(shape) };
        Some(Self { values_read: 0, shape, collection })
    }

    /// Reads one value, whose lists start at dimension `start`: 0 for whole tensors, 1 for a row.
    pub(super) fn read<'de, D: Deserializer<'de>>(&mut self, json: D, context: &mut Context, start: usize) -> Result<(), D::Error> {
        self.values_read += 1;
        self.collection.read(json, &mut Scope { shape: &mut self.shape, context, start })?;
        if self.collection.has_pairs() && !self.shape.ends_in_pairs() {
            return Err(context.refuse(Problem::got("lists that do not end in pairs")));
        }
        Ok(())
    }

    /// The URLs of elements that are still to be fetched, each with its element's position, in order. The elements are empty.
    pub(super) fn take_urls(&mut self) -> Vec<(usize, String)> {
        self.collection.take_urls()
    }

    /// Makes the tensor of all values; `rows` where each value was a row.
    pub(super) fn into_tensor(self, rows: Option<usize>) -> Tensor {
        let mut dims = self.shape.finish(rows);
        if self.collection.has_pairs() {
            dims.pop();
        }
        self.collection.into_tensor(&dims)
    }
}

macro_rules! collections {
    ($($variant:ident($type:ty)),* $(,)?) => {
        /// The elements of one input, by dtype.
        enum Collection<R> {
            $($variant(Scalars<R, $type>),)*
            /// Complex numbers are read as their parts: the innermost lists are pairs.
            Complex64(Scalars<R, f32>),
            /// As above.
            Complex128(Scalars<R, f64>),
            String(Texts<R>),
        }

        impl<R: ReadRules> Collection<R> {
            /// An empty collection; `None` for a dtype that the dialect has no form for.
            fn new(dtype: DType, rules: R) -> Option<Self> {
                if !R::has_form(dtype) {
                    return None;
                }
                match dtype {
                    $(DType::$variant => Some(Self::$variant(Scalars { rules, values: Vec::new() })),)*
                    DType::Complex64 => Some(Self::Complex64(Scalars { rules, values: Vec::new() })),
                    DType::Complex128 => Some(Self::Complex128(Scalars { rules, values: Vec::new() })),
                    DType::String => Some(Self::String(Texts { rules, strings: PackedStrings::default(), urls: Vec::new() })),
                    DType::Other(_) => None,
                }
            }

            /// Whether the innermost lists are complex numbers.
            const fn has_pairs(&self) -> bool {
                matches!(self, Self::Complex64(_) | Self::Complex128(_))
            }

            fn read<'de, D: Deserializer<'de>>(&mut self, json: D, scope: &mut Scope<'_, '_>) -> Result<(), D::Error> {
                let depth = scope.start;
                match self {
                    $(Self::$variant(elements) => Value { elements, scope, depth }.deserialize(json),)*
                    Self::Complex64(elements) => Value { elements, scope, depth }.deserialize(json),
                    Self::Complex128(elements) => Value { elements, scope, depth }.deserialize(json),
                    Self::String(elements) => Value { elements, scope, depth }.deserialize(json),
                }
            }

            fn take_urls(&mut self) -> Vec<(usize, String)> {
                match self {
                    $(Self::$variant(_) => Vec::new(),)*
                    Self::Complex64(_) | Self::Complex128(_) => Vec::new(),
                    Self::String(elements) => std::mem::take(&mut elements.urls),
                }
            }

            fn into_tensor(self, dims: &[usize]) -> Tensor {
                match self {
                    $(Self::$variant(elements) => Tensor::from_vec(dims, elements.values),)*
                    Self::Complex64(elements) => Tensor::from_vec(dims, elements.values.as_chunks::<2>().0.to_vec()),
                    Self::Complex128(elements) => Tensor::from_vec(dims, elements.values.as_chunks::<2>().0.to_vec()),
                    Self::String(elements) => Tensor::from_strings(dims, Arc::new(elements.strings)),
                }
            }
        }
    };
}

collections! {
    Float16(f16), Bfloat16(bf16), Float32(f32), Float64(f64),
    Int8(i8), Int16(i16), Int32(i32), Int64(i64),
    Uint8(u8), Uint16(u16), Uint32(u32), Uint64(u64),
    Bool(bool),
}
