//! The listeners: HTTP and gRPC, TLS, tokens, bodies, what every answer carries. They serve a list of protocols that is handed to
//! them, and know none by name.

mod body_limits;
pub mod grpc;
pub mod http;
mod http2_limits;
mod request_id;
pub mod tls;
pub mod tokens;
pub mod watched_file;

pub use body_limits::{BodyLimits, BODIES_BYTES_MAX};
pub use request_id::RequestIds;
