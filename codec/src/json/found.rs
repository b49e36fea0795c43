//! A JSON value as it came, for elements to accept or an error to describe.

use std::fmt;

use tfweb_engine::{quoted, DType};

/// Below 2^53 a float64 that is whole was not rounded from another whole number. 2^53 itself may be a rounded 2^53 + 1.
pub(super) const EXACT_END: f64 = 9_007_199_254_740_992.0;

/// The words before a number in an error.
pub(super) const NUMBER: &str = "the number ";

/// A JSON value; of a list or an object only that it is one.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// A number with a fraction or an exponent, or one beyond 64 bits.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An array.
    List,
    /// An object.
    Object,
}

impl Found<'_> {
    /// Why elements of `dtype` cannot hold this number; `None` where it is no number, or the dtype takes no numbers.
    pub(super) fn note(self, dtype: DType) -> Option<String> {
        match self {
            Self::Float(value) if value.fract() != 0.0 && is_integer(dtype) => Some("not a whole number".into()),
            Self::Float(value) if may_be_rounded(value, dtype) => {
                Some("whole numbers of 2^53 and more need all their digits, without a point and an exponent".into())
            }
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) if !matches!(dtype, DType::Bool | DType::String) => {
                Some(format!("out of the range of {dtype}"))
            }
            Self::Unsigned(_)
            | Self::Signed(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Bool(_)
            | Self::Null
            | Self::List
            | Self::Object => None,
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(f, "{NUMBER}{value}"),
            Self::Signed(value) => write!(f, "{NUMBER}{value}"),
            Self::Float(value) => write!(f, "{NUMBER}{value:?}"),
            Self::Text(text) => write!(f, "the text {}", quoted(text)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

/// Whether an integer of `dtype` could hold the number, if it were known exactly.
fn may_be_rounded(value: f64, dtype: DType) -> bool {
    let is_in_range = match (dtype == DType::Int64, dtype == DType::Uint64) {
        (true, _) => value.abs() < 2.0_f64.powi(63),
        (_, true) => (0.0..2.0_f64.powi(64)).contains(&value),
        (false, false) => false,
    };
    is_in_range && value.abs() >= EXACT_END
}

const fn is_integer(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 | DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64
    )
}
