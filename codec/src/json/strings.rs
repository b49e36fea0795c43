//! Byte strings: many in one piece of memory, and base64 as callers write it.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine as _;
use tfweb_engine::StringStorage;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Appends the bytes that base64 text stands for; standard or URL-safe alphabet, padding optional.
///
/// # Errors
/// What is wrong with the text. `out` is as before.
pub fn decode_base64(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    let mut decoded = STANDARD.decode_vec(text, out);
    if decoded.is_err() && text.contains(['-', '_']) {
        out.truncate(start);
        decoded = URL_SAFE.decode_vec(text, out);
    }
    decoded.map_err(|error| {
        out.truncate(start);
        error.to_string().trim_end_matches('.').to_lowercase()
    })
}

/// Byte strings one after another in a single piece of memory: a body of many short strings must not cost many times
/// its own size.
#[derive(Debug, Default)]
pub struct PackedStrings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    urls: Vec<(usize, String)>,
}

impl PackedStrings {
    /// Makes room for `count` more strings.
    pub fn reserve(&mut self, count: usize) {
        self.ends.reserve(count);
    }

    /// Appends a string.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Appends the string that base64 text stands for.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn push_base64(&mut self, text: &str) -> Result<(), String> {
        decode_base64(text, &mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Appends a string that is empty until it is fetched.
    pub fn push_url(&mut self, url: &str) {
        self.urls.push((self.ends.len(), url.to_owned()));
        self.push("");
    }

    /// The strings to be fetched, by their position, in order.
    pub fn take_urls(&mut self) -> Vec<(usize, String)> {
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
