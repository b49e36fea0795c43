//! JSON in and out: request bodies become tensors in the signature's order, tensors become answers.
//!
//! Called by the protocols that speak JSON. Pure: no I/O, no clock; nothing here knows of HTTP or of sessions.

pub mod decode;
pub mod encode;

pub mod context;
pub mod elements;
mod floats;
mod inputs;
mod numbers;
pub mod shape;
pub mod strings;
pub mod values;
mod wrappers;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;

pub use context::REQUEST_URLS_MAX;
pub use decode::{decode, Decoded, Form};
pub use inputs::PendingUrl;
