//! The use case that every protocol calls: [`predict`] runs a signature on one request's inputs. [`State`] is what protocols may
//! look at, [`Health`] how the server is.

pub mod fetch;
mod health;
mod predict;
mod state;

pub use health::{stuck_after, Health, Readiness};
pub use predict::{predict, Call};
pub use state::State;
