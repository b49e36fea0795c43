//! Tensors in TensorFlow's own memory.
//!
//! The crate `tensorflow` lets a type bring its own tensor representation (`TensorType::InnerType`); ours is [`Memory`]: the
//! C tensor and where its elements lie. Scalars are copied into it once and read from it in place; strings likewise, byte
//! for byte, where the crate's own would insist on UTF-8.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::raw::c_void;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use tensorflow::{DataType, Operation, SessionRunArgs, Status, TensorInner, TensorType};
use tensorflow_sys_runtime as tf;

use crate::batch::merged_dims;
use crate::dtype::{DType, Scalar};
use crate::error::{Code, Error};
use crate::shape::Dims;
use crate::tensor::{Storage, StringStorage, Tensor};
use crate::with_scalar;

macro_rules! data_types {
    ($($dtype:ident = $data_type:ident),* $(,)?) => {
        /// The crate's name of a dtype that is served.
        pub(super) fn data_type_of(dtype: DType) -> Option<DataType> {
            match dtype {
                $(DType::$dtype => Some(DataType::$data_type),)*
                DType::Complex64 | DType::Complex128 | DType::Other(_) => None,
            }
        }

        /// Our name of the crate's data type; reference types (`float_ref`) are the type they refer to.
        pub(super) fn dtype_of(data_type: DataType) -> DType {
            match data_type {
                $(DataType::$data_type => DType::$dtype,)*
                DataType::Complex64 => DType::Complex64,
                DataType::Complex128 => DType::Complex128,
                DataType::UnrecognizedEnumValue(number) => DType::from_number(number),
                _ => DType::Other(0),
            }
        }
    };
}

data_types! {
    Float16 = Half, Bfloat16 = BFloat16, Float32 = Float, Float64 = Double,
    Int8 = Int8, Int16 = Int16, Int32 = Int32, Int64 = Int64,
    Uint8 = UInt8, Uint16 = UInt16, Uint32 = UInt32, Uint64 = UInt64,
    Bool = Bool, String = String,
}

/// One scalar as TensorFlow lays it out, which is as Rust does.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Element<T>(T);

/// One string as TensorFlow lays it out: a tagged union that may own heap memory.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct StringElement(tf::TF_TString);

impl StringElement {
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: `self` lies in a string tensor's memory and was initialised by TensorFlow or by `Memory::new_inner`; pointer
        // and size describe bytes that live as long as the tensor, which `&self` borrows.
        unsafe {
            let size = tf::TF_StringGetSize(&self.0);
            let data = tf::TF_StringGetDataPointer(&self.0);
            if size == 0 {
                &[]
            } else {
                slice::from_raw_parts(data.cast(), size)
            }
        }
    }
}

/// A C tensor, owned, and its elements.
pub(super) struct Memory<T> {
    tensor: NonNull<tf::TF_Tensor>,
    elements: NonNull<T>,
    count: usize,
}

// SAFETY: c_api.h: "Graphs are thread-safe when used as directed below" and tf_tensor.h: "TF_Tensor holds a multi-dimensional
// array of elements of a single data type"; it is a plain owned handle with no thread affinity, and after it has been filled
// we only read it.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Sync> Sync for Memory<T> {}
// SAFETY: a `TF_TString` is plain data or the owner of heap bytes; reading it from several threads changes nothing.
unsafe impl Send for StringElement {}
// SAFETY: as above.
unsafe impl Sync for StringElement {}

