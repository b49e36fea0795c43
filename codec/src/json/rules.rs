//! The rules that a dialect of JSON has of its own: which values it reads as elements, and how it writes elements. Every dialect
//! shares the rest: nested lists, shapes and dtypes.
//!
//! Each dialect is a type of its own, so that the compiler makes an innermost loop for it.

use tfweb_engine::DType;

use super::found::Found;
use super::numbers::{Float, Integer};

/// How a dialect reads elements.
pub trait ReadRules: Copy {
    /// Whether lists must have the shape that the signature gives. Otherwise the first lists settle the shape.
    const CHECKS_SHAPES: bool;
    /// Whether `{"b64": "…"}` may stand for the whole value of an input of numbers: its little-endian bytes.
    const NUMBERS_AS_BASE64: bool;
    /// Whether base64 may be of the URL-safe alphabet too.
    const URL_SAFE_BASE64: bool;
    /// Whether `{"url": "…"}` may stand for a string.
    const URLS: bool;

    /// Whether the dialect reads elements of a dtype at all.
    fn has_form(dtype: DType) -> bool;

    /// The float that a value stands for, if any.
    fn float<T: Float>(self, found: Found<'_>) -> Option<T>;

    /// The integer that a value stands for, if any.
    fn integer<T: Integer>(self, found: Found<'_>) -> Option<T>;

    /// The text of a string element that a value stands for, if any.
    fn text(self, found: Found<'_>) -> Option<&str>;
}

/// How a dialect writes elements. Integers and bools are the same in all of them.
pub trait WriteRules {
    /// The bytes between two values of a list.
    const SEPARATOR: &'static [u8];

    /// Appends a float32.
    fn write_float32(&self, value: f32, out: &mut Vec<u8>);

    /// Appends a float64. Floats of 16 bits come as one too, which has the fewest digits that round to them.
    fn write_float64(&self, value: f64, out: &mut Vec<u8>);

    /// Appends a byte string.
    fn write_string(&self, bytes: &[u8], out: &mut Vec<u8>);
}
