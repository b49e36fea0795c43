//! The limits of request bodies over HTTP and gRPC.

use std::sync::Arc;

use tfweb_engine::{Code, Error};
use tfweb_limits::{Admission, Full};

/// The most bytes of all request bodies together, from the first byte read to the answer.
pub const BODIES_BYTES_MAX: usize = 1 << 30;

/// The limits of request bodies.
#[derive(Clone)]
pub struct BodyLimits {
    /// The most bytes of one body, compressed and inflated.
    pub body_bytes_max: usize,
    /// The memory budget of all bodies together.
    pub budget: Arc<Admission>,
}

/// The error for a body that does not fit into the budget.
pub(super) fn over_budget(full: Full) -> Error {
    let text = match full {
        Full::Bytes(bytes, max) => format!("{bytes} bytes of {max}"),
        Full::Requests(requests) => format!("{requests} requests"),
    };
    Error::new(Code::Unavailable, format!("the server holds as many request bodies as it may ({text}); retry after 1 s"))
}
