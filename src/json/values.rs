//! Reads one input's value, nested lists and all, straight into its elements.
//!
//! The innermost lists are read in a loop of their own that knows its values are elements: this is where the time goes.
//! Depth is bounded by the signature's rank, or by [`RANK_MAX`](tfweb_engine::RANK_MAX) where it has none.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tfweb_engine::{Code, DType};

use super::context::{quoted, Context, Found, Problem};
use super::elements::{Elements, Wrapped};
use super::shape::SeenShape;

/// Sends every value that is neither a list nor an object to the visitor's `scalar`.
macro_rules! visit_scalars {
    () => {
        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
            self.scalar(Found::Bool(value))
        }

        #[inline(always)]
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
            self.scalar(Found::Signed(value))
        }

        #[inline(always)]
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
            self.scalar(Found::Unsigned(value))
        }

        #[inline(always)]
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
            self.scalar(Found::Float(value))
        }

        #[inline(always)]
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
            self.scalar(Found::Text(value))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            self.scalar(Found::Null)
        }
    };
}
pub(super) use visit_scalars;

/// What the readers of one value share beside its elements; one pointer, for the sake of the innermost loop.
pub(super) struct Scope<'a, 's> {
    pub(super) shape: &'a mut SeenShape<'s>,
    pub(super) context: &'a mut Context,
    /// The dimension at which the value's own lists start: 0 for whole tensors, 1 for a row.
    pub(super) start: usize,
}

impl Scope<'_, '_> {
    /// Refuses a value at a depth where none of its kind belongs.
    #[cold]
    fn misplaced<E: de::Error>(&mut self, found: Found<'_>) -> E {
        let problem = self.shape.noting_rank(Problem::got(found.to_string()));
        self.context.refuse(problem)
    }

    /// Whether elements stand at `depth`; the first value settles it where the signature does not.
    fn is_element_depth(&mut self, depth: usize) -> bool {
        self.shape.settle_rank(depth);
        self.shape.rank() == Some(depth)
    }

    /// How many elements to make room for at the start of a value: as many as the signature tells of and the body could spell.
    fn reserve(&mut self) -> usize {
        let count = self.shape.elements_min(self.start).min(self.context.reserve_elements);
        self.context.reserve_elements -= count;
        count
    }
}

/// Reads what stands at dimension `depth`: a list, or an element where the rank is reached.
pub(super) struct Value<'a, 'b, 's, C> {
    pub(super) elements: &'a mut C,
    pub(super) scope: &'a mut Scope<'b, 's>,
    pub(super) depth: usize,
}

impl<'b, 's, C: Elements> Value<'_, 'b, 's, C> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        if self.scope.is_element_depth(self.depth) {
            Element { elements: self.elements, scope: self.scope }.scalar(found)
        } else {
            Err(self.scope.misplaced(found))
        }
    }

    fn read_list<'de, A: SeqAccess<'de>>(&mut self, list: &mut A, count: &mut usize) -> Result<(), A::Error> {
        if self.scope.shape.rank().is_none() {
            // The first value settles the rank, which decides how the rest are read.
            if list.next_element_seed(self.below())?.is_none() {
                self.scope.shape.settle_rank(self.depth + 1);
                return Ok(());
            }
            *count += 1;
        }
        if self.scope.shape.rank() == Some(self.depth + 1) {
            while list.next_element_seed(Element { elements: self.elements, scope: self.scope })?.is_some() {
                *count += 1;
            }
        } else {
            while list.next_element_seed(self.below())?.is_some() {
                *count += 1;
            }
        }
        Ok(())
    }

    fn below(&mut self) -> Value<'_, 'b, 's, C> {
        Value { elements: self.elements, scope: self.scope, depth: self.depth + 1 }
    }
}

impl<'de, C: Elements> DeserializeSeed<'de> for Value<'_, '_, '_, C> {
    type Value = ();

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for Value<'_, '_, '_, C> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        if !self.scope.shape.takes_list(self.depth) {
            return Err(self.scope.context.refuse(self.scope.shape.too_deep()));
        }
        if self.depth == self.scope.start {
            self.elements.reserve(self.scope.reserve());
        }
        let mut count = 0;
        if let Err(error) = self.read_list(&mut list, &mut count) {
            self.scope.context.leave_list(count);
            return Err(error);
        }
        if !self.scope.shape.takes_length(self.depth, count) {
            return Err(self.scope.context.refuse(self.scope.shape.other_length(self.depth, count)));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        let is_whole = C::WRAPPED == Wrapped::Whole && self.depth == self.scope.start;
        if is_whole {
            read_wrapper(self.elements, self.scope, object)
        } else if self.scope.is_element_depth(self.depth) {
            Element { elements: self.elements, scope: self.scope }.visit_map(object)
        } else {
            Err(self.scope.misplaced(Found::Object))
        }
    }
}

