//! JSON in and out: request bodies become tensors in the signature's order, tensors become answers.
//!
//! Called by the protocols that speak JSON. Pure: no I/O, no clock; nothing here knows of HTTP or of sessions.

pub mod decode;
pub mod encode;

pub(crate) mod context;
pub(crate) mod elements;
mod floats;
mod numbers;
pub(crate) mod shape;
pub(crate) mod strings;
pub(crate) mod values;
mod wrappers;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;

pub use decode::{decode, Decoded, Form};
