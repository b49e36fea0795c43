//! The use case of every protocol: [`predict`] runs a signature on the inputs of one request. Protocols share [`State`].
//! [`Health`] knows whether the server works.

mod fetch;
mod health;
mod predict;
mod state;

pub use health::{stuck_after, Health, Readiness};
pub use predict::{predict, Call};
pub use state::State;
