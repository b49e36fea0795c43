//! Scalars in bytes that came over a wire: shown where they lie, even at an address that elements may not have. A run copies
//! such bytes into TensorFlow's memory as they are; only who wants to look at elements pays for moving them.

use std::sync::OnceLock;

use bytemuck::AnyBitPattern;
use bytes::Bytes;

use crate::dtype::Scalar;
use crate::tensor::Storage;

/// Elements in row-major order, in the machine's byte order.
pub(crate) struct Packed<T> {
    bytes: Bytes,
    /// The elements at an address they may have, where `bytes` is at none and somebody has looked.
    moved: OnceLock<Vec<T>>,
}

impl<T: Scalar + AnyBitPattern> Packed<T> {
    /// Wraps bytes that are whole elements.
    pub(crate) fn new(bytes: Bytes) -> Self {
        assert!(bytes.len().is_multiple_of(size_of::<T>()), "whole elements; this is a bug");
        Self { bytes, moved: OnceLock::new() }
    }
}

impl<T: Scalar + AnyBitPattern> Storage<T> for Packed<T> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

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
