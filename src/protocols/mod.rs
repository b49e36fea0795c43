//! The protocols of the server. Each has a folder of its own. It decodes requests, calls [`predict`](crate::serving::predict),
//! and encodes answers and errors.
//!
//! `ALL` lists the protocols. The routes, the forms of refusals, the labels of metrics, the probe paths, the names for health
//! and reflection follow from it. A new protocol takes a folder, a line in `ALL` and its `.proto` file.

mod monitoring;
#[doc(hidden)]
pub mod native;
mod parts;
mod static_files;
#[doc(hidden)]
pub mod tf_serving;

use std::sync::Arc;

use crate::observe::{ProtocolId, ProtocolNames};
use crate::transport::grpc::GrpcProtocol;
use crate::transport::http::HttpProtocol;

pub use parts::{Parts, Settings};

/// The function that makes a protocol. It returns `None` where the protocol is off.
enum Make {
    Http(fn(&Parts<'_>) -> Option<Arc<dyn HttpProtocol>>),
    Grpc(fn(&Parts<'_>) -> Option<Arc<dyn GrpcProtocol>>),
    /// For a protocol that predicts. Its requests are counted under its name.
    HttpPredicting(fn(&Parts<'_>, ProtocolId) -> Option<Arc<dyn HttpProtocol>>),
    GrpcPredicting(fn(&Parts<'_>, ProtocolId) -> Option<Arc<dyn GrpcProtocol>>),
}

/// A protocol in the list.
struct Entry {
    name: &'static str,
    make: Make,
}

/// All protocols, in the order in which their routes are tried. The native protocol accepts any name as a signature, so it comes
/// after the others.
const ALL: &[Entry] = &[
    Entry { name: "monitoring", make: Make::Http(monitoring::http) },
    Entry { name: "health", make: Make::Grpc(monitoring::grpc) },
    Entry { name: "static_files_below_web", make: Make::Http(static_files::below_web) },
    Entry { name: "tf_serving_rest", make: Make::HttpPredicting(tf_serving::rest::make) },
    Entry { name: "tf_serving_grpc", make: Make::GrpcPredicting(tf_serving::grpc::make) },
    Entry { name: "native", make: Make::HttpPredicting(native::make) },
    Entry { name: "static_files", make: Make::Http(static_files::elsewhere) },
];

impl Entry {
    const fn predicts(&self) -> bool {
        matches!(self.make, Make::HttpPredicting(_) | Make::GrpcPredicting(_))
    }

    fn id(&self) -> ProtocolId {
        ProtocolId::all(NAMES).find(|id| id.name == self.name).expect("NAMES has all that predict; this is a bug")
    }
}

const NAMES_COUNT: usize = {
    let (mut count, mut index) = (0, 0);
    while index < ALL.len() {
        count += ALL[index].predicts() as usize;
        index += 1;
    }
    count
};

/// The names of the protocols that predict, for metrics and logs.
pub const NAMES: ProtocolNames = &{
    let (mut names, mut count, mut index) = ([""; NAMES_COUNT], 0, 0);
    while index < ALL.len() {
        if ALL[index].predicts() {
            names[count] = ALL[index].name;
            count += 1;
        }
        index += 1;
    }
    names
};

/// Makes the protocols over HTTP.
#[must_use]
pub fn http(parts: &Parts<'_>) -> Arc<[Arc<dyn HttpProtocol>]> {
    let made = ALL.iter().filter_map(|entry| match entry.make {
        Make::Http(make) => make(parts),
        Make::HttpPredicting(make) => make(parts, entry.id()),
        Make::Grpc(_) | Make::GrpcPredicting(_) => None,
    });
    made.collect()
}

/// Makes the protocols over gRPC.
#[must_use]
pub fn grpc(parts: &Parts<'_>) -> Arc<[Arc<dyn GrpcProtocol>]> {
    let made = ALL.iter().filter_map(|entry| match entry.make {
        Make::Grpc(make) => make(parts),
        Make::GrpcPredicting(make) => make(parts, entry.id()),
        Make::Http(_) | Make::HttpPredicting(_) => None,
    });
    made.collect()
}
