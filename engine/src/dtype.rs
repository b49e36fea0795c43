//! TensorFlow's element types.

use std::fmt;

macro_rules! dtypes {
    ($($variant:ident, $name:literal, $number:literal;)*) => {
        /// A tensor's element type, by TensorFlow's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DType {
            $(#[doc = concat!("TensorFlow's `", $name, "`.")] $variant,)*
            /// Any other type of TensorFlow, by its number: resource, variant, quantized types. tfweb serves none of them.
            Other(u32),
        }

        impl DType {
            /// Finds the dtype of a number of TensorFlow's `DataType` enum (`tensorflow/core/framework/types.proto`).
            /// A reference type has the number of its type + 100 and counts as that type: it is fed and fetched like it.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match if number > 100 { number - 100 } else { number } {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// The dtype's number in TensorFlow's `DataType` enum.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// The dtype's name in TensorFlow's Python API: `float32`, `string`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(number) => name_of_unserved(number),
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

/// The name of a dtype that only has a number here.
const fn name_of_unserved(number: u32) -> &'static str {
    match number {
        11 => "qint8",
        12 => "quint8",
        13 => "qint32",
        15 => "qint16",
        16 => "quint16",
        20 => "resource",
        21 => "variant",
        24 => "float8_e5m2",
        25 => "float8_e4m3fn",
        26 => "float8_e4m3fnuz",
        27 => "float8_e4m3b11fnuz",
        28 => "float8_e5m2fnuz",
        29 => "int4",
        30 => "uint4",
        31 => "int2",
        32 => "uint2",
        33 => "float4_e2m1fn",
        _ => "unknown",
    }
}

impl DType {
    /// Whether tfweb decodes, runs and encodes tensors of this dtype.
    #[must_use]
    pub const fn is_served(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
        assert!(DType::Complex64.is_served());
        assert!(!DType::from_number(20).is_served());
    }

    #[test]
    fn what_is_not_served_has_tensorflows_name() {
        let name = |number| DType::from_number(number).to_string();
        assert_eq!([11, 12, 13, 15, 16].map(name), ["qint8", "quint8", "qint32", "qint16", "quint16"]);
        assert_eq!([20, 21].map(name), ["resource", "variant"]);
        assert_eq!([24, 28].map(name), ["float8_e5m2", "float8_e5m2fnuz"]);
        assert_eq!([25, 26, 27].map(name), ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz"]);
        assert_eq!([29, 30, 31, 32, 33].map(name), ["int4", "uint4", "int2", "uint2", "float4_e2m1fn"]);
        assert_eq!(name(99), "unknown");
    }
}
