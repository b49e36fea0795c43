//! Words for a refusal that need the body's own text: a number as it came, and why the text is no JSON. Only refusals come here.

use tfweb_engine::Error;

/// The bytes that some editors put before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The most characters of a number that an error repeats.
const NUMBER_CHARS_MAX: usize = 80;

/// The number at which serde stopped with `error`, as it stands in the body; `None` if there is none.
pub(super) fn number(error: &serde_json::Error, body: &[u8]) -> Option<String> {
    let number = token(error, body, |byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let cut: String = number.chars().take(NUMBER_CHARS_MAX).collect();
    let rest = if cut.len() < number.len() { "…" } else { "" };
    number.contains(|c: char| c.is_ascii_digit()).then(|| cut + rest)
}

/// The error for a body that is no JSON, where serde stopped with `error`.
pub(super) fn malformed(error: &serde_json::Error, body: &[u8]) -> Error {
    if body.trim_ascii().is_empty() {
        return Error::invalid("the body is empty; expected a JSON object or array");
    }
    if body.starts_with(BYTE_ORDER_MARK) {
        return Error::invalid("malformed JSON: the body begins with a byte order mark (the bytes EF BB BF); send it without");
    }
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    let hint = non_finite(&token(error, body, |byte| byte.is_ascii_alphabetic() || b"+-".contains(&byte)));
    Error::invalid(format!("malformed JSON at line {line} column {column}: {what}{}", hint.unwrap_or_default()))
}

/// The text to write in the place of a word that many programs write for a float, and that is no JSON.
fn non_finite(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "nan" | "+nan" | "-nan" => "; write \"NaN\", in quotes",
        "inf" | "infinity" | "+inf" | "+infinity" => "; write \"Infinity\", in quotes",
        "-inf" | "-infinity" => "; write \"-Infinity\", in quotes",
        _ => return None,
    })
}

/// The longest run of such bytes that touches the place where serde stopped.
fn token(error: &serde_json::Error, body: &[u8], is_part: impl Fn(u8) -> bool) -> String {
    let lines_before = error.line().saturating_sub(1);
    let begin: usize = body.split_inclusive(|&byte| byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    let (before, behind) = body.split_at((begin + error.column()).min(body.len()));
    let start = before.iter().rposition(|&byte| !is_part(byte)).map_or(0, |at| at + 1);
    let end = behind.iter().position(|&byte| !is_part(byte)).unwrap_or(behind.len());
    String::from_utf8_lossy(&[&before[start..], &behind[..end]].concat()).into_owned()
}
