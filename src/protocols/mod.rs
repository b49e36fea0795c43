//! One file per wire protocol: it decodes requests, calls [`crate::predict::predict`], and encodes answers and errors.

mod inference;
pub mod native;
mod server_timing;
pub mod tf_serving_grpc;
pub mod tf_serving_rest;
