//! TensorFlow's two other names of dtypes: those in its errors, and those in its protocol buffers.

use tfweb_engine::DType;

macro_rules! names {
    ($($variant:ident $error:literal $proto:literal;)*) => {
        /// The name of a dtype in TensorFlow's errors, such as `float`.
        pub(super) const fn error_name(dtype: DType) -> &'static str {
            match dtype {
                $(DType::$variant => $error,)*
                DType::Other(_) => "unknown dtype enum",
            }
        }

        /// The name of a dtype in `types.proto`, such as `DT_FLOAT`.
        pub(super) const fn proto_name(dtype: DType) -> &'static str {
            match dtype {
                $(DType::$variant => $proto,)*
                DType::Other(11) => "DT_QINT8",
                DType::Other(12) => "DT_QUINT8",
                DType::Other(13) => "DT_QINT32",
                DType::Other(15) => "DT_QINT16",
                DType::Other(16) => "DT_QUINT16",
                DType::Other(20) => "DT_RESOURCE",
                DType::Other(21) => "DT_VARIANT",
                DType::Other(24) => "DT_FLOAT8_E5M2",
                DType::Other(25) => "DT_FLOAT8_E4M3FN",
                DType::Other(26) => "DT_FLOAT8_E4M3FNUZ",
                DType::Other(27) => "DT_FLOAT8_E4M3B11FNUZ",
                DType::Other(28) => "DT_FLOAT8_E5M2FNUZ",
                DType::Other(29) => "DT_INT4",
                DType::Other(30) => "DT_UINT4",
                DType::Other(31) => "DT_INT2",
                DType::Other(32) => "DT_UINT2",
                DType::Other(33) => "DT_FLOAT4_E2M1FN",
                DType::Other(_) => "DT_INVALID",
            }
        }
    };
}

names! {
    Float32 "float" "DT_FLOAT";
    Float64 "double" "DT_DOUBLE";
    Int32 "int32" "DT_INT32";
    Uint8 "uint8" "DT_UINT8";
    Int16 "int16" "DT_INT16";
    Int8 "int8" "DT_INT8";
    String "string" "DT_STRING";
    Complex64 "complex64" "DT_COMPLEX64";
    Int64 "int64" "DT_INT64";
    Bool "bool" "DT_BOOL";
    Bfloat16 "bfloat16" "DT_BFLOAT16";
    Uint16 "uint16" "DT_UINT16";
    Complex128 "complex128" "DT_COMPLEX128";
    Float16 "half" "DT_HALF";
    Uint32 "uint32" "DT_UINT32";
    Uint64 "uint64" "DT_UINT64";
}
