//! The elements of one input while they are being read: a vector of the dtype's own type, or packed strings.

use tfweb_engine::{bf16, f16, DType, PackedStrings, Scalar, StringStorage};

use super::base64_text::decode_base64;
use super::context::Problem;
use super::found::Found;
use super::rules::ReadRules;
use super::shape::SeenShape;

/// Where an object such as `{"b64": "…"}` may stand for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapped {
    /// In the place of any element.
    Element,
    /// In the place of an input's whole value.
    Whole,
    /// Nowhere.
    Never,
}

/// Collects the elements of one input in the order they are read.
pub(super) trait Elements {
    /// Their dtype.
    const DTYPE: DType;
    /// Where wrappers may stand.
    const WRAPPED: Wrapped;
    /// The values that an error expects in the place of another object.
    const EXPECTED: &'static str;
    /// The type that `append` takes: nothing for strings, because `make` copies their text while serde shows it.
    type Item: Default;

    /// Makes room for `count` more.
    fn reserve(&mut self, count: usize);

    /// Makes an element of a value; `None` where the dialect has none for it.
    fn make(&mut self, found: Found<'_>) -> Option<Self::Item>;

    /// Appends an element.
    fn append(&mut self, item: Self::Item);

    /// Takes the text of a `b64` wrapper: one element, or the bytes of a value whose lists would start at `depth`.
    fn push_base64(&mut self, text: &str, shape: &mut SeenShape<'_>, depth: usize) -> Result<(), Problem>;

    /// Takes the text of a `url` wrapper. The element is the body that will be fetched from there.
    fn push_url(&mut self, text: &str) -> Result<(), Problem>;
}

/// The elements of an input of numbers or bools.
pub(super) struct Scalars<R, T> {
    pub(super) rules: R,
    pub(super) values: Vec<T>,
}

impl<R: ReadRules, T: FromJson> Elements for Scalars<R, T> {
    const DTYPE: DType = T::DTYPE;
    const WRAPPED: Wrapped = if R::NUMBERS_AS_BASE64 && T::IS_NUMBER { Wrapped::Whole } else { Wrapped::Never };
    const EXPECTED: &'static str = "lists or {\"b64\": …}";
    type Item = T;

    fn reserve(&mut self, count: usize) {
        self.values.reserve(count);
    }

    #[inline(always)]
    fn make(&mut self, found: Found<'_>) -> Option<T> {
        T::from_json(self.rules, found)
    }

    #[inline(always)]
    fn append(&mut self, item: T) {
        self.values.push(item);
    }

    fn push_base64(&mut self, text: &str, shape: &mut SeenShape<'_>, depth: usize) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        decode_base64::<R>(text, &mut bytes).map_err(not_base64)?;
        shape.fit_bytes(depth, bytes.len(), size_of::<T>())?;
        self.values.extend(bytes.chunks_exact(size_of::<T>()).map(T::read_le));
        Ok(())
    }

    fn push_url(&mut self, _: &str) -> Result<(), Problem> {
        let problem = Problem::got("an object with the key \"url\"");
        Err(if R::URLS { problem.noting("only string inputs take urls") } else { problem })
    }
}

/// The elements of an input of strings.
pub(super) struct Texts<R> {
    pub(super) rules: R,
    pub(super) strings: PackedStrings,
    /// The URLs of strings to be fetched, each with its string's position, in order. Until then the string is empty.
    pub(super) urls: Vec<(usize, String)>,
}

impl<R: ReadRules> Elements for Texts<R> {
    const DTYPE: DType = DType::String;
    const WRAPPED: Wrapped = Wrapped::Element;
    const EXPECTED: &'static str = if R::URLS { "text, {\"b64\": …} or {\"url\": …}" } else { "text or {\"b64\": …}" };
    type Item = ();

    fn reserve(&mut self, count: usize) {
        self.strings.reserve(count, 0);
    }

    #[inline(always)]
    fn make(&mut self, found: Found<'_>) -> Option<()> {
        self.rules.text(found).map(|text| self.strings.push(text.as_bytes()))
    }

    fn append(&mut self, (): ()) {}

    fn push_base64(&mut self, text: &str, _: &mut SeenShape<'_>, _: usize) -> Result<(), Problem> {
        self.strings.push_with(|bytes| decode_base64::<R>(text, bytes)).map_err(not_base64)
    }

    fn push_url(&mut self, text: &str) -> Result<(), Problem> {
        if R::URLS {
            self.urls.push((self.strings.count(), text.to_owned()));
            self.strings.push(b"");
            Ok(())
        } else {
            Err(Problem::expected(Self::EXPECTED, "an object with the key \"url\""))
        }
    }
}

fn not_base64(fault: String) -> Problem {
    Problem::expected("base64 in \"b64\"", "other text").noting(fault)
}

/// A scalar that JSON values turn into, by the rules of a dialect.
pub(super) trait FromJson: Scalar {
    /// Whether it is a number, and no bool.
    const IS_NUMBER: bool;

    /// The element that a value stands for, if any.
    fn from_json<R: ReadRules>(rules: R, found: Found<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($rule:ident: $($type:ty),*;)*) => {$($(
        impl FromJson for $type {
            const IS_NUMBER: bool = true;

            #[inline(always)]
            fn from_json<R: ReadRules>(rules: R, found: Found<'_>) -> Option<Self> {
                rules.$rule(found)
            }
        }
    )*)*};
}

numbers! {
    float: f16, bf16, f32, f64;
    integer: i8, i16, i32, i64, u8, u16, u32, u64;
}

impl FromJson for bool {
    const IS_NUMBER: bool = false;

    fn from_json<R: ReadRules>(_: R, found: Found<'_>) -> Option<Self> {
        if let Found::Bool(value) = found {
            Some(value)
        } else {
            None
        }
    }
}
