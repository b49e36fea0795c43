//! TensorFlow Serving's rules for the elements of JSON inputs, where they differ from those of tfweb's own API: `1.0` is no
//! integer, text is no number, base64 stands for strings only, there are no URLs, and the values alone settle shapes, because
//! TensorFlow runs whatever shape it is fed.

use tfweb_codec::json::{self, Float, Found, Integer, ReadRules};
use tfweb_engine::DType;

/// TensorFlow Serving's rules for reading elements.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Whether [`super::document`] put tokens of the body in quotes, so that text with a NUL before it may be a number.
    pub(super) tokens: bool,
}

impl ReadRules for Rules {
    const CHECKS_SHAPES: bool = false;
    const NUMBERS_AS_BASE64: bool = false;
    const URL_SAFE_BASE64: bool = false;
    const URLS: bool = false;

    fn has_form(dtype: DType) -> bool {
        dtype.is_served()
            && !matches!(dtype, DType::Float16 | DType::Bfloat16 | DType::Uint16 | DType::Complex64 | DType::Complex128)
    }

    /// Numbers that are too large become infinite.
    #[inline(always)]
    fn float<T: Float>(self, found: Found<'_>) -> Option<T> {
        if let Found::Text(text) = found {
            return token(text);
        }
        T::nearest(found)
    }

    #[inline(always)]
    fn integer<T: Integer>(self, found: Found<'_>) -> Option<T> {
        if let Found::Float(value) = found {
            // serde_json reads -0 as a float.
            return (value == 0.0 && value.is_sign_negative()).then(T::default);
        }
        T::same(found)
    }

    #[inline(always)]
    fn text(self, found: Found<'_>) -> Option<&str> {
        let Found::Text(text) = found else { return None };
        let is_token = self.tokens && token::<f32>(text).is_some();
        (!is_token).then_some(text)
    }
}

/// The bytes that base64 text stands for.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    json::decode_base64::<Rules>(text, &mut bytes).is_ok().then_some(bytes)
}

/// The float of a token that [`super::document`] put in quotes.
fn token<T: Float>(text: &str) -> Option<T> {
    match text {
        "\0NaN" => Some(T::NAN),
        "\0Infinity" => Some(T::INFINITY),
        "\0-Infinity" => Some(T::NEG_INFINITY),
        _ => None,
    }
}
