//! The real session: libtensorflow through its C API. The only place in the repository with `unsafe` code, and the only one
//! that knows the crates `tensorflow` and `tensorflow-sys-runtime`.
//!
//! - `abort`: what happens before TensorFlow ends the process.
//! - `library`: finds and opens libtensorflow, once per process.
//! - `elements`: scalars and strings as TensorFlow lays them out.
//! - `memory`: tensors in TensorFlow's memory; requests are merged into them, answers are windows onto them.
//! - `session`: loads a SavedModel and runs its signatures.
//! - `probe`: tries each signature at load.

mod abort;
mod dtypes;
mod elements;
mod library;
mod memory;
mod probe;
mod saved_model_session;
mod transfer;

pub use abort::delay_abort;
pub use library::{load_library, version};
pub use probe::InterOp;
pub use saved_model_session::SavedModelSession;
