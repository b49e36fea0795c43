//! TensorFlow Serving's API, over REST and over gRPC, so that its clients need not change. What both share lies here: which version
//! a request means, what classify and regress are, TensorFlow's other names of dtypes.

mod classify_regress;
mod dtype_names;
mod find;
pub(crate) mod grpc;
pub(super) mod rest;
