//! Scalars and strings as TensorFlow lays them out in memory.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::raw::c_void;
use std::ptr;
use std::slice;

use bytes::Bytes;
use tensorflow::{DataType, TensorType};

use super::c as tf;
use super::c::{TF_DataType, TF_TString_Type};
use super::dtypes::{c_type_of, data_type_of};
use super::memory::{Allocate, Memory};
use crate::storage::StringStorage;
use crate::values::Scalar;

/// A string of at most 22 bytes, which are within the string itself.
const SMALL: u8 = TF_TString_Type::TF_TSTR_SMALL as u8;
/// A string with bytes of its own.
const LARGE: u8 = TF_TString_Type::TF_TSTR_LARGE as u8;
const KIND_MASK: u8 = TF_TString_Type::TF_TSTR_TYPE_MASK as u8;
/// How far the size of a string is shifted to make room for its kind.
const KIND_BITS: u32 = KIND_MASK.count_ones();

/// The place of one scalar in TensorFlow's memory, at whatever address and with whatever bits: memory that nobody has written yet, or
/// a bool that an operation made of any byte.
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub(super) struct Element<T>(MaybeUninit<T>);

/// The bytes of a tensor. They keep the tensor.
///
/// # Safety
/// Every element is initialised, and nobody writes to one any more.
pub(super) unsafe fn bytes<T: Scalar>(tensor: tensorflow::Tensor<Element<T>>) -> Bytes {
    Bytes::from_owner(Filled(tensor))
}

/// A tensor whose elements are initialised.
struct Filled<T: Scalar>(tensorflow::Tensor<Element<T>>);

impl<T: Scalar> AsRef<[u8]> for Filled<T> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the elements lie behind each other, and are initialised by the contract of `bytes`.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * size_of::<T>()) }
    }
}

/// One string as TensorFlow lays it out: a tagged union that may own heap memory. Its drop frees nothing; the tensor that holds it
/// frees it. (`TensorType` requires `Clone`. Only empty strings are cloned, when a tensor is made.)
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct StringElement(pub(super) tf::TF_TString);

