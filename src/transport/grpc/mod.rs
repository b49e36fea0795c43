//! The gRPC listener, and the common path of all calls.
//!
//! A [`GrpcListener`] serves protocols, and each adds its services to [`Services`]. Every call passes the check of its token. Its
//! messages are limited, and counted into the memory of all requests, before a service sees them.

mod call;
mod connections;
mod gate;
mod handshakes;
mod listener;
mod message_limit;
mod observe;
mod protocol;
mod receive;
mod services;
mod unix_socket;

pub use call::{answer, Answer};
pub use listener::{GrpcListener, GrpcParts, Settings};
pub use protocol::GrpcProtocol;
pub use services::{ServiceNames, Services};
