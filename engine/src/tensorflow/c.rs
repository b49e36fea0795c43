//! The functions of the C API that make, fill and delete tensors.
//!
//! Tests use a fake of them, so that they need no libtensorflow and can be run under a checker of memory.

#[cfg(not(test))]
pub(super) use tensorflow_sys_runtime::{
    TF_AllocateTensor, TF_DeleteTensor, TF_NewTensor, TF_StringCopy, TF_StringDealloc, TF_StringGetDataPointer, TF_StringGetSize,
    TF_StringInit, TF_TensorData, TF_TensorElementCount, TF_TensorType,
};
pub(super) use tensorflow_sys_runtime::{TF_DataType, TF_TString, TF_TString_Type, TF_Tensor};

#[cfg(test)]
pub(super) use super::fake_c::{
    TF_AllocateTensor, TF_DeleteTensor, TF_NewTensor, TF_StringCopy, TF_StringDealloc, TF_StringGetDataPointer, TF_StringGetSize,
    TF_StringInit, TF_TensorData, TF_TensorElementCount, TF_TensorType,
};
