//! What a protocol is for the HTTP listener.

use std::sync::Arc;

use actix_web::HttpResponse;
use tfweb_engine::Error;

use super::error;
use super::routes::Routes;

/// A protocol over HTTP.
pub trait HttpProtocol: Send + Sync {
    /// Whether answers at this path have this protocol's form, refusals too. Answers at a path that no protocol takes have
    /// tfweb's own form.
    fn takes(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Whether a path needs no token, such as those that load balancers ask.
    fn is_open(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Whether a path is asked so often that its access line is of level debug and it is not traced.
    fn is_probe(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Adds the routes. Where several match a request, the one that was added first answers.
    fn mount(self: Arc<Self>, routes: &mut Routes<'_>);

    /// An error in this protocol's form and status.
    fn refuse(&self, error: &Error) -> HttpResponse {
        error::respond(error)
    }
}
