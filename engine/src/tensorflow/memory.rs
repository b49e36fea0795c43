//! Tensors in TensorFlow's own memory.
//!
//! The crate `tensorflow` lets a type bring its own representation of tensors (`TensorType::InnerType`). [`Memory`] is ours: the C
//! tensor and the address of its elements. Elements are copied into it once and read from it in place. Strings may hold any bytes;
//! the crate's own representation accepts only UTF-8.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use tensorflow::{Code, Status, TensorInner, TensorType};

use super::c as tf;
use super::dtypes::dtype_of;
use crate::dtype::DType;
use crate::shape::{element_count, Dims};

/// An owned C tensor, and the address of its elements.
pub(super) struct Memory<T> {
    /// `None` if TensorFlow had no memory for it. Then there are no elements.
    tensor: Option<NonNull<tf::TF_Tensor>>,
    elements: NonNull<T>,
    count: usize,
    /// Whether nobody else has the elements. TensorFlow may share those of an output with a variable or with another output.
    is_ours: bool,
}

// SAFETY: c_api.h: "Graphs are thread-safe when used as directed below" and tf_tensor.h: "TF_Tensor holds a multi-dimensional
// array of elements of a single data type". The tensor is a plain owned handle with no thread affinity, and once it is filled it is
// only read.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T> Memory<T> {
    /// Takes over a C tensor. `None` if it has no memory for its elements; then it is deleted.
    ///
    /// # Safety
    /// `tensor` is valid, owned by nobody else, and is one of `count` elements of type `T`. Nobody else has its elements if `is_ours`.
    unsafe fn own(tensor: NonNull<tf::TF_Tensor>, count: usize, is_ours: bool) -> Option<Self> {
        // SAFETY: the tensor is valid by this function's contract.
        let data = unsafe { tf::TF_TensorData(tensor.as_ptr()) };
        let mut memory = Self { tensor: Some(tensor), elements: NonNull::dangling(), count: 0, is_ours };
        // The data of an empty tensor may be null or have an address that is not aligned.
        if count > 0 {
            memory.elements = NonNull::new(data.cast())?;
            memory.count = count;
        }
        Some(memory)
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        if let Some(tensor) = self.tensor {
            // SAFETY: this is the tensor's one owner (`own`'s contract).
            unsafe { tf::TF_DeleteTensor(tensor.as_ptr()) }
        }
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `elements` points to `count` elements (`own`'s contract) that live until drop, or dangles with `count` 0. The types
        // of elements are valid in whatever state the memory is: `Element` need not be initialised, and strings are made empty.
        unsafe { slice::from_raw_parts(self.elements.as_ptr(), self.count) }
    }
}

impl<T> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        assert!(self.is_ours, "only a new tensor is written; this is a bug");
        // SAFETY: as in `deref`, and `&mut self` is the only access, for nobody else has the elements.
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
    /// Makes a C tensor for `count` elements, which nobody else has. Null if there is no memory for it.
    fn allocate(dims: &[i64], count: usize) -> *mut tf::TF_Tensor;
}

/// Makes a tensor for the elements of `dims`. `None` if there is no memory for it.
fn allocate<T: Allocate>(dims: &[u64]) -> Option<Memory<T>> {
    let sizes: Dims = dims.iter().map(|&dim| usize::try_from(dim)).collect::<Result<_, _>>().ok()?;
    let count = element_count(&sizes)?;
    let dims: Vec<i64> = dims.iter().map(|&dim| i64::try_from(dim)).collect::<Result<_, _>>().ok()?;
    let tensor = NonNull::new(T::allocate(&dims, count))?;
    // SAFETY: `allocate` just made it for `count` elements of `T`, and nobody else has them.
    unsafe { Memory::own(tensor, count, true) }
}

impl<T: Allocate> TensorInner<T> for Memory<T> {
    /// Has fewer elements than `dims` says if there is no memory for them: the trait knows no error.
    fn new_inner(dims: &[u64]) -> Self {
        allocate(dims).unwrap_or(Self { tensor: None, elements: NonNull::dangling(), count: 0, is_ours: true })
    }

    unsafe fn from_tf_tensor(tensor: *mut tf::TF_Tensor) -> Option<Self> {
        let tensor = NonNull::new(tensor)?;
        // SAFETY: valid by this function's contract.
        let (number, count) = unsafe { (tf::TF_TensorType(tensor.as_ptr()) as u32, tf::TF_TensorElementCount(tensor.as_ptr())) };
        if DType::from_number(number) != dtype_of(T::data_type()) {
            return None;
        }
        // SAFETY: valid and ours by this function's contract; dtype and count were just read from it.
        unsafe { Self::own(tensor, usize::try_from(count).ok()?, false) }
    }

    fn as_mut_ptr(&self, _dims: &[u64]) -> Result<*mut tf::TF_Tensor, Status> {
        match self.tensor {
            Some(tensor) => Ok(tensor.as_ptr()),
            None => Err(Status::new_set_lossy(Code::ResourceExhausted, "no memory for a tensor")),
        }
    }
}
