//! A fake of the C API's functions on tensors. It counts what lives, allocates what is not initialised, and can be out of memory.

#![allow(non_snake_case, clippy::upper_case_acronyms)]

use std::alloc::{alloc, dealloc, Layout};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::os::raw::{c_char, c_int, c_void};
use std::{ptr, slice};

use tensorflow_sys_runtime::{TF_DataType, TF_TString, TF_TString_Large, TF_TString_Type, TF_TString_View, TF_Tensor};

/// The result of the next allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Succeeds,
    /// Gives no tensor.
    IsNull,
    /// Gives a tensor without memory, as TensorFlow does when its allocator fails.
    HasNoData,
    /// Gives a tensor at an odd address.
    IsUnaligned,
}

thread_local! {
    static NEXT: Cell<Next> = const { Cell::new(Next::Succeeds) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Chooses what the next allocation of this thread does.
pub(super) fn set_next(next: Next) {
    NEXT.set(next);
}

/// How many tensors and long strings of this thread live.
pub(super) fn live() -> isize {
    LIVE.get()
}

type Deallocator = unsafe extern "C" fn(*mut c_void, usize, *mut c_void);

struct FakeTensor {
    dtype: TF_DataType,
    count: i64,
    data: *mut c_void,
    bytes: usize,
    /// How far `data` is behind the start of the allocation.
    offset: usize,
    /// The function that frees the data, and its argument.
    deallocator: Option<(Deallocator, *mut c_void)>,
}

/// TensorFlow aligns its tensors so.
fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(1), 64).unwrap()
}

fn tensor(
    dtype: TF_DataType,
    dims: &[i64],
    data: *mut c_void,
    bytes: usize,
    deallocator: Option<(Deallocator, *mut c_void)>,
) -> *mut TF_Tensor {
    LIVE.set(LIVE.get() + 1);
    let count = dims.iter().product();
    Box::into_raw(Box::new(FakeTensor { dtype, count, data, bytes, offset: 0, deallocator })).cast()
}

/// A tensor whose elements are not initialised.
fn allocated(dtype: TF_DataType, dims: &[i64], bytes: usize, offset: usize) -> *mut TF_Tensor {
    // SAFETY: the layout has a size above zero, and the offset lies in it.
    let data = unsafe { alloc(layout(offset + bytes)).add(offset) };
    let made = tensor(dtype, dims, data.cast(), bytes, None);
    // SAFETY: `tensor` has just made it.
    unsafe { (*made.cast::<FakeTensor>()).offset = offset };
    made
}

pub(super) unsafe fn TF_AllocateTensor(dtype: TF_DataType, dims: *const i64, rank: c_int, bytes: usize) -> *mut TF_Tensor {
    // SAFETY: the contract of the C function.
    let dims = unsafe { slice::from_raw_parts(dims, rank as usize) };
    match NEXT.replace(Next::Succeeds) {
        Next::IsNull => ptr::null_mut(),
        Next::HasNoData => tensor(dtype, dims, ptr::null_mut(), bytes, None),
        Next::Succeeds => allocated(dtype, dims, bytes, 0),
        Next::IsUnaligned => allocated(dtype, dims, bytes, 1),
    }
}

pub(super) unsafe fn TF_NewTensor(
    dtype: TF_DataType,
    dims: *const i64,
    rank: c_int,
    data: *mut c_void,
    bytes: usize,
    deallocator: Option<Deallocator>,
    argument: *mut c_void,
) -> *mut TF_Tensor {
    let deallocator = deallocator.map(|deallocator| (deallocator, argument));
    // SAFETY: the contract of the C function.
    tensor(dtype, unsafe { slice::from_raw_parts(dims, rank as usize) }, data, bytes, deallocator)
}

pub(super) unsafe fn TF_DeleteTensor(tensor: *mut TF_Tensor) {
    LIVE.set(LIVE.get() - 1);
    // SAFETY: the caller gives back what a function above made.
    let FakeTensor { data, bytes, offset, deallocator, .. } = *unsafe { Box::from_raw(tensor.cast::<FakeTensor>()) };
    match deallocator {
        // SAFETY: the maker of the tensor gave this function for its data.
        Some((deallocator, argument)) => unsafe { deallocator(data, bytes, argument) },
        None if data.is_null() => {}
        // SAFETY: `allocated` made it with this layout.
        None => unsafe { dealloc(data.cast::<u8>().sub(offset), layout(offset + bytes)) },
    }
}

