//! Tensors: dimensions and shared, immutable values.
//!
//! A tensor is a window onto a [`Storage`], which other tensors may share. Taking rows of a tensor, or handing it to another
//! thread, copies no element.

use std::sync::Arc;

use bytes::Bytes;

use crate::dtype::DType;
use crate::shape::{element_count, Dims};
use crate::storage::{Storage, StringStorage};
use crate::values::{Buffer, Scalar, Strings, Values};

/// The most memory of a string beside its bytes: TensorFlow's own strings take 24 bytes, and those of a message 32.
const STRING_BYTES: usize = 32;

/// A tensor: dimensions, and as many elements as they call for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dims: Dims,
    values: Values,
}

impl Tensor {
    /// Makes a tensor of the scalars in `storage`.
    ///
    /// # Panics
    /// If the storage does not hold exactly as many elements as `dims` call for.
    pub fn from_storage<T: Scalar>(dims: &[usize], storage: Arc<dyn Storage<T>>) -> Self {
        let dims = checked(Dims::from_slice(dims), storage.count());
        Self { dims, values: T::into_values(Buffer::new(storage)) }
    }

    /// Makes a tensor of the scalars of a vector, without copying them.
    ///
    /// # Panics
    /// If `elements` is not as long as `dims` call for.
    pub fn from_vec<T: Scalar>(dims: &[usize], elements: Vec<T>) -> Self {
        Self::from_storage(dims, Arc::new(elements))
    }

    /// Makes a tensor of scalars in the machine's byte order. Copies them only if some patterns of bits are no valid elements.
    ///
    /// # Panics
    /// If `bytes` are not exactly the elements that `dims` call for.
    pub fn from_bytes<T: Scalar>(dims: &[usize], bytes: Bytes) -> Self {
        Self::from_storage(dims, T::storage(bytes))
    }

    /// Makes a tensor of the byte strings in `storage`.
    ///
    /// # Panics
    /// If the storage does not hold exactly as many strings as `dims` call for.
    pub fn from_strings(dims: &[usize], storage: Arc<dyn StringStorage>) -> Self {
        let dims = checked(Dims::from_slice(dims), storage.count());
        Self { dims, values: Values::String(Strings::new(storage)) }
    }

    /// The dtype of the elements.
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

    /// How many bytes the elements have. Strings count by their lengths.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.values.byte_count()
    }

    /// How many bytes of memory the elements take at most, be they decoded or a run's.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let strings = self.as_strings().map_or(0, |strings| strings.len().saturating_mul(STRING_BYTES));
        self.byte_count().saturating_add(strings)
    }

    /// The elements, by dtype.
    #[must_use]
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// The scalars, if the elements are of type `T`.
    #[must_use]
    pub fn as_slice<T: Scalar>(&self) -> Option<&[T]> {
        T::of_values(&self.values).map(Buffer::as_slice)
    }

    /// The bytes of the elements in the machine's byte order, unless the elements are strings. Their address may be unaligned.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.values.bytes()
    }

    /// The bytes of the elements in the machine's byte order, if the elements are of type `T`. Their address may be unaligned.
    #[must_use]
    pub fn bytes_of<T: Scalar>(&self) -> Option<&[u8]> {
        T::of_values(&self.values).map(Buffer::bytes)
    }

    /// The byte strings, if the elements are strings.
    #[must_use]
    pub fn as_strings(&self) -> Option<&Strings> {
        if let Values::String(strings) = &self.values {
            Some(strings)
        } else {
            None
        }
    }

    /// Gives `count` rows from row `start` on. They share the memory of this tensor.
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

    /// Gives row `index` without the first dimension. It shares the memory of this tensor.
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
    fn windows_of_windows_show_their_own_rows() {
        let scalars = Tensor::from_vec(&[4, 2], (0..8_i32).collect());
        assert_eq!(scalars.slice_rows(1, 3).slice_rows(2, 1).as_slice::<i32>().unwrap(), [6, 7]);
        let strings = ["a", "bb", "ccc", "dddd"].map(|text| Bytes::from_static(text.as_bytes()));
        let strings = Tensor::from_strings(&[4], Arc::new(strings.to_vec()));
        let rest = strings.slice_rows(1, 3);
        let shown = rest.as_strings().unwrap();
        assert_eq!((shown.len(), shown.is_empty(), shown.get(0), shown.get(2)), (3, false, &b"bb"[..], &b"dddd"[..]));
        assert_eq!((rest.byte_count(), shown.iter().len()), (2 + 3 + 4, 3));
        let last = rest.slice_rows(2, 1);
        assert_eq!((last.as_strings().unwrap().get(0), last.byte_count()), (&b"dddd"[..], 4));
        assert!(rest.slice_rows(1, 0).as_strings().unwrap().is_empty());
    }

    #[test]
    fn strings_keep_their_bytes() {
        let strings = vec![Bytes::from_static(b"a\0"), Bytes::from_static(b"\xff")];
        let tensor = Tensor::from_strings(&[2, 1], Arc::new(strings));
        assert_eq!((tensor.byte_count(), tensor.held_bytes()), (3, 3 + 2 * STRING_BYTES));
        let row = tensor.row(1);
        assert_eq!(row.as_strings().unwrap().iter().collect::<Vec<_>>(), [b"\xff"]);
    }

    #[test]
    fn scalars_have_bytes_and_strings_have_none() {
        let tensor = Tensor::from_vec(&[3], vec![1_u16, 2, 3]);
        assert_eq!(tensor.slice_rows(1, 2).as_bytes(), Some(bytemuck::cast_slice(&[2_u16, 3])));
        assert_eq!(Tensor::from_strings(&[1], Arc::new(vec![Bytes::from_static(b"a")])).as_bytes(), None);
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

    #[test]
    fn bytes_at_any_address_are_elements() {
        let elements = [1.5_f32, -2.0, 3.25];
        for offset in 0..4 {
            let mut bytes = vec![0; offset];
            bytes.extend_from_slice(bytemuck::cast_slice(&elements));
            let bytes = Bytes::from(bytes).slice(offset..);
            let tensor = Tensor::from_bytes::<f32>(&[3, 1], bytes.clone());
            let rows = tensor.slice_rows(1, 2);
            assert_eq!(rows.bytes_of::<f32>().unwrap(), &bytes[4..], "offset {offset}");
            assert_eq!(rows.bytes_of::<f32>().unwrap().as_ptr(), bytes[4..].as_ptr(), "not copied");
            assert_eq!(rows.as_slice::<f32>().unwrap(), &elements[1..]);
            assert_eq!((rows.byte_count(), rows.dims()), (8, &[2, 1][..]));
        }
    }

    #[test]
    fn a_bool_is_zero_or_not() {
        let tensor = Tensor::from_bytes::<bool>(&[3], Bytes::from_static(&[0, 1, 255]));
        assert_eq!(tensor.as_slice::<bool>().unwrap(), [false, true, true]);
        assert_eq!(tensor.bytes_of::<bool>().unwrap(), [0, 1, 1]);
    }
}
