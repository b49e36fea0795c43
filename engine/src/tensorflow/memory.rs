//! Tensors in TensorFlow's own memory.
//!
//! The crate `tensorflow` lets a type bring its own representation of tensors (`TensorType::InnerType`). [`Memory`] is ours: the C
//! tensor and the address of its elements. Elements are copied into it once and read from it in place. Strings may hold any bytes;
//! the crate's own representation accepts only UTF-8.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use tensorflow::{Status, TensorInner, TensorType};
use tensorflow_sys_runtime as tf;

use super::dtypes::dtype_of;
use crate::dtype::DType;

/// An owned C tensor, and the address of its elements.
pub(super) struct Memory<T> {
    tensor: NonNull<tf::TF_Tensor>,
    elements: NonNull<T>,
    count: usize,
}

// SAFETY: c_api.h: "Graphs are thread-safe when used as directed below" and tf_tensor.h: "TF_Tensor holds a multi-dimensional
// array of elements of a single data type". The tensor is a plain owned handle with no thread affinity, and once it is filled it is
// only read.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T> Memory<T> {
    /// Takes over a C tensor.
    ///
    /// # Safety
    /// `tensor` is valid, owned by nobody else, and holds `count` elements of type `T`.
    unsafe fn own(tensor: NonNull<tf::TF_Tensor>, count: usize) -> Self {
        // SAFETY: the tensor is valid by this function's contract.
        let data = unsafe { tf::TF_TensorData(tensor.as_ptr()) };
        // The data of an empty tensor may be null or have an address that is not aligned.
        let elements = if count == 0 { None } else { NonNull::new(data.cast()) };
        Self { tensor, elements: elements.unwrap_or(NonNull::dangling()), count }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: this is the tensor's one owner (`own`'s contract).
        unsafe { tf::TF_DeleteTensor(self.tensor.as_ptr()) }
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `elements` points to `count` elements (`own`'s contract) that live until drop, or dangles with `count` 0.
        unsafe { slice::from_raw_parts(self.elements.as_ptr(), self.count) }
    }
}

impl<T> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.elements.as_ptr(), self.count) }
    }
}

impl<T> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} elements)", self.count)
    }
}

impl<T> Clone for Memory<T> {
    fn clone(&self) -> Self {
        unreachable!("the trait asks for Clone, but TensorFlow's memory is shared, never cloned; this is a bug")
    }
}

/// An element type that can make C tensors.
pub(super) trait Allocate: TensorType {
    /// Makes a C tensor for `count` elements. The caller writes every element before anything reads one.
    fn allocate(dims: &[i64], count: usize) -> *mut tf::TF_Tensor;
}

impl<T: Allocate> TensorInner<T> for Memory<T> {
    fn new_inner(dims: &[u64]) -> Self {
        let dims: Vec<i64> = dims.iter().map(|&dim| i64::try_from(dim).expect("a dimension fits i64; this is a bug")).collect();
        let count = usize::try_from(dims.iter().product::<i64>()).expect("a tensor fits memory; this is a bug");
        let tensor = NonNull::new(T::allocate(&dims, count)).expect("libtensorflow ran out of memory for a tensor");
        // SAFETY: `allocate` just made it for `count` elements of `T`.
        unsafe { Self::own(tensor, count) }
    }

    unsafe fn from_tf_tensor(tensor: *mut tf::TF_Tensor) -> Option<Self> {
        let tensor = NonNull::new(tensor)?;
        // SAFETY: valid by this function's contract.
        let (number, count) = unsafe { (tf::TF_TensorType(tensor.as_ptr()) as u32, tf::TF_TensorElementCount(tensor.as_ptr())) };
        if DType::from_number(number) != dtype_of(T::data_type()) {
            return None;
        }
        // SAFETY: valid and ours by this function's contract; dtype and count were just read from it.
        Some(unsafe { Self::own(tensor, usize::try_from(count).ok()?) })
    }

    fn as_mut_ptr(&self, _dims: &[u64]) -> Result<*mut tf::TF_Tensor, Status> {
        Ok(self.tensor.as_ptr())
    }
}
