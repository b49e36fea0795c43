//! The gRPC listener, and the common path of all calls.
//!
//! A [`GrpcListener`] serves protocols, and each adds its services to [`Services`]. Every call passes the check of its token. Its
//! messages are limited, and counted into the memory of all requests, before a service sees them.

mod accept;
mod call;
mod connection;
mod connections;
mod counted;
mod exchange;
mod gate;
mod listener;
mod observe;
mod protocol;
mod receive;
mod reflection;
mod services;
mod stream;
mod unary;
mod unix_socket;

pub use listener::{GrpcListener, GrpcParts, Settings};
pub use protocol::GrpcProtocol;
pub use services::{ServiceNames, Services};
pub use unary::{Call, CallHead, CallMemory};
