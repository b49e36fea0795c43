//! The memory behind tensors.
//!
//! A storage is shared and never changes. It may be a `Vec` that a decoder has filled, the bytes of a message, or the memory of a
//! tensor that TensorFlow returned.

use bytes::Bytes;

use crate::values::Strings;

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

/// Byte strings behind each other in one block. Millions of short strings would take several times as much in blocks of their own.
pub(crate) struct PackedStrings {
    bytes: Vec<u8>,
    /// Where each string ends.
    ends: Vec<usize>,
}

impl PackedStrings {
    /// Copies all strings of `parts`, in order.
    pub(crate) fn of<'a>(parts: impl Iterator<Item = &'a Strings> + Clone) -> Self {
        let (count, byte_count) =
            parts.clone().fold((0, 0), |(count, bytes), part| (count + part.len(), bytes + part.byte_count()));
        let mut packed = Self { bytes: Vec::with_capacity(byte_count), ends: Vec::with_capacity(count) };
        for string in parts.flat_map(Strings::iter) {
            packed.bytes.extend_from_slice(string);
            packed.ends.push(packed.bytes.len());
        }
        packed
    }
}

impl StringStorage for PackedStrings {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}
