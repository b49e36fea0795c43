//! Gives TensorFlow the inputs of a run, and makes outputs tensors that share TensorFlow's memory.

use std::sync::Arc;

use tensorflow::{FetchToken, Operation, SessionRunArgs, Status, TensorType};

use super::dtypes::dtype_of;
use super::elements::{bytes, Element, StringElement};
use super::lent::Lent;
use crate::batch::merged_dims;
use crate::dtype::DType;
use crate::error::{Code, Error};
use crate::shape::Dims;
use crate::tensor::Tensor;
use crate::values::Scalar;
use crate::with_scalar::with_scalar;

/// An input of a run as TensorFlow takes it.
pub(super) trait Feed {
    /// Feeds the tensor to a run.
    fn feed<'a>(&'a self, run: &mut SessionRunArgs<'a>, operation: &Operation, index: i32);

    /// Makes it a tensor of the engine, which shares its memory.
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

impl Feed for Lent {
    fn feed<'a>(&'a self, run: &mut SessionRunArgs<'a>, operation: &Operation, index: i32) {
        run.add_feed(operation, index, &self.place);
    }

    fn into_tensor(self: Box<Self>) -> Tensor {
        self.tensor.clone()
    }
}

/// Takes input `input` of all `requests`. If `lends` is true, a request that runs alone lends its memory to TensorFlow where
/// TensorFlow takes it as it is. Otherwise the rows are copied.
pub(super) fn input(requests: &[&[Tensor]], input: usize, lends: bool) -> Result<Box<dyn Feed>, Error> {
    if let ([only], true) = (requests, lends) {
        if let Some(lent) = Lent::new(&only[input]) {
            return Ok(Box::new(lent));
        }
    }
    merge(requests, input)
}

/// Copies the rows of input `input` of all `requests` into one tensor in TensorFlow's memory. It is the only copy of an input.
fn merge(requests: &[&[Tensor]], input: usize) -> Result<Box<dyn Feed>, Error> {
    let dims: Vec<u64> = merged_dims(requests, input)?.iter().map(|&dim| dim as u64).collect();
    let parts = requests.iter().map(|request| &request[input]);
    let dtype = requests[0][input].dtype();
    Ok(with_scalar!(dtype, T => {
        let mut merged = allocated::<Element<T>>(&dims, input)?;
        let mut next = merged.as_mut_ptr().cast::<u8>();
        let mut room = merged.len() * size_of::<T>();
        for part in parts.filter_map(Tensor::bytes_of::<T>) {
            room = room.checked_sub(part.len()).expect("merged dimensions count every row; this is a bug");
            // SAFETY: `room` shows that the part fits behind the parts before it. Source and target do not overlap, for the merged
            // tensor is new. The bytes are whole and valid elements of `T`: `Tensor::bytes_of` gives no others.
            unsafe {
                next.copy_from_nonoverlapping(part.as_ptr(), part.len());
                next = next.add(part.len());
            }
        }
        assert_eq!(room, 0, "every element is written; this is a bug");
        Box::new(merged)
    }, else {
        let mut merged = allocated::<StringElement>(&dims, input)?;
        let values = parts.filter_map(Tensor::as_strings).flat_map(|strings| strings.iter());
        for (element, value) in merged.iter_mut().zip(values) {
            element.set(value);
        }
        Box::new(merged)
    }))
}

/// Takes output `index` of a run that has ended. The tensor shares the memory of the run.
pub(super) fn take_output(run: &mut SessionRunArgs<'_>, index: usize, token: FetchToken) -> Result<Tensor, Error> {
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

/// Makes a tensor for input `input` of a run. Its elements are not written yet; strings are empty.
fn allocated<T: TensorType>(dims: &[u64], input: usize) -> Result<tensorflow::Tensor<T>, Error> {
    let tensor = tensorflow::Tensor::new(dims);
    if tensor.is_empty() && !dims.contains(&0) {
        let text = format!("input {input}: TensorFlow has no memory for a tensor of shape {dims:?}");
        return Err(Error::new(Code::ResourceExhausted, text));
    }
    Ok(tensor)
}

/// Makes a tensor of a run a tensor of the engine. The elements are shared; bools are copied, for they may have been any bytes.
fn scalars<T: Scalar>(tensor: tensorflow::Tensor<Element<T>>) -> Tensor {
    let dims = dims(tensor.dims());
    // SAFETY: TensorFlow has written an output when its run ends, and `merge` an input. Nobody writes to either afterwards: a variable
    // whose memory TensorFlow shares with an output gets other memory when it is assigned.
    Tensor::from_bytes::<T>(&dims, unsafe { bytes(tensor) })
}

fn strings(tensor: tensorflow::Tensor<StringElement>) -> Tensor {
    Tensor::from_strings(&dims(tensor.dims()), Arc::new(tensor))
}

fn dims(dims: &[u64]) -> Dims {
    dims.iter().map(|&dim| usize::try_from(dim).expect("a tensor that exists fits memory; this is a bug")).collect()
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
