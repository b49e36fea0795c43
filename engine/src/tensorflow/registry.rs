//! TensorFlow's registry of operations.

use std::collections::HashSet;
use std::ffi::CString;
use std::slice;
use std::sync::OnceLock;

use tensorflow_sys_runtime as tf;

use crate::graph;

/// The names of the operations that have no state. The library must be open. Empty if the registry cannot be read: then every
/// operation may have state.
pub(super) fn stateless_operations() -> &'static HashSet<String> {
    static NAMES: OnceLock<HashSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| read(|registry| graph::stateless_operations(registry).unwrap_or_default()))
}

/// Whether TensorFlow has a kernel of an operation, for whatever device. It has none of operations that only Python runs, or another
/// library. `true` if TensorFlow does not tell. The library must be open.
pub(super) fn has_kernel(operation: &str) -> bool {
    let Ok(name) = CString::new(operation) else { return true };
    // SAFETY: `name` is text that ends with a NUL, and `status` is a status of our own. c_api.h, TF_GetRegisteredKernelsForOp: "Returns
    // a serialized KernelList protocol buffer containing KernelDefs for all kernels registered for the operation named `name`." An
    // empty list has no bytes. The buffer is ours until it is deleted here.
    unsafe {
        let status = tf::TF_NewStatus();
        let buffer = tf::TF_GetRegisteredKernelsForOp(name.as_ptr(), status);
        let is_told = !buffer.is_null() && tf::TF_GetCode(status) == tf::TF_Code::TF_OK;
        let has_kernel = !is_told || (*buffer).length > 0;
        if !buffer.is_null() {
            tf::TF_DeleteBuffer(buffer);
        }
        tf::TF_DeleteStatus(status);
        has_kernel
    }
}

/// Hands the serialized OpList to `read`.
fn read<T: Default>(read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: c_api.h, TF_GetAllOpList: "The data in the buffer will be the serialized OpList proto for ops registered in this
    // address space." The buffer is ours until it is deleted below, and nothing else writes to it.
    unsafe {
        let buffer = tf::TF_GetAllOpList();
        if buffer.is_null() {
            return T::default();
        }
        let tf::TF_Buffer { data, length, .. } = *buffer;
        let read = if data.is_null() { T::default() } else { read(slice::from_raw_parts(data.cast(), length)) };
        tf::TF_DeleteBuffer(buffer);
        read
    }
}
