//! Objects that stand for a value: `{"b64": "…"}` and `{"url": "…"}`.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tfweb_engine::quoted;

use super::context::{Context, Problem};
use super::elements::Elements;
use super::found::Found;
use super::scope::{visit_scalars, Scope};

/// Reads an object with the single key `b64` or `url`.
pub(super) fn read_wrapper<'de, C: Elements, A: MapAccess<'de>>(
    elements: &mut C,
    scope: &mut Scope<'_, '_>,
    mut object: A,
) -> Result<(), A::Error> {
    let expected = C::EXPECTED;
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
            WrapperKind::Url => self.scope.context.count_url().and_then(|()| self.elements.push_url(text)),
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

impl<'de, C: Elements> DeserializeSeed<'de> for WrapperText<'_, '_, '_, C> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for WrapperText<'_, '_, '_, C> {
    type Value = ();

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse_kind(Found::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse_kind(Found::Object))
    }
}
