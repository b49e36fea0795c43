//! gRPC: a listener, and what every call passes.
//!
//! A [`GrpcListener`] serves protocols; each adds its services to [`Services`]. Calls pass the gate, which asks for a token, and
//! their messages are counted and bounded before a service sees them.

mod bounded;
mod call;
mod connections;
mod gate;
mod handshakes;
mod listener;
mod observe;
mod protocol;
mod receive;
mod services;
mod unix_socket;

pub use call::{answer, Answer};
pub use listener::{GrpcListener, GrpcParts, Settings};
pub use protocol::GrpcProtocol;
pub use services::{ServiceNames, Services};
