//! Which JSON values this door's inputs take: as [`tfweb_codec::json`] reads them, straight into the tensor's memory, but with
//! TensorFlow Serving's rules. A number with a fraction is no whole number, text is no number, bytes are strings only, and
//! shapes come from the values alone.

use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer};
use tfweb_engine::{DType, PartialShape, Scalar, Tensor};

use tfweb_codec::json::context::{Context, Found, Problem};
use tfweb_codec::json::elements::{Elements, Wrapped};
use tfweb_codec::json::shape::SeenShape;
use tfweb_codec::json::strings::{self, PackedStrings};
use tfweb_codec::json::values::{Scope, Value};

/// Shapes are never checked against the signature's: TensorFlow runs what it is fed.
static ANY_SHAPE: PartialShape = PartialShape::UNKNOWN;

/// A scalar that a JSON value turns into.
trait FromValue: Scalar {
    /// The element that `found` stands for; `None` where this dtype has none.
    fn from_value(found: Found<'_>) -> Option<Self>;
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            #[inline(always)]
            fn from_value(found: Found<'_>) -> Option<Self> {
                match found {
                    // What is too large becomes infinite.
                    Found::Float(value) => Some(value as $type),
                    Found::Unsigned(value) => Some(value as $type),
                    Found::Signed(value) => Some(value as $type),
                    Found::Text("\0NaN") => Some(<$type>::NAN),
                    Found::Text("\0Infinity") => Some(<$type>::INFINITY),
                    Found::Text("\0-Infinity") => Some(<$type>::NEG_INFINITY),
                    Found::Text(_) | Found::Bool(_) | Found::Null | Found::List | Found::Object => None,
                }
            }
        }
    )*};
}

floats!(f32, f64);

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            #[inline(always)]
            fn from_value(found: Found<'_>) -> Option<Self> {
                match found {
                    Found::Unsigned(value) => value.try_into().ok(),
                    Found::Signed(value) => value.try_into().ok(),
                    // serde_json reads -0 as a float.
                    Found::Float(value) if value == 0.0 && value.is_sign_negative() => Some(0),
                    Found::Float(_) | Found::Text(_) | Found::Bool(_) | Found::Null | Found::List | Found::Object => None,
                }
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u32, u64);

impl FromValue for bool {
    fn from_value(found: Found<'_>) -> Option<Self> {
        if let Found::Bool(value) = found {
            Some(value)
        } else {
            None
        }
    }
}

struct Scalars<T>(Vec<T>);

impl<T: FromValue> Elements for Scalars<T> {
    const DTYPE: DType = T::DTYPE;
    const WRAPPED: Wrapped = Wrapped::Never;
    type Item = T;

    fn reserve(&mut self, count: usize) {
        self.0.reserve(count);
    }

    #[inline(always)]
    fn make(&mut self, found: Found<'_>) -> Option<T> {
        T::from_value(found)
    }

    #[inline(always)]
    fn append(&mut self, item: T) {
        self.0.push(item);
    }

    fn push_base64(&mut self, _: &str, _: &mut SeenShape<'_>, _: usize) -> Result<(), Problem> {
        Err(Problem::got("bytes"))
    }
}

struct Texts {
    strings: PackedStrings,
    /// Whether tokens of the body were put in quotes, so that text with a NUL before it may be a number.
    tokens: bool,
}

impl Elements for Texts {
    const DTYPE: DType = DType::String;
    const WRAPPED: Wrapped = Wrapped::Element;
    type Item = ();

    fn reserve(&mut self, count: usize) {
        self.strings.reserve(count);
    }

    fn make(&mut self, found: Found<'_>) -> Option<()> {
        match found {
            Found::Text("\0NaN" | "\0Infinity" | "\0-Infinity") if self.tokens => None,
            Found::Text(text) => {
                self.strings.push(text);
                Some(())
            }
            Found::Unsigned(_)
            | Found::Signed(_)
            | Found::Float(_)
            | Found::Bool(_)
            | Found::Null
            | Found::List
            | Found::Object => None,
        }
    }

    fn append(&mut self, (): ()) {}

    fn push_base64(&mut self, text: &str, _: &mut SeenShape<'_>, _: usize) -> Result<(), Problem> {
        if is_url_safe(text) {
            return Err(Problem::got("other text"));
        }
        self.strings.push_base64(text).map_err(Problem::got)
    }

    fn push_url(&mut self, _: &str) -> Result<(), Problem> {
        Err(Problem::got("an object"))
    }
}

/// Whether base64 text has characters of the URL-safe alphabet, which the other door takes too, and this one does not.
fn is_url_safe(text: &str) -> bool {
    text.contains(['-', '_'])
}

/// The bytes that base64 text stands for.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    (!is_url_safe(text) && strings::decode_base64(text, &mut bytes).is_ok()).then_some(bytes)
}

macro_rules! collections {
    ($($variant:ident($type:ty)),* $(,)?) => {
        /// The elements of one input, by dtype.
        enum Collection {
            $($variant(Scalars<$type>),)*
            String(Texts),
        }

        impl Collection {
            #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else there is has no JSON form here")]
            fn new(dtype: DType, tokens: bool) -> Option<Self> {
                match dtype {
                    $(DType::$variant => Some(Self::$variant(Scalars(Vec::new()))),)*
                    DType::String => Some(Self::String(Texts { strings: PackedStrings::default(), tokens })),
                    _ => None,
                }
            }

            fn read<'de, D: Deserializer<'de>>(&mut self, json: D, scope: &mut Scope<'_, '_>) -> Result<(), D::Error> {
                let depth = scope.start;
                match self {
                    $(Self::$variant(elements) => Value { elements, scope, depth }.deserialize(json),)*
                    Self::String(elements) => Value { elements, scope, depth }.deserialize(json),
                }
            }

            fn into_tensor(self, dims: &[usize]) -> Tensor {
                match self {
                    $(Self::$variant(elements) => Tensor::from_vec(dims, elements.0),)*
                    Self::String(elements) => Tensor::from_strings(dims, Arc::new(elements.strings)),
                }
            }
        }
    };
}

collections! {
    Float32(f32), Float64(f64),
    Int8(i8), Int16(i16), Int32(i32), Int64(i64),
    Uint8(u8), Uint32(u32), Uint64(u64),
    Bool(bool),
}

/// Whether a dtype has a JSON form at this door.
pub(super) const fn has_form(dtype: DType) -> bool {
    dtype.is_served() && !matches!(dtype, DType::Float16 | DType::Bfloat16 | DType::Uint16)
}

/// One input while its values are being read.
pub(super) struct Input {
    /// How many values were given: one, or one a row.
    pub(super) values_read: usize,
    shape: SeenShape<'static>,
    collection: Collection,
}

impl Input {
    /// Starts on an input; `None` where its dtype has no JSON form here.
    pub(super) fn new(dtype: DType, tokens: bool) -> Option<Self> {
        Some(Self { values_read: 0, shape: SeenShape::new(&ANY_SHAPE), collection: Collection::new(dtype, tokens)? })
    }

    /// Reads one value, whose lists start at dimension `start`: 0 for whole tensors, 1 for a row.
    pub(super) fn read<'de, D: Deserializer<'de>>(&mut self, json: D, context: &mut Context, start: usize) -> Result<(), D::Error> {
        self.values_read += 1;
        self.collection.read(json, &mut Scope { shape: &mut self.shape, context, start })
    }

    /// Makes the tensor of what was read; `rows` where each value was a row.
    pub(super) fn into_tensor(self, rows: Option<usize>) -> Tensor {
        self.collection.into_tensor(&self.shape.finish(rows))
    }
}
