//! Turns JSON text and TensorFlow's protobuf messages into tensors, and tensors into both.
//!
//! The protocols of tfweb call it; so do the readers of a SavedModel's warm-up requests and default values. Pure: it has no I/O
//! and no clock, and knows neither HTTP nor sessions nor threads.

#![forbid(unsafe_code)]

pub mod examples;
pub mod json;
pub mod tensor_proto;
