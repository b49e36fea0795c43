//! Which JSON values the elements of each dtype accept.

use tfweb_engine::{bf16, f16, Scalar};

use super::context::Found;

/// A scalar that JSON values turn into.
pub(super) trait FromJson: Scalar {
    /// The element that `found` stands for; `None` where this dtype has none.
    fn from_json(found: Found<'_>) -> Option<Self>;
}

/// The text of the three values that JSON has no numbers for.
fn non_finite(text: &str) -> Option<f32> {
    match text {
        "NaN" => Some(f32::NAN),
        "Infinity" => Some(f32::INFINITY),
        "-Infinity" => Some(f32::NEG_INFINITY),
        _ => None,
    }
}

/// Rounds to float32 such that rounding again, to a float at least two bits shorter, gives what rounding once would:
/// towards zero, with the last bit set where anything was lost ("round to odd"). The `from_f64` of crate half drops the
/// lower 32 bits instead, and so takes what is just above a tie for the tie.
pub(super) fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back == value || !nearest.is_finite() {
        return nearest;
    }
    let toward_zero = if back.abs() > value.abs() { nearest.to_bits() - 1 } else { nearest.to_bits() };
    f32::from_bits(toward_zero | 1)
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl FromJson for $type {
            #[inline(always)]
            fn from_json(found: Found<'_>) -> Option<Self> {
                match found {
                    Found::Float(value) => Some(value as $type).filter(|element| element.is_finite()),
                    // Every whole number of 64 bits is in range.
                    Found::Unsigned(value) => Some(value as $type),
                    Found::Signed(value) => Some(value as $type),
                    Found::Text(text) => non_finite(text).map(<$type>::from),
                    Found::Bool(_) | Found::Null | Found::List | Found::Object => None,
                }
            }
        }
    )*};
}

floats!(f32, f64);

macro_rules! short_floats {
    ($($type:ty),*) => {$(
        impl FromJson for $type {
            fn from_json(found: Found<'_>) -> Option<Self> {
                let number = match found {
                    Found::Float(value) => value,
                    Found::Unsigned(value) => value as f64,
                    Found::Signed(value) => value as f64,
                    Found::Text(text) => return non_finite(text).map(<$type>::from_f32),
                    Found::Bool(_) | Found::Null | Found::List | Found::Object => return None,
                };
                Some(<$type>::from_f32(round_to_odd(number))).filter(|element| element.is_finite())
            }
        }
    )*};
}

short_floats!(f16, bf16);

/// The whole number that a float is exactly; `None` where it is none, or not certain to be the one the text spelled.
fn whole(value: f64) -> Option<i128> {
    // A float of exactly -2^63 may be a rounded -9223372036854775809; -2^63 itself comes as `Found::Signed`.
    let is_whole = value.fract() == 0.0 && value > -(2.0_f64.powi(63)) && value < 2.0_f64.powi(64);
    is_whole.then_some(value as i128)
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromJson for $type {
            #[inline(always)]
            fn from_json(found: Found<'_>) -> Option<Self> {
                match found {
                    Found::Unsigned(value) => value.try_into().ok(),
                    Found::Signed(value) => value.try_into().ok(),
                    Found::Float(value) => whole(value)?.try_into().ok(),
                    Found::Text(_) | Found::Bool(_) | Found::Null | Found::List | Found::Object => None,
                }
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl FromJson for bool {
    fn from_json(found: Found<'_>) -> Option<Self> {
        match found {
            Found::Bool(value) => Some(value),
            Found::Unsigned(_)
            | Found::Signed(_)
            | Found::Float(_)
            | Found::Text(_)
            | Found::Null
            | Found::List
            | Found::Object => None,
        }
    }
}