pub(super) unsafe fn TF_TensorData(tensor: *const TF_Tensor) -> *mut c_void {
    // SAFETY: a function above made it.
    unsafe { (*tensor.cast::<FakeTensor>()).data }
}

pub(super) unsafe fn TF_TensorType(tensor: *const TF_Tensor) -> TF_DataType {
    // SAFETY: a function above made it.
    unsafe { (*tensor.cast::<FakeTensor>()).dtype }
}

pub(super) unsafe fn TF_TensorElementCount(tensor: *const TF_Tensor) -> i64 {
    // SAFETY: a function above made it.
    unsafe { (*tensor.cast::<FakeTensor>()).count }
}

/// The longest string that is kept within a `TF_TString`.
const SMALL_BYTES_MAX: usize = 22;

/// The kind of a string, in the lowest bits of its first byte.
fn kind(string: &TF_TString) -> TF_TString_Type {
    use TF_TString_Type::{TF_TSTR_LARGE, TF_TSTR_OFFSET, TF_TSTR_SMALL, TF_TSTR_VIEW};
    // SAFETY: the caller has initialised the string.
    let first = unsafe { string.u.raw.raw[0] };
    [TF_TSTR_SMALL, TF_TSTR_LARGE, TF_TSTR_OFFSET, TF_TSTR_VIEW][usize::from(first & 3)]
}

/// Makes a string whose bytes belong to somebody else, as operations may.
pub(super) fn view(bytes: &'static [u8]) -> TF_TString {
    let mut string = MaybeUninit::<TF_TString>::uninit();
    // SAFETY: `TF_StringInit` initialises the string, of which this is one member.
    unsafe {
        TF_StringInit(string.as_mut_ptr());
        let mut string = string.assume_init();
        let size = bytes.len() << 2 | TF_TString_Type::TF_TSTR_VIEW as usize;
        string.u.view = TF_TString_View { size, ptr: bytes.as_ptr().cast() };
        string
    }
}

pub(super) unsafe fn TF_StringInit(string: *mut TF_TString) {
    // SAFETY: the caller gives memory for a string, initialised or not.
    unsafe { string.write_bytes(0, 1) }
}

pub(super) unsafe fn TF_StringCopy(string: *mut TF_TString, source: *const c_char, bytes: usize) {
    // SAFETY: the caller gives an initialised string and that many bytes.
    unsafe {
        TF_StringDealloc(string);
        let source = slice::from_raw_parts(source, bytes);
        if bytes <= SMALL_BYTES_MAX {
            (*string).u.smll.size = (bytes << 2) as u8;
            let small = &mut (*string).u.smll.str_;
            small[..bytes].copy_from_slice(source);
        } else {
            LIVE.set(LIVE.get() + 1);
            let size = bytes << 2 | TF_TString_Type::TF_TSTR_LARGE as usize;
            let ptr = Box::into_raw(Box::<[c_char]>::from(source)).cast();
            (*string).u.large = TF_TString_Large { size, cap: bytes, ptr };
        }
    }
}

pub(super) unsafe fn TF_StringDealloc(string: *mut TF_TString) {
    // SAFETY: the caller gives an initialised string, whose data `TF_StringCopy` made if it is a long one.
    unsafe {
        if kind(&*string) == TF_TString_Type::TF_TSTR_LARGE {
            LIVE.set(LIVE.get() - 1);
            let TF_TString_Large { size, ptr, .. } = (*string).u.large;
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(ptr, size >> 2)));
        }
        TF_StringInit(string);
    }
}

/// Asked only for strings that the engine does not read by itself.
pub(super) unsafe fn TF_StringGetSize(string: *const TF_TString) -> usize {
    // SAFETY: the caller gives an initialised string, whose kind is checked here.
    unsafe {
        assert_eq!(kind(&*string), TF_TString_Type::TF_TSTR_VIEW);
        (*string).u.view.size >> 2
    }
}

/// As above.
pub(super) unsafe fn TF_StringGetDataPointer(string: *const TF_TString) -> *const c_char {
    // SAFETY: the caller gives an initialised string, whose kind is checked here.
    unsafe {
        assert_eq!(kind(&*string), TF_TString_Type::TF_TSTR_VIEW);
        (*string).u.view.ptr
    }
}
