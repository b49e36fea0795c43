//! The interface of a protocol over HTTP.

use std::sync::Arc;

use actix_web::HttpResponse;
use tfweb_engine::Error;

use super::error;
use super::routes::Routes;

/// A protocol over HTTP.
pub trait HttpProtocol: Send + Sync {
    /// Whether answers at this path, also refusals, have this protocol's form. At other paths, they have tfweb's own form.
    fn takes(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Whether a path needs no token. Load balancers ask such paths.
    fn is_open(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Whether load balancers and scrapers ask a path all the time. Its access lines have level debug, and it is not traced.
    fn is_probe(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Adds the protocol's routes. If several match a request, the first one answers.
    fn mount(self: Arc<Self>, routes: &mut Routes<'_>);

    /// Writes an error in this protocol's form, with its status.
    fn refuse(&self, error: &Error) -> HttpResponse {
        error::respond(error)
    }
}