impl<T> Memory<T> {
    /// Takes over a C tensor.
    ///
    /// # Safety
    /// `tensor` is valid, owned by nobody else, and holds `count` elements of type `T`.
    unsafe fn own(tensor: NonNull<tf::TF_Tensor>, count: usize) -> Self {
        // SAFETY: the tensor is valid by this function's contract.
        let data = unsafe { tf::TF_TensorData(tensor.as_ptr()) };
        // The data of an empty tensor may be null, or an address that no element could have.
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

/// How the elements of a tensor come to be.
pub(super) trait Allocate: TensorType {
    /// Makes a C tensor with every element valid.
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

macro_rules! tensor_type {
    () => {
        type InnerType = Memory<Self>;

        fn zero() -> Self {
            Self::default()
        }

        fn one() -> Self {
            unreachable!("only graph building asks for it; this is a bug")
        }

        fn is_repr_c() -> bool {
            true
        }

        fn unpack(_data: &[u8], _count: usize) -> Result<Vec<Self>, Status> {
            unreachable!("elements are read in place; this is a bug")
        }

        fn pack(_data: &[Self], _dims: &[u64]) -> Result<*mut tf::TF_Tensor, Status> {
            unreachable!("elements are written in place; this is a bug")
        }
    };
}

impl<T: Scalar> TensorType for Element<T> {
    tensor_type!();

    fn data_type() -> DataType {
        data_type_of(T::DTYPE).expect("every scalar dtype is served; this is a bug")
    }
}

impl<T: Scalar> Allocate for Element<T> {
    fn allocate(dims: &[i64], count: usize) -> *mut tf::TF_Tensor {
        let rank = i32::try_from(dims.len()).expect("rank is limited; this is a bug");
        // SAFETY: `dims` holds `rank` numbers; the byte length is that of `count` elements. The memory is not initialised: the
        // one caller, `Feed::merge`, writes every element before anything reads one.
        unsafe { tf::TF_AllocateTensor(c_data_type(T::DTYPE), dims.as_ptr(), rank, count * size_of::<T>()) }
    }
}

impl TensorType for StringElement {
    tensor_type!();

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
        unsafe {
            tf::TF_NewTensor(tf::TF_DataType::TF_STRING, dims.as_ptr(), rank, data, bytes, Some(free_strings), std::ptr::null_mut())
        }
    }
}

/// Frees what `StringElement::allocate` made: each string's heap memory, then the strings.
unsafe extern "C" fn free_strings(data: *mut c_void, bytes: usize, _: *mut c_void) {
    let count = bytes / size_of::<StringElement>();
    // SAFETY: called once by TensorFlow with the pointer and length that `allocate` gave it.
    let mut elements = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(data.cast::<StringElement>(), count)) };
    for element in &mut elements {
        // SAFETY: each element is an initialised string.
        unsafe { tf::TF_StringDealloc(&mut element.0) }
    }
}

