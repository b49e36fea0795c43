//! The limits of request bodies over HTTP and gRPC, and the memory of all requests.

use std::sync::Arc;

use tfweb_engine::{Code, Error};
use tfweb_limits::{Ledger, NoRoom};

/// The most bytes that all requests hold together: heads, bodies, what they become, and answers until they are sent.
const REQUESTS_BYTES_MAX: usize = 1 << 30;
/// How many messages of the largest size have room at least, if --grpc_message_size is raised.
const LARGEST_MESSAGES: usize = 4;
/// How many times its bytes the largest body has room for at least, if --request_size is raised: the body, what JSON becomes (at most
/// 13 times as much, see the protocols), and its answer. Of what becomes more, a body of that size is refused.
const LARGEST_BODY: usize = 16;
/// The bytes that every HTTP request takes of it, beside its head. They cover all pieces of the request of at most `SMALL_BYTES`.
pub(super) const REQUEST_BYTES: usize = 16 << 10;
/// The most bytes of a body, of what it becomes, or of an answer that take no share of their own.
pub(super) const SMALL_BYTES: usize = 4 << 10;

/// The limits of request bodies.
#[derive(Clone)]
pub struct BodyLimits {
    /// The most bytes of one body, compressed and inflated.
    pub body_bytes_max: usize,
    /// The memory of all requests.
    pub ledger: Arc<Ledger>,
}

/// The most bytes that all requests hold together, if a body over HTTP has at most `body_bytes_max`, and a message over gRPC
/// `message_bytes_max`.
#[must_use]
pub fn requests_bytes_max(body_bytes_max: usize, message_bytes_max: usize) -> usize {
    let (body, message) = (body_bytes_max.saturating_mul(LARGEST_BODY), message_bytes_max.saturating_mul(LARGEST_MESSAGES));
    REQUESTS_BYTES_MAX.max(body).max(message)
}

/// The error for a body that becomes more than the ledger has for all requests. To send it again does not help.
pub(super) fn too_much(body_bytes: usize, bytes: usize, bytes_max: usize) -> Error {
    let text = format!(
        "the body of {body_bytes} bytes is too large to be decoded: that may take {bytes} bytes, and the server has {bytes_max} bytes \
         for all requests; send it in several requests, or raise --request_size, which raises that limit"
    );
    Error::new(Code::OutOfRange, text)
}

/// The error for bytes that do not fit into the ledger.
pub(super) fn no_room(full: NoRoom) -> Error {
    full.error()
}
