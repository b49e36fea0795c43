//! Sessions of libtensorflow, through its C API. This folder alone has `unsafe` code, and it alone knows the crates `tensorflow`
//! and `tensorflow-sys-runtime`.
//!
//! - `library`: finds libtensorflow and opens it, once in a process.
//! - `dtypes`: the names of dtypes in the C API and in the crate `tensorflow`.
//! - `c`: the functions of the C API on tensors; in tests those of `fake_c`.
//! - `memory`: tensors in TensorFlow's memory.
//! - `elements`: scalars and strings as TensorFlow lays them out.
//! - `transfer`: merges requests into TensorFlow's memory, and makes outputs tensors that share it.
//! - `probe`: tries each signature when a model is loaded.
//! - `registry`: which of TensorFlow's operations have no state.
//! - `run_options`: where the operations of a run execute, and when TensorFlow ends it.
//! - `open`: opens a SavedModel in a session, if need be without its initialiser. `readable` makes the copy for it.
//! - `resolve`: finds the tensors of a signature in the graph.
//! - `saved_model_session`: loads a SavedModel and runs its signatures.
//! - `status`: makes errors of TensorFlow's statuses.
//! - `abort`: delays the end of the process when TensorFlow aborts it.
//! - `free_memory`: gives memory back that was freed.
//! - `exit`: ends the process under TensorFlow's threads.

mod abort;
mod c;
mod dtypes;
mod elements;
mod exit;
#[cfg(test)]
mod fake_c;
mod free_memory;
mod library;
mod memory;
mod open;
mod probe;
mod readable;
mod registry;
mod resolve;
mod run_options;
mod saved_model_session;
mod status;
mod transfer;

pub use abort::delay_abort;
pub use exit::exit_at_once;
pub use free_memory::give_back_memory;
pub use library::{load_library, version};
pub use probe::InterOp;
pub use saved_model_session::SavedModelSession;
