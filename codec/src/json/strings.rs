//! Byte strings of a body: many in one piece of memory, and base64 as callers write it.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine as _;
use tfweb_engine::StringStorage;

use super::rules::ReadRules;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Appends the bytes that base64 text stands for. Padding is optional, and line breaks are passed over, which many encoders put
/// in (RFC 2045). The rules tell whether the URL-safe alphabet is taken too.
///
/// # Errors
/// The fault of the text, in words. `out` is as before.
pub fn decode_base64<R: ReadRules>(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    const LINE_BREAKS: [char; 2] = ['\r', '\n'];
    let start = out.len();
    let mut decoded = STANDARD.decode_vec(text, out);
    if R::URL_SAFE_BASE64 && decoded.is_err() && text.contains(['-', '_']) {
        out.truncate(start);
        decoded = URL_SAFE.decode_vec(text, out);
    }
    if decoded.is_err() && text.contains(LINE_BREAKS) {
        out.truncate(start);
        return decode_base64::<R>(&text.replace(LINE_BREAKS, ""), out);
    }
    decoded.map_err(|error| {
        out.truncate(start);
        error.to_string().trim_end_matches('.').to_lowercase()
    })
}

/// Byte strings one after another in a single piece of memory, because a body of many short strings must not cost many times
/// its own size.
#[derive(Debug, Default)]
pub(super) struct PackedStrings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    urls: Vec<(usize, String)>,
}

impl PackedStrings {
    /// Makes room for `count` more strings.
    pub(super) fn reserve(&mut self, count: usize) {
        self.ends.reserve(count);
    }

    /// Appends a string.
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Appends the string that base64 text stands for.
    ///
    /// # Errors
    /// The fault of the text, in words.
    pub(super) fn push_base64<R: ReadRules>(&mut self, text: &str) -> Result<(), String> {
        decode_base64::<R>(text, &mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Appends a string that is empty until it is fetched.
    pub(super) fn push_url(&mut self, url: &str) {
        self.urls.push((self.ends.len(), url.to_owned()));
        self.push("");
    }

    /// The URLs of strings to be fetched, each with its string's position, in order.
    pub(super) fn take_urls(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.urls)
    }
}

impl StringStorage for PackedStrings {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}
