//! The messages and services of `proto/`, as the build makes them.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::wildcard_enum_match_arm, clippy::too_many_lines)]

include!(concat!(env!("OUT_DIR"), "/wire.rs"));

/// Descriptors of all of them, encoded.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
