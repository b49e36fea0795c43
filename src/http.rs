//! The HTTP door: what every request meets before and after its protocol — request ids, CORS, compression, static files —
//! and which protocols are mounted.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_cors::Cors;
use actix_files::Files;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::{guard, web};

use crate::body::Limits;
use crate::catalog::Catalog;
use crate::health;
use crate::protocol::native;

/// A request's id, taken from the caller or made here.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken from a caller; longer ones would only fill logs.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// How long a browser may remember a preflight's answer, in seconds: a day, the most that any browser keeps.
const PREFLIGHT_AGE: usize = 86_400;

/// What every handler may look at.
pub struct App {
    /// What is served.
    pub catalog: Catalog,
    /// Whether one object is one example.
    pub batch_transpose: bool,
    /// Whether a directory of static files is served.
    pub has_static_files: bool,
    /// Limits of request bodies.
    pub bodies: Limits,
    /// Most time for one request.
    pub request_timeout: Duration,
    /// Whether the server is about to stop.
    pub draining: AtomicBool,
    /// Makes ids for requests that bring none.
    pub request_ids: RequestIds,
}

/// Makes ids that no other process makes: a random part for the process, and a count.
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds each RandomState anew from the system's randomness.
        Self { process: RandomState::new().build_hasher().finish(), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    fn make(&self) -> HeaderValue {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::try_from(format!("{:016x}-{count:x}", self.process)).expect("hexadecimal is a header value; this is a bug")
    }
}

/// Mounts everything that answers.
pub fn mount(config: &mut web::ServiceConfig, app: &web::Data<App>, static_path: Option<&Path>) {
    config.app_data(app.clone());
    health::mount(config);
    if let Some(path) = static_path {
        config.service(static_files("/web", path));
    }
    native::mount(config, app);
    if let Some(path) = static_path {
        config.service(static_files("", path));
    }
    config.default_service(web::to(native::not_found));
}

fn static_files(mount: &str, directory: &Path) -> Files {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let root = directory.clone();
    Files::new(mount, directory)
        .index_file("index.html")
        // Hidden files and `..` are refused by Files itself; this refuses links that lead out of the directory.
        .path_filter(move |path: &Path, _| is_inside(&root, path))
        .guard(guard::Any(guard::Get()).or(guard::Head()))
        .default_handler(web::to(native::not_found))
}

fn is_inside(root: &Path, path: &Path) -> bool {
    let full: PathBuf = root.join(path);
    // What does not exist is answered 404 anyway.
    full.canonicalize().is_ok_and(|full| full.starts_with(root))
}

/// Lets pages of any origin call; the API has no cookies that they could misuse.
pub fn cors() -> Cors {
    Cors::default().allow_any_origin().send_wildcard().allow_any_method().allow_any_header().expose_any_header().max_age(PREFLIGHT_AGE)
}

/// Puts the request's id on its answer, and tells the client to close its connection when the server is about to stop.
///
/// # Errors
/// Those of what it wraps.
pub async fn envelope(
    app: web::Data<App>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let brought = request.headers().get(REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).cloned();
    let mut response = next.call(request).await?;
    let id = brought.unwrap_or_else(|| app.request_ids.make());
    response.headers_mut().insert(REQUEST_ID, id);
    if app.draining.load(Ordering::Relaxed) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
