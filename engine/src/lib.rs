//! The bottom floor of tfweb: tensors, signatures, and sessions that run them.
//!
//! Knows nothing of HTTP, actors or wire formats. [`Session`] is all that the floor above needs; what implements it for real
//! is [`tensorflow`], the only place in the repository with `unsafe` code.

#![deny(unsafe_code)]

pub mod batch;
mod dtype;
mod error;
pub mod fake;
mod feed;
mod graph;
mod packed;
pub mod saved_model;
mod session;
mod shape;
mod signature;
mod tensor;
#[allow(unsafe_code)]
pub mod tensorflow;

pub use dtype::{bf16, f16, DType, Scalar};
pub use error::{quoted, Code, Error};
pub use feed::FeedShape;
pub use session::Session;
pub use shape::{element_count, Dims, PartialShape, RANK_MAX};
pub use signature::{Signature, TensorSpec};
pub use tensor::{Buffer, Storage, StringStorage, Strings, Tensor, Values};
