//! Element types: TensorFlow's dtypes and the Rust types that hold them.

use std::fmt;
use std::sync::Arc;

use bytemuck::NoUninit;
use bytes::Bytes;
pub use half::{bf16, f16};

use crate::packed::Packed;
use crate::tensor::{Buffer, Storage, Values};

macro_rules! dtypes {
    ($($variant:ident, $name:literal, $number:literal;)*) => {
        /// A tensor's element type, by TensorFlow's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DType {
            $(#[doc = concat!("TensorFlow's `", $name, "`.")] $variant,)*
            /// Any other type TensorFlow may name (resource, variant, quantized …): recognised, never served.
            Other(u32),
        }

        impl DType {
            /// Finds the dtype of a number of TensorFlow's `DataType` enum (`tensorflow/core/framework/types.proto`).
            /// Reference types (the number + 100) are fed and fetched as the type they refer to.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match if number > 100 { number - 100 } else { number } {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// The number in TensorFlow's `DataType` enum.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// TensorFlow's Python name: `float32`, `string`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(_) => "unsupported",
                }
            }
        }
    };
}

dtypes! {
    Float32, "float32", 1;
    Float64, "float64", 2;
    Int32, "int32", 3;
    Uint8, "uint8", 4;
    Int16, "int16", 5;
    Int8, "int8", 6;
    String, "string", 7;
    Complex64, "complex64", 8;
    Int64, "int64", 9;
    Bool, "bool", 10;
    Bfloat16, "bfloat16", 14;
    Uint16, "uint16", 17;
    Complex128, "complex128", 18;
    Float16, "float16", 19;
    Uint32, "uint32", 22;
    Uint64, "uint64", 23;
}

impl DType {
    /// Whether tensors of this type can be decoded, run and encoded.
    #[must_use]
    pub const fn is_served(self) -> bool {
        !matches!(self, Self::Complex64 | Self::Complex128 | Self::Other(_))
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fixed-size element type: everything served but `string`.
pub trait Scalar: NoUninit + Default + fmt::Debug + PartialEq + Send + Sync {
    /// The dtype whose elements this type holds, bit for bit.
    const DTYPE: DType;

    /// Whether every pattern of bits is one of its elements.
    const TAKES_ANY_BITS: bool;

    /// Shows whole elements in the machine's byte order as a storage; without copying them, unless there are bits to be mended.
    ///
    /// # Panics
    /// If `bytes` are no whole elements.
    fn storage(bytes: Bytes) -> Arc<dyn Storage<Self>>;

    /// Wraps a buffer of this type.
    fn into_values(buffer: Buffer<Self>) -> Values;

    /// Looks into values of this type; `None` for those of another.
    fn of_values(values: &Values) -> Option<&Buffer<Self>>;

    /// Appends the element's bytes in little-endian order.
    fn write_le(self, out: &mut Vec<u8>);

    /// Reads an element from its little-endian bytes.
    ///
    /// # Panics
    /// If `bytes` is not exactly one element long.
    fn read_le(bytes: &[u8]) -> Self;
}

macro_rules! scalar {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl Scalar for $type {
            const DTYPE: DType = DType::$variant;
            const TAKES_ANY_BITS: bool = true;

            fn storage(bytes: Bytes) -> Arc<dyn Storage<Self>> {
                Arc::new(Packed::new(bytes))
            }

            fn into_values(buffer: Buffer<Self>) -> Values {
                Values::$variant(buffer)
            }

            fn of_values(values: &Values) -> Option<&Buffer<Self>> {
                if let Values::$variant(buffer) = values {
                    Some(buffer)
                } else {
                    None
                }
            }

            fn write_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read_le(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("one element's bytes; this is a bug"))
            }
        }
    )*};
}

scalar! {
    f16 => Float16, bf16 => Bfloat16, f32 => Float32, f64 => Float64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
}

impl Scalar for bool {
    const DTYPE: DType = DType::Bool;
    const TAKES_ANY_BITS: bool = false;

    fn storage(bytes: Bytes) -> Arc<dyn Storage<Self>> {
        Arc::new(bytes.iter().map(|&byte| byte != 0).collect::<Vec<bool>>())
    }

    fn into_values(buffer: Buffer<Self>) -> Values {
        Values::Bool(buffer)
    }

    fn of_values(values: &Values) -> Option<&Buffer<Self>> {
        if let Values::Bool(buffer) = values {
            Some(buffer)
        } else {
            None
        }
    }

    fn write_le(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }

    fn read_le(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
}

/// Runs `$body` with `$T` bound to the Rust type of a scalar dtype; `$else` for `string` and what is not served.
#[macro_export]
macro_rules! with_scalar {
    ($dtype:expr, $T:ident => $body:expr, else $else:expr) => {
        match $dtype {
            $crate::DType::Float16 => {
                type $T = $crate::f16;
                $body
            }
            $crate::DType::Bfloat16 => {
                type $T = $crate::bf16;
                $body
            }
            $crate::DType::Float32 => {
                type $T = f32;
                $body
            }
            $crate::DType::Float64 => {
                type $T = f64;
                $body
            }
            $crate::DType::Int8 => {
                type $T = i8;
                $body
            }
            $crate::DType::Int16 => {
                type $T = i16;
                $body
            }
            $crate::DType::Int32 => {
                type $T = i32;
                $body
            }
            $crate::DType::Int64 => {
                type $T = i64;
                $body
            }
            $crate::DType::Uint8 => {
                type $T = u8;
                $body
            }
            $crate::DType::Uint16 => {
                type $T = u16;
                $body
            }
            $crate::DType::Uint32 => {
                type $T = u32;
                $body
            }
            $crate::DType::Uint64 => {
                type $T = u64;
                $body
            }
            $crate::DType::Bool => {
                type $T = bool;
                $body
            }
            $crate::DType::String | $crate::DType::Complex64 | $crate::DType::Complex128 | $crate::DType::Other(_) => $else,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_come_back() {
        for number in 1..=23 {
            let dtype = DType::from_number(number);
            assert_eq!(dtype.number(), number);
            assert_eq!(DType::from_number(number + 100), dtype, "reference type");
        }
        assert_eq!(DType::from_number(1).name(), "float32");
        assert!(!DType::Complex64.is_served());
        assert!(!DType::from_number(20).is_served());
    }

    #[test]
    fn bytes_are_little_endian() {
        let mut out = Vec::new();
        258_u16.write_le(&mut out);
        bf16::from_f32(1.0).write_le(&mut out);
        assert_eq!(out, [2, 1, 0x80, 0x3f]);
        assert_eq!(u16::read_le(&out[..2]), 258);
    }
}
