//! Serves static files (`--static_path`) under `/web/`, and for every GET that no other route accepts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_files::{NamedFile, PathBufWrap};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::LOCATION;
use actix_web::http::StatusCode;
use actix_web::middleware::{from_fn, Compress, Next};
use actix_web::{guard, web, HttpMessage, HttpRequest, HttpResponse};
use tfweb_engine::regular_file;

use super::parts::Parts;
use crate::models::Which;
use crate::serving::State;
use crate::transport::http::{error, Answers, HadSlash, HttpProtocol, Methods, Routes};

/// A directory, and the prefix of its paths.
struct StaticFiles {
    directory: PathBuf,
    prefix: &'static str,
    state: Arc<State>,
}

/// An answer to a path.
enum Found {
    File(Box<NamedFile>),
    /// A directory with an index, which was named without its slash.
    Directory,
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
    Some(Arc::new(StaticFiles { directory, prefix, state: Arc::clone(parts.state) }))
}

impl HttpProtocol for StaticFiles {
    fn mount(self: Arc<Self>, routes: &mut Routes<'_>) {
        let (prefix, files) = (self.prefix, Arc::clone(&self));
        let answer = move |request: HttpRequest| file(Arc::clone(&self), request);
        let missing = move |answers, request, next| missing(Arc::clone(&files), answers, request, next);
        let service = web::scope("").guard(guard::Any(guard::Get()).or(guard::Head())).default_service(web::to(answer));
        // Files are compressed, refusals are not: they are short.
        routes.add_service(prefix, Methods::Read, service.wrap(Compress::default()).wrap(from_fn(missing)));
    }
}

/// Answers with a file. 404 stands for every path that is refused.
async fn file(files: Arc<StaticFiles>, request: HttpRequest) -> HttpResponse {
    // This refuses hidden files and names that mean more than a file. It takes `..` for a step up within the path.
    let Ok(path) = PathBufWrap::parse_path(request.match_info().unprocessed(), false) else {
        return HttpResponse::NotFound().finish();
    };
    let has_slash = request.path().ends_with('/') || request.extensions().contains::<HadSlash>();
    match web::block(move || open(&files.directory, path.as_ref(), has_slash)).await {
        Ok(Ok(Found::File(file))) => file.into_response(&request),
        Ok(Ok(Found::Directory)) => to_slash(&request),
        Ok(Err(_)) | Err(_) => HttpResponse::NotFound().finish(),
    }
}

/// Opens a file of the directory, or the index of a directory in it. It blocks. Links that lead out of the directory are refused.
fn open(directory: &Path, path: &Path, has_slash: bool) -> io::Result<Found> {
    let mut asked = directory.join(path);
    let is_directory = asked.is_dir();
    if is_directory {
        asked.push("index.html");
    }
    let real = asked.canonicalize()?;
    if !real.starts_with(directory) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = NamedFile::from_file(regular_file::open(&real)?, asked)?;
    Ok(if is_directory && !has_slash { Found::Directory } else { Found::File(Box::new(file)) })
}

/// Redirects to the same path with a slash, so that relative links of an index lead into its directory. The location is relative,
/// because a proxy may show the server below another path.
fn to_slash(request: &HttpRequest) -> HttpResponse {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    HttpResponse::TemporaryRedirect().insert_header((LOCATION, format!("./{name}/{query}"))).finish()
}

/// Gives a path without a file the same answer as every other path that does not exist. Where a signature might have the path, the
/// answer names the signatures.
async fn missing(
    files: Arc<StaticFiles>,
    answers: web::Data<Answers>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    if response.status() != StatusCode::NOT_FOUND {
        return Ok(response);
    }
    let (request, _) = response.into_parts();
    let name = Some(request.path().trim_start_matches('/')).filter(|_| files.prefix.is_empty());
    let unknown = name.and_then(|name| files.state.catalog.version(None, Which::Newest).ok()?.servable(Some(name)).err());
    let unknown = unknown.map_or_else(|| answers.unknown_path(&request), |unknown| error::respond(&unknown));
    Ok(ServiceResponse::new(request, unknown))
}
