//! Builds all parts of the server, connects them, and stops them in order. Only this module knows all others.

mod lifecycle;
mod parts;
mod signals;
mod time_limit;

pub use lifecycle::{Server, Stopped};
pub use parts::{model_specs, Models};
pub use signals::Signals;
