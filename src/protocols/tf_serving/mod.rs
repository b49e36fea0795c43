//! TensorFlow Serving's API over REST and gRPC, so that its clients work without a change. Both share the search for a version,
//! classify and regress, and TensorFlow's other names of dtypes.

mod classify_regress;
mod dtype_names;
mod find;
pub(super) mod grpc;
pub mod rest;
