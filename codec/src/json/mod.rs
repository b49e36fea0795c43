//! JSON in and out: request bodies become tensors in the signature's order, tensors become answers.
//!
//! [`decode()`] and [`encode`] are the bodies of tfweb's own API. Other dialects bring their [`ReadRules`] and [`WriteRules`],
//! and read through [`Inputs`]. Pure: no I/O, no clock; nothing here knows of HTTP or of sessions.

pub mod encode;

mod base64_text;
mod context;
mod decode;
mod elements;
mod explain;
mod found;
mod input;
mod inputs;
mod native;
mod numbers;
mod rules;
mod scope;
mod shape;
mod shortest;
mod values;
mod wrappers;
mod write;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;

pub use base64_text::decode_base64;
pub use decode::{decode, Decoded, Form};
pub use found::Found;
pub use inputs::{Inputs, Named, OneValue, OtherKeys, PendingUrl};
pub use native::NativeRules;
pub use numbers::{Float, Integer};
pub use rules::{ReadRules, WriteRules};
pub use write::{write_base64, write_tensor, write_text};
