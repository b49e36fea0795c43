//! The names that TensorFlow's C API and the crate `tensorflow` give to dtypes.

use tensorflow::DataType;
use tensorflow_sys_runtime::TF_DataType;

use crate::dtype::DType;

macro_rules! data_types {
    ($($dtype:ident = $data_type:ident, $c_type:ident;)*) => {
        /// The name of a dtype in the crate `tensorflow`. `None` if the dtype is not served.
        pub(super) fn data_type_of(dtype: DType) -> Option<DataType> {
            match dtype {
                $(DType::$dtype => Some(DataType::$data_type),)*
                DType::Other(_) => None,
            }
        }

        /// The name of a dtype in the C API.
        ///
        /// # Panics
        /// If the dtype is not served.
        pub(super) fn c_type_of(dtype: DType) -> TF_DataType {
            match dtype {
                $(DType::$dtype => TF_DataType::$c_type,)*
                DType::Other(_) => unreachable!("not a served dtype; this is a bug"),
            }
        }

        /// The dtype of a data type of the crate `tensorflow`. A reference type (`float_ref`) counts as the type to which it
        /// refers.
        pub(super) fn dtype_of(data_type: DataType) -> DType {
            match data_type {
                $(DataType::$data_type => DType::$dtype,)*
                DataType::QInt8 => DType::Other(11),
                DataType::QUInt8 => DType::Other(12),
                DataType::QInt32 => DType::Other(13),
                DataType::QInt16 => DType::Other(15),
                DataType::QUInt16 => DType::Other(16),
                DataType::Resource => DType::Other(20),
                DataType::Variant => DType::Other(21),
                DataType::UnrecognizedEnumValue(number) => DType::from_number(number),
            }
        }
    };
}

data_types! {
    Float16 = Half, TF_HALF;
    Bfloat16 = BFloat16, TF_BFLOAT16;
    Float32 = Float, TF_FLOAT;
    Float64 = Double, TF_DOUBLE;
    Int8 = Int8, TF_INT8;
    Int16 = Int16, TF_INT16;
    Int32 = Int32, TF_INT32;
    Int64 = Int64, TF_INT64;
    Uint8 = UInt8, TF_UINT8;
    Uint16 = UInt16, TF_UINT16;
    Uint32 = UInt32, TF_UINT32;
    Uint64 = UInt64, TF_UINT64;
    Bool = Bool, TF_BOOL;
    Complex64 = Complex64, TF_COMPLEX64;
    Complex128 = Complex128, TF_COMPLEX128;
    String = String, TF_STRING;
}
