//! Tensors as bytes that travel, both ways: JSON text and TensorFlow's protobuf messages.
//!
//! The protocols of tfweb call it, and so does what reads SavedModels' own requests and defaults. Pure: no I/O, no clock; nothing
//! here knows of HTTP, of sessions or of threads.

#![forbid(unsafe_code)]

pub mod examples;
pub mod json;
pub mod tensor_proto;
