//! The request document: an object whose keys name the signature and hold its inputs. The inputs stay unread text here, because
//! only the signature tells how to read them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tfweb_engine::Error;

use super::raw::{self, Kind};

/// The most names in an output filter: more than any signature has outputs. They are held as a list.
const FILTER_NAMES_MAX: usize = 4096;

/// The keys of a request. Of two equal keys the first counts; unknown keys are ignored.
#[derive(Default)]
pub(super) struct Document<'a> {
    pub(super) signature_name: Option<&'a RawValue>,
    pub(super) instances: Option<&'a RawValue>,
    pub(super) inputs: Option<&'a RawValue>,
    pub(super) output_filter: Option<&'a RawValue>,
    pub(super) context: Option<&'a RawValue>,
    pub(super) examples: Option<&'a RawValue>,
    /// Whether [`read`] put tokens in quotes.
    pub(super) tokens: bool,
    /// The text of the whole document.
    text: &'a str,
}

/// Reads a document. JSON has no NaN and no infinities, but clients send such tokens. In `quoted` they become strings that start
/// with a NUL. Bodies without them, nearly all, are not copied.
///
/// # Errors
/// `InvalidArgument` for a body that is not JSON, apart from such tokens, or that is no object.
pub(super) fn read<'a>(body: &'a [u8], quoted: &'a mut String) -> Result<Document<'a>, Error> {
    if body.is_empty() {
        return Err(Error::invalid("JSON Parse error: The document is empty"));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::invalid(format!("JSON Parse error: Invalid encoding in string. at offset: {}", error.valid_up_to()))
    })?;
    let error = match Document::parse(text) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    if text.contains(['N', 'I']) {
        *quoted = quote_tokens(text);
        if check(quoted).is_ok() {
            return Document::parse(quoted).map(|document| Document { tokens: true, ..document });
        }
    }
    Err(error)
}

/// Checks that a text starts with a JSON value. The text behind the value is ignored.
fn check(text: &str) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(text).deserialize_ignored_any(IgnoredAny).map(drop)
}

fn parse_error(text: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let message = error.to_string();
    let what = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
    Error::invalid(format!("JSON Parse error: {what} at offset: {}", before + column.saturating_sub(1)))
}

/// Puts the tokens that stand outside of strings into quotes, with a NUL before them.
fn quote_tokens(text: &str) -> String {
    const TOKENS: [(&str, &str); 6] = [
        ("NaN", "NaN"),
        ("-NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("Inf", "Infinity"),
        ("-Inf", "-Infinity"),
    ];
    let mut quoted = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    let mut in_string = false;
    while let Some(at) = rest.find(if in_string { &['"', '\\'][..] } else { &['"', '-', 'N', 'I'][..] }) {
        quoted.push_str(&rest[..at]);
        rest = &rest[at..];
        let token = TOKENS.iter().find(|(token, _)| !in_string && rest.starts_with(token));
        let taken = if let Some((token, meaning)) = token {
            quoted.extend(["\"\\u0000", meaning, "\""]);
            token.len()
        } else {
            let escaped = rest.starts_with('\\');
            in_string ^= rest.starts_with('"');
            let taken = rest.chars().take(1 + usize::from(escaped)).map(char::len_utf8).sum();
            quoted.push_str(&rest[..taken]);
            taken
        };
        rest = &rest[taken..];
    }
    quoted + rest
}

impl<'a> Document<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let trimmed = text.trim_start();
        if !trimmed.starts_with('{') {
            check(text).map_err(|error| parse_error(text, &error))?;
            return Err(Error::invalid(format!("JSON Value: {} Is not object", raw::shown_text(trimmed.trim_end()))));
        }
        let mut document = Document { text: trimmed.trim_end(), ..Document::default() };
        let read = serde_json::Deserializer::from_str(text).deserialize_map(&mut document);
        read.map(|()| document).map_err(|error| parse_error(text, &error))
    }

    /// The name of the signature, if the document gives one.
    ///
    /// # Errors
    /// `InvalidArgument` where the name is no text.
    pub(super) fn signature(&self) -> Result<Option<Cow<'a, str>>, Error> {
        let Some(name) = self.signature_name else { return Ok(None) };
        let name =
            raw::text(name).ok_or_else(|| self.refusal("not formatted correctly. 'signature_name' key must be a string value."))?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    /// The names of the wanted outputs, if the document gives any.
    ///
    /// # Errors
    /// `InvalidArgument` where the filter is no list of texts.
    pub(super) fn filter(&self) -> Result<Option<Vec<Cow<'a, str>>>, Error> {
        let Some(filter) = self.output_filter else { return Ok(None) };
        let refused = || self.refusal("not formatted correctly. 'output_filter' key must be a list of string values.");
        if raw::kind(filter) != Kind::Array {
            return Err(refused());
        }
        let mut names = Vec::new();
        raw::each_value(filter, |_, name| {
            let name = raw::text(name).ok_or_else(refused)?;
            if names.len() == FILTER_NAMES_MAX {
                return Err(Error::invalid(format!("'output_filter' may have at most {FILTER_NAMES_MAX} names")));
            }
            names.push(name);
            Ok(())
        })?;
        Ok(Some(names).filter(|names| !names.is_empty()))
    }

    /// An error about the whole document.
    pub(super) fn refusal(&self, what: &str) -> Error {
        Error::invalid(format!("JSON Value: {} {what}", raw::shown_text(self.text)))
    }
}

impl<'de> Visitor<'de> for &mut Document<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<Cow<'_, str>>()? {
            let place = match key.as_ref() {
                "signature_name" => &mut self.signature_name,
                "instances" => &mut self.instances,
                "inputs" => &mut self.inputs,
                "output_filter" => &mut self.output_filter,
                "context" => &mut self.context,
                "examples" => &mut self.examples,
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value = object.next_value()?;
            place.get_or_insert(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_outside_of_strings_are_quoted() {
        for (text, expect) in [
            (r#"{"x":[NaN,-Inf,Infinity,-1]}"#, r#"{"x":["\u0000NaN","\u0000-Infinity","\u0000Infinity",-1]}"#),
            (r#"{"NaN\"é":"Inf\\",  "x":-Infinity}"#, r#"{"NaN\"é":"Inf\\",  "x":"\u0000-Infinity"}"#),
            (r#"{"x":Nan}"#, r#"{"x":Nan}"#),
            ("\"\\", "\"\\"),
        ] {
            assert_eq!(quote_tokens(text), expect);
        }
    }
}
