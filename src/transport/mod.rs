//! The listeners for HTTP and gRPC, with TLS, tokens, limits of bodies, and the headers that every answer has. They serve a list
//! of protocols and know none of them by name.

mod body_limits;
pub(crate) mod descriptors;
pub mod elsewhere;
pub mod grpc;
pub mod http;
mod http2_limits;
mod request_id;
mod sockets;
pub mod tls;
pub mod tokens;
mod write_timeout;

pub use body_limits::{requests_bytes_max, BodyLimits};
pub use request_id::RequestIds;
