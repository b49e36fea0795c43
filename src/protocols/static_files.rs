//! Serves static files (`--static_path`) under `/web/`, and for every GET that no other route accepts.

use std::path::Path;
use std::sync::Arc;

use actix_files::Files;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{from_fn, Compress, Next};
use actix_web::{guard, web, HttpRequest, HttpResponse};

use super::parts::Parts;
use crate::transport::http::{Answers, HttpProtocol, Routes};

/// A directory, and the prefix of its paths.
struct StaticFiles {
    directory: std::path::PathBuf,
    prefix: &'static str,
}

/// Makes the protocol for paths under `/web/`.
pub(super) fn below_web(parts: &Parts<'_>) -> Option<Arc<dyn HttpProtocol>> {
    make(parts, "/web")
}

/// Makes the protocol for paths that no other route accepts.
pub(super) fn elsewhere(parts: &Parts<'_>) -> Option<Arc<dyn HttpProtocol>> {
    make(parts, "")
}

fn make(parts: &Parts<'_>, prefix: &'static str) -> Option<Arc<dyn HttpProtocol>> {
    let path = parts.settings.static_path.as_deref().filter(|_| !parts.is_admin_port)?;
    let directory = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    Some(Arc::new(StaticFiles { directory, prefix }))
}

impl HttpProtocol for StaticFiles {
    fn mount(self: Arc<Self>, routes: &mut Routes<'_>) {
        // Files are compressed, refusals are not: they are short.
        let compressed = web::scope("").wrap(Compress::default()).wrap(from_fn(refused_as_unknown));
        routes.add_service(self.prefix, compressed.service(files(&self.directory)));
    }
}

fn files(directory: &Path) -> Files {
    let root = directory.to_path_buf();
    Files::new("", directory)
        .index_file("index.html")
        // actix-files refuses hidden files and `..`. This filter refuses links to files outside the directory, and paths that do
        // not exist. The answer to all of them is 404.
        .path_filter(move |path: &Path, _| root.join(path).canonicalize().is_ok_and(|full| full.starts_with(&root)))
        .guard(guard::Any(guard::Get()).or(guard::Head()))
        .default_handler(web::to(unknown_path))
}

async fn unknown_path(request: HttpRequest, answers: web::Data<Answers>) -> HttpResponse {
    answers.unknown_path(&request)
}

/// actix-files answers a refused path in its own words. Here such a path gets the same answer as one that does not exist.
async fn refused_as_unknown(
    answers: web::Data<Answers>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    if response.status() != StatusCode::BAD_REQUEST {
        return Ok(response);
    }
    let (request, _) = response.into_parts();
    let unknown = answers.unknown_path(&request);
    Ok(ServiceResponse::new(request, unknown))
}
