//! The engine of tfweb: tensors, signatures, and sessions that run them.
//!
//! The engine knows nothing of HTTP, actors or wire formats. Code above it runs a model through the trait [`Session`].
//! [`tensorflow`] implements the trait with libtensorflow; its folder is the only place in the repository with `unsafe` code.

#![deny(unsafe_code)]

pub mod batch;
mod dtype;
mod error;
pub mod fake;
mod feed;
mod graph;
mod meta_graph;
mod packed;
pub mod regular_file;
pub mod saved_model;
mod session;
mod shape;
mod signature;
mod signature_def;
mod storage;
mod tensor;
#[allow(unsafe_code)]
pub mod tensorflow;
mod values;
mod with_scalar;

pub use dtype::DType;
pub use error::{quoted, Code, Error};
pub use feed::FeedShape;
pub use half::{bf16, f16};
pub use session::{Session, Trial};
pub use shape::{element_count, Dims, PartialShape, RANK_MAX};
pub use signature::{Composite, Side, Signature, TensorSpec, Unserved};
pub use storage::{PackedStrings, Storage, StringStorage};
pub use tensor::Tensor;
pub use values::{Buffer, Scalar, Strings, Values};
