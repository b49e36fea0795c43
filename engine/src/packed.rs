//! Scalars as the bytes of a message, left where they lie even if elements must not have that address.
//!
//! A run copies such bytes into TensorFlow's memory as they are. Code that asks for elements pays for moving them.

use std::sync::OnceLock;

use bytemuck::AnyBitPattern;
use bytes::Bytes;

use crate::storage::Storage;

/// Elements in row-major order, in the machine's byte order.
pub(crate) struct Packed<T> {
    bytes: Bytes,
    /// A copy of the elements at an aligned address, made when somebody asks for elements and `bytes` are not aligned.
    moved: OnceLock<Vec<T>>,
}

impl<T: AnyBitPattern> Packed<T> {
    /// Wraps bytes that are whole elements.
    ///
    /// # Panics
    /// If they are not.
    pub(crate) fn new(bytes: Bytes) -> Self {
        assert!(bytes.len().is_multiple_of(size_of::<T>()), "whole elements; this is a bug");
        Self { bytes, moved: OnceLock::new() }
    }
}

impl<T: AnyBitPattern + Send + Sync> Storage<T> for Packed<T> {
    fn as_slice(&self) -> &[T] {
        match bytemuck::try_cast_slice(&self.bytes) {
            Ok(elements) => elements,
            Err(_) => {
                self.moved.get_or_init(|| self.bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
            }
        }
    }

    fn count(&self) -> usize {
        self.bytes.len() / size_of::<T>()
    }

    fn packed(&self) -> Option<&[u8]> {
        Some(&self.bytes)
    }
}
