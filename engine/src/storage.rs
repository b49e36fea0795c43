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

/// Byte strings behind each other in one block. Millions of short strings would take several times as much in blocks of their own.
#[derive(Debug, Default)]
pub struct PackedStrings {
    bytes: Vec<u8>,
    /// Where each string ends.
    ends: Vec<usize>,
}

impl PackedStrings {
    /// Makes room for `count` more strings of `byte_count` bytes together.
    pub fn reserve(&mut self, count: usize, byte_count: usize) {
        self.ends.reserve(count);
        self.bytes.reserve(byte_count);
    }

    /// Appends a string.
    #[inline]
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    /// Appends the string that `write` appends to the block.
    ///
    /// # Errors
    /// That of `write`, which leaves the block as it was then.
    pub fn push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        write(&mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_strings_lie_behind_each_other_in_memory_reserved_once() {
        let mut packed = PackedStrings::default();
        packed.reserve(3, 5);
        let (bytes, ends) = (packed.bytes.as_ptr(), packed.ends.as_ptr());
        packed.push(b"ab");
        packed.push(b"");
        let write = |block: &mut Vec<u8>| {
            block.extend_from_slice(b"c\0d");
            Ok::<_, ()>(())
        };
        packed.push_with(write).unwrap();
        assert_eq!((0..packed.count()).map(|index| packed.get(index)).collect::<Vec<_>>(), [b"ab".as_slice(), b"", b"c\0d"]);
        assert_eq!((packed.bytes.as_ptr(), packed.ends.as_ptr()), (bytes, ends));
        assert_eq!(packed.push_with(|_| Err("refused")), Err("refused"));
        assert_eq!(packed.count(), 3, "what was refused is no string");
    }
}
