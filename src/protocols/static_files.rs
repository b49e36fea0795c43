//! Serves static files (`--static_path`) under `/web/`, and for every GET that no other route accepts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_files::{NamedFile, PathBufWrap};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{from_fn, Compress, Next};
use actix_web::{guard, web, HttpRequest, HttpResponse};
use tfweb_engine::regular_file;

use super::parts::Parts;
use crate::transport::http::{Answers, HttpProtocol, Routes};

/// A directory, and the prefix of its paths.
struct StaticFiles {
    directory: PathBuf,
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
        let prefix = self.prefix;
        let answer = move |request: HttpRequest| file(Arc::clone(&self), request);
        let files = web::scope("").guard(guard::Any(guard::Get()).or(guard::Head())).default_service(web::to(answer));
        // Files are compressed, refusals are not: they are short.
        routes.add_service(prefix, files.wrap(Compress::default()).wrap(from_fn(missing_as_unknown)));
    }
}

/// Answers with a file. 404 stands for every path that is refused.
async fn file(files: Arc<StaticFiles>, request: HttpRequest) -> HttpResponse {
    // This refuses hidden files and names that mean more than a file. It takes `..` for a step up within the path.
    let Ok(path) = PathBufWrap::parse_path(request.match_info().unprocessed(), false) else {
        return HttpResponse::NotFound().finish();
    };
    match web::block(move || open(&files.directory, path.as_ref())).await {
        Ok(Ok(file)) => file.into_response(&request),
        Ok(Err(_)) | Err(_) => HttpResponse::NotFound().finish(),
    }
}

/// Opens a file of the directory, or the index of a directory in it. It blocks. Links that lead out of the directory are refused.
fn open(directory: &Path, path: &Path) -> io::Result<NamedFile> {
    let mut asked = directory.join(path);
    if asked.is_dir() {
        asked.push("index.html");
    }
    let real = asked.canonicalize()?;
    if !real.starts_with(directory) {
        return Err(io::ErrorKind::NotFound.into());
    }
    NamedFile::from_file(regular_file::open(&real)?, asked)
}

/// Gives a path without a file the same answer as every other path that does not exist.
async fn missing_as_unknown(
    answers: web::Data<Answers>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    if response.status() != StatusCode::NOT_FOUND {
        return Ok(response);
    }
    let (request, _) = response.into_parts();
    let unknown = answers.unknown_path(&request);
    Ok(ServiceResponse::new(request, unknown))
}
