//! Writes scalars as JSON text: floats by the shortest digits that give the same value in the tensor's own dtype.

use tfweb_engine::{bf16, f16, Scalar};

use super::numbers::round_to_odd;

/// The most decimal digits that tell any two floats of 16 bits apart.
const SHORT_DIGITS_MAX: i32 = 5;

/// The powers of ten that are exact in float64.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// A scalar that has a JSON text.
pub(super) trait ToJson: Scalar {
    /// About how many bytes the text takes, comma included.
    const TEXT_BYTES: usize;

    /// Appends the text.
    fn write_json(self, out: &mut Vec<u8>);
}

macro_rules! integers {
    ($($type:ty: $text_bytes:literal),*) => {$(
        impl ToJson for $type {
            const TEXT_BYTES: usize = $text_bytes;

            #[inline]
            fn write_json(self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
            }
        }
    )*};
}

integers!(i8: 4, i16: 6, i32: 8, i64: 10, u8: 4, u16: 6, u32: 8, u64: 10);

macro_rules! floats {
    ($($type:ty: $text_bytes:literal),*) => {$(
        impl ToJson for $type {
            const TEXT_BYTES: usize = $text_bytes;

            #[inline]
            fn write_json(self, out: &mut Vec<u8>) {
                if self.is_finite() {
                    out.extend_from_slice(zmij::Buffer::new().format_finite(self).as_bytes());
                } else {
                    write_non_finite(self.is_nan(), self.is_sign_negative(), out);
                }
            }
        }
    )*};
}

floats!(f32: 12, f64: 20);

macro_rules! short_floats {
    ($($type:ty),*) => {$(
        impl ToJson for $type {
            const TEXT_BYTES: usize = 8;

            #[inline]
            fn write_json(self, out: &mut Vec<u8>) {
                if self.is_finite() {
                    let shortest = shortest(f64::from(self), |value| <$type>::from_f32(round_to_odd(value)) == self);
                    shortest.write_json(out);
                } else {
                    write_non_finite(self.is_nan(), self.is_sign_negative(), out);
                }
            }
        }
    )*};
}

short_floats!(f16, bf16);

impl ToJson for bool {
    const TEXT_BYTES: usize = 6;

    fn write_json(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self { b"true" } else { b"false" });
    }
}

#[cold]
fn write_non_finite(is_nan: bool, is_negative: bool, out: &mut Vec<u8>) {
    let text: &[u8] = match (is_nan, is_negative) {
        (true, _) => b"\"NaN\"",
        (false, true) => b"\"-Infinity\"",
        (false, false) => b"\"Infinity\"",
    };
    out.extend_from_slice(text);
}

/// The float64 of the fewest decimal digits that `is_same` takes for `value`: its own shortest text is those digits.
fn shortest(value: f64, is_same: impl Fn(f64) -> bool) -> f64 {
    if value == 0.0 {
        return value;
    }
    let magnitude = value.abs().log10().floor() as i32;
    // One digit more than is needed, for a logarithm that was rounded up to the next whole number.
    for fraction_digits in 0..=SHORT_DIGITS_MAX {
        let decimals = fraction_digits - magnitude;
        let scaled = scale(value, decimals);
        let nearest = scaled.round();
        // At a power of two the nearest digits can lie in the narrower half of the interval, outside it.
        let other = if nearest > scaled { nearest - 1.0 } else { nearest + 1.0 };
        for digits in [nearest, other] {
            let short = scale(digits, -decimals);
            if is_same(short) {
                return short;
            }
        }
    }
    value
}

/// `value` × 10^`exponent`, rounded once: a few digits scaled so are the float64 nearest to the decimal they spell.
fn scale(value: f64, exponent: i32) -> f64 {
    match EXACT_POWERS.get(exponent.unsigned_abs() as usize) {
        Some(power) if exponent < 0 => value / power,
        Some(power) => value * power,
        None => scale_text(value, exponent).unwrap_or(value),
    }
}

/// As [`scale`], by way of text, where the power of ten is not exact.
fn scale_text(value: f64, exponent: i32) -> Option<f64> {
    let text = format!("{value:e}");
    let (digits, own) = text.split_once('e')?;
    let own: i32 = own.parse().ok()?;
    format!("{digits}e{}", own + exponent).parse().ok()
}
