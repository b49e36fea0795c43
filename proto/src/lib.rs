//! The protobuf messages and gRPC services that tfweb speaks, as Rust.
//!
//! `../*.proto` holds the few that tfweb needs, written from the public wire contracts. `generated/` is made from them by
//! `make proto` and committed, so that a build needs no compiler of protobuf; the crate's test makes it anew and compares.

#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::wildcard_enum_match_arm, clippy::too_many_lines)]

pub mod weight;

include!("generated/wire.rs");

/// An encoded `FileDescriptorSet` of all of them: for gRPC reflection, and for messages that are read as text.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
