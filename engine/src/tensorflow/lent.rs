//! The memory of a request that runs alone, lent to TensorFlow for the run.
//!
//! TensorFlow writes into the memory of an input if nobody else has it and if it is TensorFlow's own (tensor.h,
//! `Tensor::RefCountIsOne`). Lent memory is neither: [`Lent`] has it until the run has ended, and `TF_NewTensor` marks memory that
//! others free (tf_tensor_internal.h, `OwnsMemory`). TensorFlow's own Python client lends arrays in the same way. Some operations
//! write into an input without this question, or keep it for later runs. All of them count as changes of state (graph/effects.rs),
//! so the session lends nothing to a run that may change state.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::raw::c_void;
use std::ptr::NonNull;
use std::slice;

use smallvec::SmallVec;
use tensorflow::{Code, DataType, Status, TensorInner, TensorType};

use super::c as tf;
use super::dtypes::c_type_of;
use super::elements::tensor_type;
use crate::tensor::Tensor;

/// The address of every tensor of TensorFlow is a multiple of this (`EIGEN_MAX_ALIGN_BYTES` of its own builds). `TF_NewTensor` copies
/// memory at other addresses, and does not look whether it got memory for the copy.
const ALIGNMENT: usize = 64;

/// A tensor whose memory TensorFlow has for a run.
pub(super) struct Lent {
    pub(super) tensor: Tensor,
    /// The C tensor, as the crate `tensorflow` feeds it.
    pub(super) place: tensorflow::Tensor<Place>,
}

impl Lent {
    /// Lends the memory of a tensor. `None` if TensorFlow does not take it as it is: strings, no elements, or another address.
    pub(super) fn new(tensor: &Tensor) -> Option<Self> {
        let bytes = tensor.as_bytes().filter(|bytes| !bytes.is_empty() && bytes.as_ptr().addr().is_multiple_of(ALIGNMENT))?;
        let dims: SmallVec<[i64; 4]> = tensor.dims().iter().map(|&dim| i64::try_from(dim)).collect::<Result<_, _>>().ok()?;
        let rank = i32::try_from(dims.len()).ok()?;
        let (dtype, data) = (c_type_of(tensor.dtype()), bytes.as_ptr().cast_mut().cast());
        // SAFETY: `dims` holds `rank` numbers, and `data` has the elements of all of them, in that many bytes. The owner keeps them at
        // their place until TensorFlow calls `give_back`, once. Nobody writes to them (see the module).
        let made =
            unsafe { tf::TF_NewTensor(dtype, dims.as_ptr(), rank, data, bytes.len(), Some(give_back), owner(tensor.clone())) };
        let made = NonNull::new(made)?;
        let mut place = tensorflow::Tensor::new(&[]);
        place[0] = Place(Some(made));
        Some(Self { tensor: tensor.clone(), place })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(tensor) = self.place[0].0.take() {
            // SAFETY: `new` has made it, and nobody else deletes it. TensorFlow counts its own uses of the memory.
            unsafe { tf::TF_DeleteTensor(tensor.as_ptr()) }
        }
    }
}

/// Keeps a tensor for TensorFlow, which gives it back on whichever thread uses it last.
fn owner<T: Send>(kept: T) -> *mut c_void {
    Box::into_raw(Box::new(kept)).cast()
}

unsafe extern "C" fn give_back(_data: *mut c_void, _bytes: usize, owner: *mut c_void) {
    // SAFETY: TensorFlow calls this once, with what `owner` has made.
    drop(unsafe { Box::from_raw(owner.cast::<Tensor>()) });
}

/// The place of a C tensor in a tensor of the crate `tensorflow`. The crate makes its tensors of a shape alone and shows nothing of
/// them but their elements. So the C tensor stands there as the only element.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Option<NonNull<tf::TF_Tensor>>);

impl TensorType for Place {
    tensor_type!(OnePlace);

    fn data_type() -> DataType {
        unreachable!("only outputs are asked for it; this is a bug")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct OnePlace(Place);

impl Deref for OnePlace {
    type Target = [Place];

    fn deref(&self) -> &[Place] {
        slice::from_ref(&self.0)
    }
}

impl DerefMut for OnePlace {
    fn deref_mut(&mut self) -> &mut [Place] {
        slice::from_mut(&mut self.0)
    }
}

impl TensorInner<Place> for OnePlace {
    fn new_inner(_dims: &[u64]) -> Self {
        Self::default()
    }

    unsafe fn from_tf_tensor(_tensor: *mut tf::TF_Tensor) -> Option<Self> {
        unreachable!("no output is fetched so; this is a bug")
    }

    fn as_mut_ptr(&self, _dims: &[u64]) -> Result<*mut tf::TF_Tensor, Status> {
        let tensor = self.0 .0.map(NonNull::as_ptr);
        tensor.ok_or_else(|| Status::new_set_lossy(Code::Internal, "nothing is lent; this is a bug"))
    }
}
