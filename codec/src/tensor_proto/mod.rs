//! TensorFlow's protobuf messages and tensors, both ways. Pure.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{decode, Room};
pub use encode::{dim_size, dtype_number, encode};
