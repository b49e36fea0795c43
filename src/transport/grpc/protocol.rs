//! What a protocol is for the gRPC listener.

use std::sync::Arc;

use tfweb_engine::Error;

use super::services::Services;

/// A protocol over gRPC.
pub trait GrpcProtocol: Send + Sync {
    /// Whether a call needs no token, such as those that load balancers make. The path is `/package.Service/Method`.
    fn is_open(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Whether a call is made so often that its access line is of level debug and it is not traced.
    fn is_probe(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Adds the services.
    ///
    /// # Errors
    /// `Internal` where a service cannot be made.
    fn add_services(self: Arc<Self>, services: &mut Services) -> Result<(), Error>;
}
