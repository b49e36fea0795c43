//! The interface of a protocol over gRPC.

use std::sync::Arc;

use tfweb_engine::Error;

use super::services::Services;

/// A protocol over gRPC.
pub trait GrpcProtocol: Send + Sync {
    /// Whether a call needs no token. Load balancers make such calls. The path is `/package.Service/Method`.
    fn is_open(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Whether load balancers make such a call all the time. Its access lines have level debug, and it is not traced.
    fn is_probe(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Adds the protocol's services.
    ///
    /// # Errors
    /// `Internal` where a service cannot be made.
    fn add_services(self: Arc<Self>, services: &mut Services) -> Result<(), Error>;
}
