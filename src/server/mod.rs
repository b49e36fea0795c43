//! Builds every part, hands it what it needs, and stops all in order. It alone knows all rooms.

mod lifecycle;
mod parts;
mod signals;

pub use lifecycle::{Server, Stopped};
pub use parts::{model_specs, Models};
pub use signals::Signals;
