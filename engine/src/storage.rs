//! The memory behind tensors.
//!
//! A storage is shared and never changes. It may be a `Vec` that a decoder has filled, the bytes of a message, or the memory of a
//! tensor that TensorFlow returned.

use bytes::Bytes;

/// Memory that holds scalar elements in row-major order.
pub trait Storage<T>: Send + Sync {
    /// All elements.
    fn as_slice(&self) -> &[T];

    /// How many elements there are.
    fn count(&self) -> usize {
        self.as_slice().len()
    }

    /// The bytes of all elements, if the storage keeps bytes and not elements.
    fn packed(&self) -> Option<&[u8]> {
        None
    }
}

impl<T: Send + Sync> Storage<T> for Vec<T> {
    fn as_slice(&self) -> &[T] {
        self
    }
}

/// Memory that holds byte strings in row-major order.
pub trait StringStorage: Send + Sync {
    /// How many strings there are.
    fn count(&self) -> usize;

    /// The bytes of string `index`. They may include NULs.
    fn get(&self, index: usize) -> &[u8];
}

impl StringStorage for Vec<Bytes> {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        &self[index]
    }
}
