//! The limits of requests: how many may be inside, how many bytes they may hold, how much time they have.
//!
//! Bodies at the HTTP port, messages at the gRPC port and fetched URLs all count against these limits, so this crate lies below the
//! code of all three. It knows no protocol, starts no thread and does no input or output. Of tfweb's other crates it knows only the
//! engine's `Error`.

#![forbid(unsafe_code)]

mod admission;
mod deadline;
mod inflate;
mod ledger;

use std::time::Duration;

pub use admission::{Admission, Full, Permit};
pub use deadline::{Deadline, Stage};
pub use inflate::{Encoding, InflateError, Inflater};
pub use ledger::{Holding, Ledger, NoRoom, Share};

/// The most URLs of one request. One caller with more URLs would keep a slow origin busy for itself.
pub const REQUEST_URLS_MAX: usize = 256;

/// How long a client that was refused for overload should wait before it tries again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
