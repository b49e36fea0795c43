//! Tensors: dimensions and shared, immutable values.
//!
//! A tensor never owns its memory alone: it is a window onto a [`Storage`] that may be a `Vec` filled by a decoder or
//! the memory of a tensor that libtensorflow returned. Taking rows of it, or handing it to another thread, copies nothing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::dtype::{bf16, f16, DType, Scalar};
use crate::shape::{element_count, Dims};

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

/// A window onto shared scalars.
#[derive(Clone)]
pub struct Buffer<T> {
    storage: Arc<dyn Storage<T>>,
    start: usize,
    len: usize,
}

impl<T: Scalar> Buffer<T> {
    /// The elements in the window.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.storage.as_slice()[self.start..self.start + self.len]
    }

    /// The bytes of the elements in the window, in the machine's byte order, wherever they lie.
    fn bytes(&self) -> &[u8] {
        let size = size_of::<T>();
        match self.storage.packed().filter(|_| T::TAKES_ANY_BITS) {
            Some(bytes) => &bytes[self.start * size..(self.start + self.len) * size],
            None => bytemuck::cast_slice(self.as_slice()),
        }
    }

    const fn byte_count(&self) -> usize {
        self.len * size_of::<T>()
    }

    fn window(&self, start: usize, len: usize) -> Self {
        Self { storage: Arc::clone(&self.storage), start: self.start + start, len }
    }
}

/// A window onto shared byte strings.
#[derive(Clone)]
pub struct Strings {
    storage: Arc<dyn StringStorage>,
    start: usize,
    len: usize,
}

impl Strings {
    /// How many strings the window shows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the window shows none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of string `index` of the window, NULs and all.
    ///
    /// # Panics
    /// If the window shows no more than `index` strings.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        assert!(index < self.len, "string {index} of {}", self.len);
        self.storage.get(self.start + index)
    }

    /// The strings in the window, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (self.start..self.start + self.len).map(|index| self.storage.get(index))
    }

    fn window(&self, start: usize, len: usize) -> Self {
        Self { storage: Arc::clone(&self.storage), start: self.start + start, len }
    }
}

macro_rules! values {
    ($($variant:ident($type:ty)),* $(,)?) => {
        /// A tensor's elements, by dtype.
        #[derive(Clone)]
        pub enum Values {
            $(#[doc = concat!("Elements of dtype `", stringify!($variant), "`.")] $variant(Buffer<$type>),)*
            /// Byte strings.
            String(Strings),
        }

        impl Values {
            const fn dtype(&self) -> DType {
                match self {
                    $(Self::$variant(_) => DType::$variant,)*
                    Self::String(_) => DType::String,
                }
            }

            fn window(&self, start: usize, len: usize) -> Self {
                match self {
                    $(Self::$variant(buffer) => Self::$variant(buffer.window(start, len)),)*
                    Self::String(strings) => Self::String(strings.window(start, len)),
                }
            }

            fn byte_count(&self) -> usize {
                match self {
                    $(Self::$variant(buffer) => buffer.byte_count(),)*
                    Self::String(strings) => strings.iter().map(<[u8]>::len).sum(),
                }
            }

            fn bytes(&self) -> Option<&[u8]> {
                match self {
                    $(Self::$variant(buffer) => Some(buffer.bytes()),)*
                    Self::String(_) => None,
                }
            }
        }

        impl fmt::Debug for Values {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(buffer) => buffer.as_slice().fmt(f),)*
                    Self::String(strings) => f.debug_list().entries(strings.iter().map(String::from_utf8_lossy)).finish(),
                }
            }
        }

        impl PartialEq for Values {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(a), Self::$variant(b)) => a.as_slice() == b.as_slice(),)*
                    (Self::String(a), Self::String(b)) => a.iter().eq(b.iter()),
                    _ => false,
                }
            }
        }
    };
}

values! {
    Float16(f16), Bfloat16(bf16), Float32(f32), Float64(f64),
    Int8(i8), Int16(i16), Int32(i32), Int64(i64),
    Uint8(u8), Uint16(u16), Uint32(u32), Uint64(u64),
    Bool(bool),
}

/// A tensor: dimensions, and as many values as they call for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dims: Dims,
    values: Values,
}

impl Tensor {
    /// Makes a tensor of scalars, sharing `storage`.
    ///
    /// # Panics
    /// If the storage does not hold exactly as many elements as `dims` call for.
    pub fn from_storage<T: Scalar>(dims: &[usize], storage: Arc<dyn Storage<T>>) -> Self {
        let len = storage.count();
        let dims = checked(Dims::from_slice(dims), len);
        Self { dims, values: T::into_values(Buffer { storage, start: 0, len }) }
    }

