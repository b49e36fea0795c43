//! The HTTP listener, and the common path of all requests and answers.
//!
//! A [`Listener`] serves [`HttpServices`]. These are protocols with their [`Routes`], after the check of the token. A handler
//! gets an [`HttpCall`] and gives an answer. [`Answers`] adds the common headers.

mod answers;
mod body;
mod call;
mod compress;
mod cors;
pub mod error;
mod gate;
pub mod large_body;
mod listener;
mod observe;
mod pace;
#[cfg(test)]
pub(crate) mod peak;
mod protocol;
mod routes;
pub mod server_timing;
mod services;
mod slash;

pub use answers::Answers;
pub use call::HttpCall;
pub use compress::{compress, may_compress};
pub use cors::Cors;
pub use listener::{Listener, ListenerSettings, HTTP2};
pub use protocol::HttpProtocol;
pub use routes::{is_get, Methods, Routes};
pub use services::HttpServices;
pub use slash::HadSlash;
