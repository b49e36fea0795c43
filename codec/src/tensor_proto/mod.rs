//! Turns TensorFlow's `TensorProto` into tensors, and tensors into it. Pure.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{decode, Room};
pub use encode::{dim_size, dtype_number, encode, AnswerTensor};
