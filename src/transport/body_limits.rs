//! Limits of the bodies of requests, by HTTP and by gRPC.

use std::sync::Arc;

use tfweb_engine::{Code, Error};
use tfweb_limits::{Admission, Full};

/// The most bytes that the bodies of all requests being read or served may hold together.
pub const BODIES_BYTES_MAX: usize = 1 << 30;

/// Limits of reading a body.
#[derive(Clone)]
pub struct BodyLimits {
    /// The most bytes of one body, as they come and inflated.
    pub body_bytes_max: usize,
    /// The room that all bodies share.
    pub room: Arc<Admission>,
}

/// The error where there is no room for a body.
pub(super) fn no_room(full: Full) -> Error {
    let text = match full {
        Full::Bytes(bytes, max) => format!("{bytes} bytes of {max}"),
        Full::Requests(requests) => format!("{requests} requests"),
    };
    Error::new(Code::Unavailable, format!("the server holds as many request bodies as it may ({text}); retry after 1 s"))
}
