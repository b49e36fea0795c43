//! The memory that tensors show.

use bytes::Bytes;

/// Memory that holds scalar elements in row-major order.
pub trait Storage<T>: Send + Sync {
    /// All elements.
    fn as_slice(&self) -> &[T];

    /// How many there are.
    fn count(&self) -> usize {
        self.as_slice().len()
    }

    /// Their bytes, where they are not kept as elements.
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

    /// The bytes of string `index`, NULs and all.
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
