//! The rules of tfweb's own JSON.

use tfweb_engine::DType;

use super::found::Found;
use super::numbers::{Float, Integer};
use super::rules::{ReadRules, WriteRules};
use super::write::{write_base64, write_text};

/// The texts of the three kinds of floats that JSON has no numbers for.
const NAN: &str = "NaN";
const INFINITY: &str = "Infinity";
const NEG_INFINITY: &str = "-Infinity";

/// The rules of tfweb's own JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeRules;

impl ReadRules for NativeRules {
    const CHECKS_SHAPES: bool = true;
    const NUMBERS_AS_BASE64: bool = true;
    const URL_SAFE_BASE64: bool = true;
    const URLS: bool = true;

    /// Every dtype that is served has a form.
    fn has_form(_: DType) -> bool {
        true
    }

    #[inline(always)]
    fn float<T: Float>(self, found: Found<'_>) -> Option<T> {
        if let Found::Text(text) = found {
            return non_finite(text);
        }
        T::nearest(found).filter(|value| value.is_finite())
    }

    #[inline(always)]
    fn integer<T: Integer>(self, found: Found<'_>) -> Option<T> {
        if let Found::Float(value) = found {
            return T::whole(value);
        }
        T::same(found)
    }

    #[inline(always)]
    fn text(self, found: Found<'_>) -> Option<&str> {
        if let Found::Text(text) = found {
            Some(text)
        } else {
            None
        }
    }
}

impl WriteRules for NativeRules {
    const SEPARATOR: &'static [u8] = b",";

    #[inline]
    fn write_float32(&self, value: f32, out: &mut Vec<u8>) {
        if value.is_finite() {
            out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        } else {
            write_non_finite(value.is_nan(), value.is_sign_negative(), out);
        }
    }

    #[inline]
    fn write_float64(&self, value: f64, out: &mut Vec<u8>) {
        if value.is_finite() {
            out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        } else {
            write_non_finite(value.is_nan(), value.is_sign_negative(), out);
        }
    }

    /// UTF-8 as text, any other bytes as `{"b64": "…"}`.
    fn write_string(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return write_text(text, out);
        }
        out.extend_from_slice(b"{\"b64\":");
        write_base64(bytes, out);
        out.push(b'}');
    }
}

fn non_finite<T: Float>(text: &str) -> Option<T> {
    match text {
        NAN => Some(T::NAN),
        INFINITY => Some(T::INFINITY),
        NEG_INFINITY => Some(T::NEG_INFINITY),
        _ => None,
    }
}

#[cold]
fn write_non_finite(is_nan: bool, is_negative: bool, out: &mut Vec<u8>) {
    let text = match (is_nan, is_negative) {
        (true, _) => NAN,
        (false, true) => NEG_INFINITY,
        (false, false) => INFINITY,
    };
    write_text(text, out);
}