impl StringElement {
    /// Copies `bytes` into the string. A view would outlive them if an operation keeps the string.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        // SAFETY: `self` is an initialised string; `bytes` are that many readable bytes, which TensorFlow copies.
        unsafe { tf::TF_StringCopy(&mut self.0, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// The bytes of the string.
    pub(super) fn as_bytes(&self) -> &[u8] {
        // SAFETY: `self` lies in a string tensor's memory and was initialised by TensorFlow or by `Memory::new_inner`. Its kind says
        // which member of the union it is. Pointer and size describe bytes that live as long as the tensor, which `&self` borrows.
        unsafe {
            let (data, size) = match self.kind() {
                // A binding's call takes a lock, which costs several times as much as the rest of reading a label.
                Some(SMALL) => (self.0.u.smll.str_.as_ptr(), usize::from(self.0.u.smll.size >> KIND_BITS)),
                Some(LARGE) => (self.0.u.large.ptr.cast_const(), self.0.u.large.size >> KIND_BITS),
                _ => (tf::TF_StringGetDataPointer(&self.0), tf::TF_StringGetSize(&self.0)),
            };
            if size == 0 {
                &[]
            } else {
                slice::from_raw_parts(data.cast(), size)
            }
        }
    }

    /// The kind of string, in the lowest bits of its first byte (tensorflow/core/platform/ctstring_internal.h). `None` where the
    /// lowest byte of a number is not its first one: there the kind lies elsewhere.
    fn kind(&self) -> Option<u8> {
        // SAFETY: `self` is initialised, and whatever kind of string it is, it has a first byte.
        cfg!(target_endian = "little").then(|| unsafe { self.0.u.raw.raw[0] } & KIND_MASK)
    }
}

// SAFETY: a `TF_TString` is plain data or the owner of heap bytes; reading it from several threads changes nothing.
unsafe impl Send for StringElement {}
// SAFETY: as above.
unsafe impl Sync for StringElement {}

/// The parts of the trait that tensors in place do not need.
macro_rules! tensor_type {
    ($inner:ty) => {
        type InnerType = $inner;

        fn zero() -> Self {
            Self::default()
        }

        fn one() -> Self {
            unreachable!("only graph building asks for it; this is a bug")
        }

        fn is_repr_c() -> bool {
            true
        }

        fn unpack(_data: &[u8], _count: usize) -> Result<Vec<Self>, tensorflow::Status> {
            unreachable!("elements are read in place; this is a bug")
        }

        fn pack(_data: &[Self], _dims: &[u64]) -> Result<*mut tf::TF_Tensor, tensorflow::Status> {
            unreachable!("elements are written in place; this is a bug")
        }
    };
}

pub(super) use tensor_type;

impl<T: Scalar> TensorType for Element<T> {
    tensor_type!(Memory<Self>);

    fn data_type() -> DataType {
        data_type_of(T::DTYPE).expect("every scalar dtype is served; this is a bug")
    }
}

impl<T: Scalar> Allocate for Element<T> {
    fn allocate(dims: &[i64], count: usize) -> *mut tf::TF_Tensor {
        let rank = i32::try_from(dims.len()).expect("rank is limited; this is a bug");
        let Some(bytes) = count.checked_mul(size_of::<T>()) else {
            return ptr::null_mut();
        };
        // SAFETY: `dims` holds `rank` numbers; the byte length is that of `count` elements. The memory is not initialised, and an
        // `Element` need not be.
        unsafe { tf::TF_AllocateTensor(c_type_of(T::DTYPE), dims.as_ptr(), rank, bytes) }
    }
}

impl TensorType for StringElement {
    tensor_type!(Memory<Self>);

    fn data_type() -> DataType {
        DataType::String
    }
}

impl Allocate for StringElement {
    fn allocate(dims: &[i64], count: usize) -> *mut tf::TF_Tensor {
        let rank = i32::try_from(dims.len()).expect("rank is limited; this is a bug");
        let elements: Box<[Self]> = vec![Self::default(); count].into_boxed_slice();
        let bytes = size_of_val(&*elements);
        let data = Box::into_raw(elements).cast::<c_void>();
        // SAFETY: `data` are `count` initialised strings that `free_strings` gives back exactly once, when the last user of the
        // buffer lets go (tf_tensor.h, TF_NewTensor: "The data will be deallocated by a subsequent call to TF_DeleteTensor").
        unsafe { tf::TF_NewTensor(TF_DataType::TF_STRING, dims.as_ptr(), rank, data, bytes, Some(free_strings), ptr::null_mut()) }
    }
}

/// Frees the strings that `StringElement::allocate` made: the heap memory of each, and then the array.
unsafe extern "C" fn free_strings(data: *mut c_void, bytes: usize, _: *mut c_void) {
    let count = bytes / size_of::<StringElement>();
    // SAFETY: called once by TensorFlow with the pointer and length that `allocate` gave it.
    let mut elements = unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data.cast::<StringElement>(), count)) };
    for element in &mut elements {
        // SAFETY: each element is an initialised string.
        unsafe { tf::TF_StringDealloc(&mut element.0) }
    }
}

impl Default for StringElement {
    fn default() -> Self {
        let mut string = MaybeUninit::<tf::TF_TString>::uninit();
        // SAFETY: TF_StringInit makes an empty string of any memory of that size, initialised or not.
        unsafe {
            tf::TF_StringInit(string.as_mut_ptr());
            Self(string.assume_init())
        }
    }
}

impl fmt::Debug for StringElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl fmt::Display for StringElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl<T: Scalar> Default for Element<T> {
    fn default() -> Self {
        Self(MaybeUninit::new(T::default()))
    }
}

impl<T: Scalar> fmt::Debug for Element<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its value may not be initialised.
        f.write_str("Element")
    }
}

impl<T: Scalar> fmt::Display for Element<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl StringStorage for tensorflow::Tensor<StringElement> {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        self[index].as_bytes()
    }
}
