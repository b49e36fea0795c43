//! JSON numbers as elements: the nearest float, the same integer. Each dialect decides which of them it takes.

use tfweb_engine::{bf16, f16, Scalar};

use super::found::{Found, EXACT_END};

/// A float that JSON numbers turn into.
pub trait Float: Scalar {
    /// Not a number.
    const NAN: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Negative infinity.
    const NEG_INFINITY: Self;

    /// The float nearest to a number, rounded once; infinite where the number is too large. `None` for all but numbers.
    fn nearest(number: Found<'_>) -> Option<Self>;

    /// Whether this is neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

/// An integer that JSON numbers turn into.
pub trait Integer: Scalar + TryFrom<u64> + TryFrom<i64> + TryFrom<i128> {
    /// The integer that a number spells without fraction and exponent. `None` where it is out of range, and for all but such
    /// numbers.
    #[inline(always)]
    fn same(number: Found<'_>) -> Option<Self> {
        match number {
            Found::Unsigned(value) => value.try_into().ok(),
            Found::Signed(value) => value.try_into().ok(),
            Found::Float(_) | Found::Text(_) | Found::Bool(_) | Found::Null | Found::List | Found::Object => None,
        }
    }

    /// The integer that a float is exactly. `None` where it is none, where it is out of range, and where the float may have been
    /// rounded from another number.
    fn whole(value: f64) -> Option<Self> {
        if value.fract() == 0.0 && value.abs() < EXACT_END {
            (value as i128).try_into().ok()
        } else {
            None
        }
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
    ($($type:ty: $from:ty, $convert:expr;)*) => {$(
        impl Float for $type {
            const NAN: Self = <$type>::NAN;
            const INFINITY: Self = <$type>::INFINITY;
            const NEG_INFINITY: Self = <$type>::NEG_INFINITY;

            #[inline(always)]
            fn nearest(number: Found<'_>) -> Option<Self> {
                match number {
                    Found::Float(value) => Some($convert(value as $from)),
                    Found::Unsigned(value) => Some($convert(value as $from)),
                    Found::Signed(value) => Some($convert(value as $from)),
                    Found::Text(_) | Found::Bool(_) | Found::Null | Found::List | Found::Object => None,
                }
            }

            #[inline(always)]
            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }
        }
    )*};
}

floats! {
    f32: f32, std::convert::identity;
    f64: f64, std::convert::identity;
    f16: f64, |value| f16::from_f32(round_to_odd(value));
    bf16: f64, |value| bf16::from_f32(round_to_odd(value));
}

macro_rules! integers {
    ($($type:ty),*) => {$(impl Integer for $type {})*};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);