/// Reads one element, or the wrapper that stands for one.
struct Element<'a, 'b, 's, C> {
    elements: &'a mut C,
    scope: &'a mut Scope<'b, 's>,
}

impl<C: Elements> Element<'_, '_, '_, C> {
    #[inline(always)]
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        if self.elements.push(found) {
            Ok(())
        } else {
            Err(self.scope.context.refuse_element(found, C::DTYPE))
        }
    }
}

impl<'de, C: Elements> DeserializeSeed<'de> for Element<'_, '_, '_, C> {
    type Value = ();

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for Element<'_, '_, '_, C> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element")
    }

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.scope.misplaced(Found::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        match C::WRAPPED {
            Wrapped::Element => read_wrapper(self.elements, self.scope, object),
            Wrapped::Whole => {
                let problem = Problem::got(Found::Object.to_string()).noting("{\"b64\": …} stands for an input's whole value only");
                Err(self.scope.context.refuse(problem))
            }
            Wrapped::Never => Err(self.scope.context.refuse(Problem::got(Found::Object.to_string()))),
        }
    }
}

/// Reads an object with the single key `b64` or `url`.
fn read_wrapper<'de, C: Elements, A: MapAccess<'de>>(
    elements: &mut C,
    scope: &mut Scope<'_, '_>,
    mut object: A,
) -> Result<(), A::Error> {
    let expected = if C::DTYPE == DType::String { "text, {\"b64\": …} or {\"url\": …}" } else { "lists or {\"b64\": …}" };
    let Some(kind) = object.next_key_seed(WrapperKey { expected, context: scope.context })? else {
        return Err(scope.context.refuse(Problem::expected(expected, "an empty object")));
    };
    object.next_value_seed(WrapperText { kind, elements, scope })?;
    if object.next_key::<IgnoredAny>()?.is_some() {
        return Err(scope.context.refuse(Problem::expected(expected, "an object with more than the single key")));
    }
    Ok(())
}

/// The key of a wrapper.
#[derive(Clone, Copy)]
enum WrapperKind {
    B64,
    Url,
}

struct WrapperKey<'a> {
    expected: &'static str,
    context: &'a mut Context,
}

impl<'de> DeserializeSeed<'de> for WrapperKey<'_> {
    type Value = WrapperKind;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<WrapperKind, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for WrapperKey<'_> {
    type Value = WrapperKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<WrapperKind, E> {
        match key {
            "b64" => Ok(WrapperKind::B64),
            "url" => Ok(WrapperKind::Url),
            _ => Err(self.context.refuse(Problem::expected(self.expected, format!("an object with the key {}", quoted(key))))),
        }
    }
}

/// Reads the text of a wrapper.
struct WrapperText<'a, 'b, 's, C> {
    kind: WrapperKind,
    elements: &'a mut C,
    scope: &'a mut Scope<'b, 's>,
}

impl<C: Elements> WrapperText<'_, '_, '_, C> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        let Found::Text(text) = found else {
            return Err(self.refuse_kind(found));
        };
        let read = match self.kind {
            WrapperKind::B64 => self.elements.push_base64(text, self.scope.shape, self.scope.start),
            WrapperKind::Url => push_url(self.elements, text),
        };
        read.map_err(|problem| self.scope.context.refuse(problem))
    }

    fn refuse_kind<E: de::Error>(self, found: Found<'_>) -> E {
        let key = match self.kind {
            WrapperKind::B64 => "b64",
            WrapperKind::Url => "url",
        };
        self.scope.context.refuse(Problem::expected(format!("text in \"{key}\""), found.to_string()))
    }
}

/// Takes the address in a `url` wrapper: the element is what can be fetched there.
fn push_url<C: Elements>(_: &mut C, _: &str) -> Result<(), Problem> {
    if C::DTYPE == DType::String {
        return Err(Problem::Other(Code::Unimplemented, "url inputs are not available yet in this version".into()));
    }
    Err(Problem::got("an object with the key \"url\"").noting("only string inputs take urls"))
}

impl<'de, C: Elements> DeserializeSeed<'de> for WrapperText<'_, '_, '_, C> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for WrapperText<'_, '_, '_, C> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse_kind(Found::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse_kind(Found::Object))
    }
}