impl Default for StringElement {
    fn default() -> Self {
        let mut string = std::mem::MaybeUninit::<tf::TF_TString>::uninit();
        // SAFETY: TF_StringInit makes an empty string of whatever was there.
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

impl<T: Scalar> fmt::Display for Element<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Scalar> Storage<T> for tensorflow::Tensor<Element<T>> {
    fn as_slice(&self) -> &[T] {
        let elements: &[Element<T>] = self;
        // SAFETY: `Element<T>` is a transparent wrapper of `T`.
        unsafe { slice::from_raw_parts(elements.as_ptr().cast(), elements.len()) }
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

fn c_data_type(dtype: DType) -> tf::TF_DataType {
    match dtype {
        DType::Float16 => tf::TF_DataType::TF_HALF,
        DType::Bfloat16 => tf::TF_DataType::TF_BFLOAT16,
        DType::Float32 => tf::TF_DataType::TF_FLOAT,
        DType::Float64 => tf::TF_DataType::TF_DOUBLE,
        DType::Int8 => tf::TF_DataType::TF_INT8,
        DType::Int16 => tf::TF_DataType::TF_INT16,
        DType::Int32 => tf::TF_DataType::TF_INT32,
        DType::Int64 => tf::TF_DataType::TF_INT64,
        DType::Uint8 => tf::TF_DataType::TF_UINT8,
        DType::Uint16 => tf::TF_DataType::TF_UINT16,
        DType::Uint32 => tf::TF_DataType::TF_UINT32,
        DType::Uint64 => tf::TF_DataType::TF_UINT64,
        DType::Bool => tf::TF_DataType::TF_BOOL,
        DType::String => tf::TF_DataType::TF_STRING,
        DType::Complex64 | DType::Complex128 | DType::Other(_) => unreachable!("not a served dtype; this is a bug"),
    }
}

/// An input of a run, in TensorFlow's memory.
pub(super) trait Feed {
    /// Hands the tensor to a run.
    fn feed<'a>(&'a self, run: &mut SessionRunArgs<'a>, operation: &Operation, index: i32);

    /// Gives the tensor back as one of ours, sharing its memory.
    fn into_tensor(self: Box<Self>) -> Tensor;
}

impl<T: Scalar> Feed for tensorflow::Tensor<Element<T>> {
    fn feed<'a>(&'a self, run: &mut SessionRunArgs<'a>, operation: &Operation, index: i32) {
        run.add_feed(operation, index, self);
    }

    fn into_tensor(self: Box<Self>) -> Tensor {
        scalars(*self)
    }
}

impl Feed for tensorflow::Tensor<StringElement> {
    fn feed<'a>(&'a self, run: &mut SessionRunArgs<'a>, operation: &Operation, index: i32) {
        run.add_feed(operation, index, self);
    }

    fn into_tensor(self: Box<Self>) -> Tensor {
        strings(*self)
    }
}

/// Copies the rows of input `input` of all `requests` into one tensor in TensorFlow's memory: the one copy an input takes.
pub(super) fn merge(requests: &[&[Tensor]], input: usize) -> Result<Box<dyn Feed>, Error> {
    let dims: Vec<u64> = merged_dims(requests, input)?.iter().map(|&dim| dim as u64).collect();
    let parts = requests.iter().map(|request| &request[input]);
    let dtype = requests[0][input].dtype();
    Ok(with_scalar!(dtype, T => {
        let mut merged = tensorflow::Tensor::<Element<T>>::new(&dims);
        let mut next = merged.as_mut_ptr().cast::<T>();
        let mut room = merged.len();
        for part in parts.filter_map(Tensor::as_slice::<T>) {
            room = room.checked_sub(part.len()).expect("merged dimensions count every row; this is a bug");
            // SAFETY: `room` shows that the part fits behind what was written; the two do not overlap, for the merged tensor is new.
            unsafe {
                next.copy_from_nonoverlapping(part.as_ptr(), part.len());
                next = next.add(part.len());
            }
        }
        assert_eq!(room, 0, "every element is written; this is a bug");
        Box::new(merged)
    }, else {
        let mut merged = tensorflow::Tensor::<StringElement>::new(&dims);
        let values = parts.filter_map(Tensor::as_strings).flat_map(|strings| strings.iter());
        for (element, value) in merged.iter_mut().zip(values) {
            // SAFETY: the element is an initialised string; `value` is that many readable bytes. TensorFlow copies them: a view
            // would outlive them where an operation keeps the string.
            unsafe { tf::TF_StringCopy(&mut element.0, value.as_ptr().cast(), value.len()) }
        }
        Box::new(merged)
    }))
}

/// Takes output `index` of a finished run, sharing its memory.
pub(super) fn take_output(run: &mut SessionRunArgs<'_>, index: usize, token: tensorflow::FetchToken) -> Result<Tensor, Error> {
    let dtype = run.output_data_type(index).map_or(DType::Other(0), dtype_of);
    if !dtype.is_served() {
        return Err(Error::new(Code::Unimplemented, format!("an output of dtype {dtype} is not served")));
    }
    let failed = |status: Status| Error::internal(format!("output {index}: {status}"));
    Ok(with_scalar!(dtype, T => {
        scalars(run.fetch::<Element<T>>(token).map_err(failed)?)
    }, else {
        strings(run.fetch::<StringElement>(token).map_err(failed)?)
    }))
}

fn scalars<T: Scalar>(tensor: tensorflow::Tensor<Element<T>>) -> Tensor {
    Tensor::from_storage(&dims(tensor.dims()), Arc::new(tensor))
}

fn strings(tensor: tensorflow::Tensor<StringElement>) -> Tensor {
    Tensor::from_strings(&dims(tensor.dims()), Arc::new(tensor))
}

fn dims(dims: &[u64]) -> Dims {
    dims.iter().map(|&dim| usize::try_from(dim).expect("a tensor that exists fits memory; this is a bug")).collect()
}
