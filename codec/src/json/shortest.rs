//! Finds the fewest decimal digits that give a float of 16 bits back. For longer floats, crate zmij does this.

use super::found::Found;
use super::numbers::Float;

/// The most decimal digits that tell any two floats of 16 bits apart.
const SHORT_DIGITS_MAX: i32 = 5;

/// The powers of ten that are exact in float64.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Finds the float64 that has the fewest decimal digits of all that round to `short`. Infinities and NaN stay as they are.
pub(super) fn shortest<T: Float + Into<f64>>(short: T) -> f64 {
    let value: f64 = short.into();
    if value == 0.0 || !value.is_finite() {
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
            let candidate = scale(digits, -decimals);
            if T::nearest(Found::Float(candidate)) == Some(short) {
                return candidate;
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
