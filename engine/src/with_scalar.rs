//! The macro `with_scalar!`, which writes code for each scalar dtype once.

/// Evaluates `$body` with `$T` as the Rust type of a scalar dtype. Evaluates `$else` for `string` and for dtypes that are not
/// served.
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
            $crate::DType::Complex64 => {
                type $T = [f32; 2];
                $body
            }
            $crate::DType::Complex128 => {
                type $T = [f64; 2];
                $body
            }
            $crate::DType::String | $crate::DType::Other(_) => $else,
        }
    };
}

pub(crate) use with_scalar;
