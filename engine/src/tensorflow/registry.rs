//! TensorFlow's registry of operations.

use std::collections::HashSet;
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
