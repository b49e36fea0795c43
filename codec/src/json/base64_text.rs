//! Base64 as callers write it.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine as _;

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