    /// Makes a tensor of the scalars of a vector, without copying them.
    ///
    /// # Panics
    /// If `elements` is not as long as `dims` call for.
    pub fn from_vec<T: Scalar>(dims: &[usize], elements: Vec<T>) -> Self {
        Self::from_storage(dims, Arc::new(elements))
    }

    /// Makes a tensor of scalars in the machine's byte order, without copying them where their bits are elements.
    ///
    /// # Panics
    /// If `bytes` are not exactly the elements that `dims` call for.
    pub fn from_bytes<T: Scalar>(dims: &[usize], bytes: Bytes) -> Self {
        Self::from_storage(dims, T::storage(bytes))
    }

    /// Makes a tensor of byte strings, sharing `storage`.
    ///
    /// # Panics
    /// If the storage does not hold exactly as many strings as `dims` call for.
    pub fn from_strings(dims: &[usize], storage: Arc<dyn StringStorage>) -> Self {
        let len = storage.count();
        let dims = checked(Dims::from_slice(dims), len);
        Self { dims, values: Values::String(Strings { storage, start: 0, len }) }
    }

    /// The element type.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.values.dtype()
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The size of the first dimension; `None` for a scalar.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        self.dims.first().copied()
    }

    /// How many elements there are.
    #[must_use]
    pub fn element_count(&self) -> usize {
        element_count(&self.dims).expect("dimensions were checked against the storage; this is a bug")
    }

    /// How many bytes the elements take; for strings, the sum of their lengths.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.values.byte_count()
    }

    /// The elements, by dtype.
    #[must_use]
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// The scalars, if they are of type `T`.
    #[must_use]
    pub fn as_slice<T: Scalar>(&self) -> Option<&[T]> {
        T::of_values(&self.values).map(Buffer::as_slice)
    }

    /// The bytes of the scalars in the machine's byte order, if there are scalars. They may lie anywhere.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.values.bytes()
    }

    /// The same, if the scalars are of type `T`.
    #[must_use]
    pub fn bytes_of<T: Scalar>(&self) -> Option<&[u8]> {
        T::of_values(&self.values).map(Buffer::bytes)
    }

    /// The byte strings, if it holds such.
    #[must_use]
    pub fn as_strings(&self) -> Option<&Strings> {
        if let Values::String(strings) = &self.values {
            Some(strings)
        } else {
            None
        }
    }

    /// Shares `count` rows from row `start` on.
    ///
    /// # Panics
    /// If there are not that many rows.
    #[must_use]
    pub fn slice_rows(&self, start: usize, count: usize) -> Self {
        let rows = self.rows().expect("a tensor with rows; this is a bug");
        assert!(start + count <= rows, "rows {start}+{count} of {rows}; this is a bug");
        let mut dims = self.dims.clone();
        dims[0] = count;
        let row_elements = self.element_count().checked_div(rows).unwrap_or(0);
        Self { dims, values: self.values.window(start * row_elements, count * row_elements) }
    }

    /// Shares row `index` without its outer dimension.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> Self {
        let mut row = self.slice_rows(index, 1);
        row.dims.remove(0);
        row
    }
}

fn checked(dims: Dims, len: usize) -> Dims {
    assert_eq!(element_count(&dims), Some(len), "dimensions {dims:?} for {len} elements; this is a bug");
    dims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_shared_windows() {
        let tensor = Tensor::from_vec(&[3, 2], vec![1_i32, 2, 3, 4, 5, 6]);
        let middle = tensor.slice_rows(1, 2);
        assert_eq!(middle.dims(), [2, 2]);
        assert_eq!(middle.as_slice::<i32>().unwrap(), [3, 4, 5, 6]);
        let row = middle.row(1);
        assert_eq!((row.dims(), row.as_slice::<i32>().unwrap()), (&[2][..], &[5, 6][..]));
        let first = tensor.as_slice::<i32>().unwrap().as_ptr();
        assert_eq!(tensor.slice_rows(0, 1).as_slice::<i32>().unwrap().as_ptr(), first, "no copy");
    }

    #[test]
    fn strings_keep_their_bytes() {
        let strings = vec![Bytes::from_static(b"a\0"), Bytes::from_static(b"\xff")];
        let tensor = Tensor::from_strings(&[2, 1], Arc::new(strings));
        assert_eq!(tensor.byte_count(), 3);
        let row = tensor.row(1);
        assert_eq!(row.as_strings().unwrap().iter().collect::<Vec<_>>(), [b"\xff"]);
    }

    #[test]
    fn zero_rows_have_no_elements() {
        let tensor = Tensor::from_vec::<f32>(&[0, 3], vec![]);
        assert_eq!(tensor.slice_rows(0, 0).dims(), [0, 3]);
    }

    #[test]
    #[should_panic(expected = "this is a bug")]
    fn wrong_length_is_a_bug() {
        let _ = Tensor::from_vec(&[2], vec![1.0_f32]);
    }
}
