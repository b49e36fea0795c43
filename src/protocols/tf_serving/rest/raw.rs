//! Looks at JSON values that are still text: at their kind, and at their parts one at a time. It collects nothing, so that a body
//! of many small values costs no more memory here than its text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The most characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// The kinds of JSON values. NaN and the infinities are numbers here, though JSON has no tokens for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    False,
    True,
    Object,
    Array,
    String,
    Number,
}

impl Kind {
    /// Its name in errors.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "Null",
            Self::False => "False",
            Self::True => "True",
            Self::Object => "Object",
            Self::Array => "Array",
            Self::String => "String",
            Self::Number => "Number",
        }
    }
}

/// The kind of a value, by its first character.
pub(super) fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') if token(value).is_some() => Kind::Number,
        Some(b'"') => Kind::String,
        Some(b't') => Kind::True,
        Some(b'f') => Kind::False,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// The text of a value in an error, cut to a length that fits a line.
pub(super) fn shown(value: &RawValue) -> Cow<'_, str> {
    token(value).map_or_else(|| shown_text(value.get()), Cow::Borrowed)
}

/// Text in an error, cut to a length that fits a line.
pub(super) fn shown_text(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// `NaN`, `Infinity` or `-Infinity`, where [`super::document`] put such a token in quotes.
fn token(value: &RawValue) -> Option<&str> {
    value.get().strip_prefix("\"\\u0000")?.strip_suffix('"').filter(|text| matches!(*text, "NaN" | "Infinity" | "-Infinity"))
}

/// The text of a string.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    if kind(value) != Kind::String {
        return None;
    }
    let quoted = value.get();
    if !quoted.contains('\\') {
        return quoted.get(1..quoted.len() - 1).map(Cow::Borrowed);
    }
    serde_json::from_str(quoted).ok().map(Cow::Owned)
}

/// The text in `{"b64": "…"}`; `None` for every other value.
pub(super) fn base64_text(value: &RawValue) -> Option<Cow<'_, str>> {
    let mut found = None;
    let mut others = 0;
    let _ = each_entry(value, |key, value| {
        let is_base64 = key == "b64" && found.is_none();
        found = if is_base64 { text(value) } else { None };
        others += usize::from(!is_base64);
        if others > 0 {
            Err(())
        } else {
            Ok(())
        }
    });
    found.filter(|_| others == 0)
}

/// Whether a value is an object and not wrapped bytes.
pub(super) fn is_object(value: &RawValue) -> bool {
    kind(value) == Kind::Object && base64_text(value).is_none()
}

/// Calls `visit` with each value of an array, until it refuses one. Gives the number of values.
///
/// # Errors
/// The error with which `visit` refused a value.
pub(super) fn each_value<'a, E>(value: &'a RawValue, visit: impl FnMut(usize, &'a RawValue) -> Result<(), E>) -> Result<usize, E> {
    #[cfg(test)]
    visited::add(value);
    let mut values = Values { visit, count: 0, refused: None };
    // The text was parsed before, so it is JSON.
    let _ = serde_json::Deserializer::from_str(value.get()).deserialize_seq(&mut values);
    values.refused.map_or(Ok(values.count), Err)
}

/// The first value of an array.
pub(super) fn first(value: &RawValue) -> Option<&RawValue> {
    let mut first = None;
    let _ = each_value(value, |_, value| {
        first = Some(value);
        Err(())
    });
    first
}

/// Whether the first value of an array is an object and not wrapped bytes; `None` where the array is empty. Unlike [`first`] it
/// looks no further than it must, because a single row may fill the whole body.
pub(super) fn starts_with_object(array: &RawValue) -> Option<bool> {
    let text = array.get().strip_prefix('[')?.trim_start();
    if text.starts_with(']') {
        return None;
    }
    let Some(entries) = text.strip_prefix('{') else { return Some(false) };
    let key = entries.trim_start();
    let may_be_bytes = key.starts_with("\"b") || key.starts_with("\"\\");
    Some(!may_be_bytes || first(array).is_some_and(is_object))
}

/// Calls `visit` with each key and value of an object, until it refuses one.
///
/// # Errors
/// The error with which `visit` refused an entry.
pub(super) fn each_entry<'a, E>(value: &'a RawValue, visit: impl FnMut(&str, &'a RawValue) -> Result<(), E>) -> Result<(), E> {
    #[cfg(test)]
    visited::add(value);
    let mut entries = Entries { visit, refused: None };
    let _ = serde_json::Deserializer::from_str(value.get()).deserialize_map(&mut entries);
    entries.refused.map_or(Ok(()), Err)
}

struct Values<F, E> {
    visit: F,
    count: usize,
    refused: Option<E>,
}

impl<'de, E, F: FnMut(usize, &'de RawValue) -> Result<(), E>> Visitor<'de> for &mut Values<F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<&RawValue>()? {
            if let Err(refused) = (self.visit)(self.count, value) {
                self.refused = Some(refused);
                return Err(A::Error::custom(""));
            }
            self.count += 1;
        }
        Ok(())
    }
}

struct Entries<F, E> {
    visit: F,
    refused: Option<E>,
}

impl<'de, E, F: FnMut(&str, &'de RawValue) -> Result<(), E>> Visitor<'de> for &mut Entries<F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Key<'_>>()? {
            let value = object.next_value::<&RawValue>()?;
            if let Err(refused) = (self.visit)(&key.0, value) {
                self.refused = Some(refused);
                return Err(A::Error::custom(""));
            }
        }
        Ok(())
    }
}

/// A key, borrowed from the text where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Counts the bytes of every value whose parts are visited, so that a test can tell how often a body is read.
#[cfg(test)]
pub(super) mod visited {
    use std::cell::Cell;

    use serde_json::value::RawValue;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(value: &RawValue) {
        BYTES.set(BYTES.get() + value.get().len());
    }

    /// The bytes that were read on this thread since the last call.
    pub(in super::super) fn take() -> usize {
        BYTES.take()
    }
}
