//! The elements of one input while they are being read: a vector of the dtype's own type, or packed strings.

use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer};
use tfweb_engine::{bf16, f16, DType, Tensor, TensorSpec};

use super::context::{Context, Found, Problem};
use super::numbers::FromJson;
use super::shape::SeenShape;
use super::strings::{decode_base64, PackedStrings};
use super::values::{Scope, Value};

/// Where an object such as `{"b64": "…"}` may stand for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapped {
    /// In the place of any element.
    Element,
    /// In the place of an input's whole value.
    Whole,
    /// Nowhere.
    Never,
}

/// Collects the elements of one input in the order they are read.
pub trait Elements {
    /// Their dtype.
    const DTYPE: DType;
    /// Where wrappers may stand.
    const WRAPPED: Wrapped;
    /// What is appended; nothing for strings, whose text is taken while it can be seen.
    type Item: Default;

    /// Makes room for `count` more.
    fn reserve(&mut self, count: usize);

    /// Makes an element of what was found; `None` where this dtype has none for it.
    fn make(&mut self, found: Found<'_>) -> Option<Self::Item>;

    /// Appends an element.
    fn append(&mut self, item: Self::Item);

    /// Takes the text of a `b64` wrapper: one element, or the bytes of a value whose lists would start at `depth`.
    fn push_base64(&mut self, text: &str, shape: &mut SeenShape<'_>, depth: usize) -> Result<(), Problem>;

    /// Takes the text of a `url` wrapper: the element is what can be fetched there.
    fn push_url(&mut self, _: &str) -> Result<(), Problem> {
        Err(Problem::got("an object with the key \"url\"").noting("only string inputs take urls"))
    }
}

impl<T: FromJson> Elements for Vec<T> {
    const DTYPE: DType = T::DTYPE;
    const WRAPPED: Wrapped = if matches!(T::DTYPE, DType::Bool) { Wrapped::Never } else { Wrapped::Whole };
    type Item = T;

    fn reserve(&mut self, count: usize) {
        Self::reserve(self, count);
    }

    #[inline(always)]
    fn make(&mut self, found: Found<'_>) -> Option<T> {
        T::from_json(found)
    }

    #[inline(always)]
    fn append(&mut self, item: T) {
        self.push(item);
    }

    fn push_base64(&mut self, text: &str, shape: &mut SeenShape<'_>, depth: usize) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        decode_base64(text, &mut bytes).map_err(not_base64)?;
        shape.fit_bytes(depth, bytes.len(), size_of::<T>())?;
        self.extend(bytes.chunks_exact(size_of::<T>()).map(T::read_le));
        Ok(())
    }
}

impl Elements for PackedStrings {
    const DTYPE: DType = DType::String;
    const WRAPPED: Wrapped = Wrapped::Element;
    type Item = ();

    fn reserve(&mut self, count: usize) {
        Self::reserve(self, count);
    }

    fn make(&mut self, found: Found<'_>) -> Option<()> {
        if let Found::Text(text) = found {
            self.push(text);
            Some(())
        } else {
            None
        }
    }

    fn append(&mut self, (): ()) {}

    fn push_base64(&mut self, text: &str, _: &mut SeenShape<'_>, _: usize) -> Result<(), Problem> {
        Self::push_base64(self, text).map_err(not_base64)
    }

    fn push_url(&mut self, text: &str) -> Result<(), Problem> {
        Self::push_url(self, text);
        Ok(())
    }
}

fn not_base64(what: String) -> Problem {
    Problem::expected("base64 in \"b64\"", "other text").noting(what)
}

macro_rules! collections {
    ($($variant:ident($type:ty)),* $(,)?) => {
        /// The elements of one input, by dtype.
        enum Collection {
            $($variant(Vec<$type>),)*
            String(PackedStrings),
        }

        impl Collection {
            /// An empty collection; `None` for a dtype that is not served.
            fn new(dtype: DType) -> Option<Self> {
                match dtype {
                    $(DType::$variant => Some(Self::$variant(Vec::new())),)*
                    DType::String => Some(Self::String(PackedStrings::default())),
                    DType::Complex64 | DType::Complex128 | DType::Other(_) => None,
                }
            }

            fn read<'de, D: Deserializer<'de>>(&mut self, json: D, scope: &mut Scope<'_, '_>) -> Result<(), D::Error> {
                let depth = scope.start;
                match self {
                    $(Self::$variant(elements) => Value { elements, scope, depth }.deserialize(json),)*
                    Self::String(elements) => Value { elements, scope, depth }.deserialize(json),
                }
            }

            /// Elements that are still to be fetched, by their position, in order.
            fn take_urls(&mut self) -> Vec<(usize, String)> {
                match self {
                    $(Self::$variant(_) => Vec::new(),)*
                    Self::String(elements) => elements.take_urls(),
                }
            }

            fn into_tensor(self, dims: &[usize]) -> Tensor {
                match self {
                    $(Self::$variant(elements) => Tensor::from_vec(dims, elements),)*
                    Self::String(elements) => Tensor::from_strings(dims, Arc::new(elements)),
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

/// One input while its values are being read.
pub struct Input<'s> {
    /// How many values were given: one, or one per example.
    pub values_read: usize,
    shape: SeenShape<'s>,
    collection: Collection,
}

impl<'s> Input<'s> {
    /// Starts on an input; `None` where its dtype is not served.
    pub fn new(spec: &'s TensorSpec) -> Option<Self> {
        Some(Self { values_read: 0, shape: SeenShape::new(&spec.shape), collection: Collection::new(spec.dtype)? })
    }

    /// Reads one value, whose lists start at dimension `start`: 0 for whole tensors, 1 for a row.
    pub fn read<'de, D: Deserializer<'de>>(&mut self, json: D, context: &mut Context, start: usize) -> Result<(), D::Error> {
        self.values_read += 1;
        self.collection.read(json, &mut Scope { shape: &mut self.shape, context, start })
    }

    /// Elements that are still to be fetched, by their position, in order. They are empty until then.
    pub fn take_urls(&mut self) -> Vec<(usize, String)> {
        self.collection.take_urls()
    }

    /// Makes the tensor of what was read; `rows` where each value was a row.
    pub fn into_tensor(self, rows: Option<usize>) -> Tensor {
        self.collection.into_tensor(&self.shape.finish(rows))
    }
}
