//! The HTTP door: what is mounted where, and what every answer carries — a request id, CORS headers, compression.
//!
//! This is written into the answers by [`App::dress`] rather than by middleware: on a small model the layers of middleware cost
//! more than all the rest of a request.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use actix_files::Files;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, AcceptEncoding, Encoding, Header, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::{from_fn, Compress, Next};
use actix_web::{guard, web, HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::Compression;

use tfweb_actors::fetcher::FetcherHandle;

use crate::access::{Access, Refusal};
use crate::body::{self, Limits, UnknownEncoding};
use crate::catalog::Catalog;
use crate::health;
use crate::keeping::Keepers;
use crate::listener::ends_connection;
use crate::liveness::Liveness;
use crate::metrics;
use crate::protocol::{native, tf_serving_rest};
use crate::record::{Protocol, Record, Recorder};
use crate::telemetry::{log, Telemetry};

/// A request's id, taken from the caller or made here.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken from a caller; longer ones would only fill logs.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// How long a browser may remember a preflight's answer, in seconds: a day, the most that any browser keeps.
const PREFLIGHT_AGE: &str = "86400";
/// What scripts of other origins may read beyond the body.
const EXPOSED_HEADERS: &str = "server-timing, x-request-id, retry-after";
/// Answers smaller than this are not compressed: they fit one packet either way.
const COMPRESS_BYTES_MIN: usize = 1024;
/// Answers larger than this are compressed on a thread of their own, so that their neighbours need not wait.
const COMPRESS_INLINE_BYTES_MAX: usize = 64 << 10;

/// What every handler may look at.
pub struct App {
    /// What is served.
    pub catalog: Arc<Catalog>,
    /// Who changes what is served; none where nobody does.
    pub keepers: Option<Arc<Keepers>>,
    /// Who may call, and who may have it changed.
    pub access: Arc<Access>,
    /// Whether the server is ready only with every model.
    pub strict_readiness: bool,
    /// Whether one object is one example.
    pub batch_transpose: bool,
    /// Whether pages of other origins may call.
    pub cors: bool,
    /// Whether figures are shown at a port of their own, and not here.
    pub has_admin_port: bool,
    /// Whether a directory of static files is served.
    pub has_static_files: bool,
    /// Fetches what urls name; none where they are switched off.
    pub fetcher: Option<FetcherHandle>,
    /// Limits of request bodies.
    pub bodies: Limits,
    /// Most time for one request.
    pub request_timeout: Duration,
    /// Whether it moves.
    pub liveness: Liveness,
    /// Whether the server is about to stop.
    pub draining: AtomicBool,
    /// Where requests are recorded.
    pub recorder: Arc<Recorder>,
    /// Makes ids for requests that bring none.
    pub request_ids: RequestIds,
    /// What is told of requests beyond figures.
    pub telemetry: Arc<Telemetry>,
}

/// What went wrong, put into an answer's extensions: logged once, where the request's id is known.
pub struct Failure(pub String);

/// Makes ids that no other process makes: a random part for the process, and a count.
pub struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds each RandomState anew from the system's randomness.
        Self { process: format!("{:016x}-", RandomState::new().build_hasher().finish()), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// Makes one.
    #[must_use]
    pub fn make(&self) -> String {
        let mut count = itoa::Buffer::new();
        let count = count.format(self.next.fetch_add(1, Ordering::Relaxed));
        [self.process.as_str(), count].concat()
    }
}

/// Mounts what is for who operates the server, where it has a port of its own: nobody is asked for a token there.
pub fn mount_operations(config: &mut web::ServiceConfig, app: &web::Data<App>) {
    config.app_data(app.clone());
    health::mount(config);
    metrics::mount(config);
    config.default_service(web::to(health::not_found));
}

/// Mounts everything that answers.
pub fn mount(config: &mut web::ServiceConfig, app: &web::Data<App>, static_path: Option<&Path>) {
    config.app_data(app.clone());
    health::mount(config);
    // Load balancers ask for health, and bear no token. All else that is mounted is behind this.
    if !app.access.is_open() {
        mount_refusal(config, app);
    }
    if !app.has_admin_port {
        metrics::mount(config);
    }
    if let Some(path) = static_path {
        config.service(web::scope("/web").wrap(Compress::default()).wrap(from_fn(finish_static)).service(static_files(path)));
    }
    // Before native, whose last route takes whatever path is left.
    tf_serving_rest::mount(config);
    native::mount(config, app);
    if let Some(path) = static_path {
        config.service(web::scope("").wrap(Compress::default()).wrap(from_fn(finish_static)).service(static_files(path)));
    }
    config.default_service(web::to(native::not_found));
}

/// Takes every request that may not be made, whatever its path, before anything of it is read.
fn mount_refusal(config: &mut web::ServiceConfig, app: &web::Data<App>) {
    let app = app.clone();
    let is_refused = move |context: &guard::GuardContext<'_>| {
        let head = context.head();
        // Browsers ask without a token whether they may send one.
        let is_preflight = head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        !(app.cors && is_preflight) && may_call(&app.access, &head.headers).is_err()
    };
    config.service(web::scope("").guard(guard::fn_guard(is_refused)).default_service(web::to(refuse)));
}

fn may_call(access: &Access, headers: &HeaderMap) -> Result<(), Refusal> {
    access.may_call(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes))
}

async fn refuse(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    // Tokens may have changed since the guard has looked: then it is refused as it was.
    let refusal = may_call(&app.access, request.headers()).err().unwrap_or(Refusal::Wrong);
    let mut response = if tf_serving_rest::takes(request.path()) {
        tf_serving_rest::refuse(&request, &app, &refusal.error())
    } else {
        native::finish(&request, &app, Err(refusal.error()))
    };
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(refusal.challenge()));
    response
}

fn static_files(directory: &Path) -> Files {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let root = directory.clone();
    Files::new("", directory)
        .index_file("index.html")
        // Hidden files and `..` are refused by Files itself; this refuses links that lead out of the directory, and what
        // does not exist: all are answered 404.
        .path_filter(move |path: &Path, _| root.join(path).canonicalize().is_ok_and(|full| full.starts_with(&root)))
        .guard(guard::Any(guard::Get()).or(guard::Head()))
        .default_handler(web::to(native::not_found))
}

async fn finish_static(
    app: web::Data<App>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    // Files has words of its own for paths that it refuses; here they are paths like others that do not exist.
    let (request, response) = match response.into_parts() {
        (request, refused) if refused.status() == StatusCode::BAD_REQUEST => {
            let answer = native::not_found(request.clone(), app).await;
            (request, answer)
        }
        (request, mut response) => {
            app.dress(&request, &mut response);
            (request, response)
        }
    };
    Ok(ServiceResponse::new(request, response))
}

impl App {
    /// The id of a request: its own, or else one that is made for it.
    pub fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let brought = headers.get(REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).cloned();
        brought.unwrap_or_else(|| {
            let made = Bytes::from(self.request_ids.make());
            HeaderValue::from_maybe_shared(made).expect("letters and digits are a header value; this is a bug")
        })
    }

    /// Begins the record of a request.
    #[must_use]
    pub fn record(&self, request: &HttpRequest, protocol: Protocol) -> Record {
        let record = self.recorder.begin(protocol);
        if self.telemetry.observes() {
            return record.told_to(request.extensions().get().cloned());
        }
        record
    }

    /// Puts on an answer what every answer carries, and logs the failure if it is one of the server's. The refusal of a body
    /// becomes 415 where its encoding was the reason.
    pub fn dress<B>(&self, request: &HttpRequest, response: &mut HttpResponse<B>) {
        let id = self.request_id(request.headers());
        if response.status().is_server_error() {
            if let Some(Failure(message)) = response.extensions_mut().remove() {
                log::failure(id.as_bytes(), &message);
            }
        }
        if response.status() == StatusCode::BAD_REQUEST && request.extensions().contains::<UnknownEncoding>() {
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(body::ENCODINGS));
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        // Pages of any origin may call; the API has no cookies that they could misuse. Said to all, for a cache may pass it on.
        if self.cors {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if self.cors && request.headers().contains_key(header::ORIGIN) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        }
        if self.draining.load(Ordering::Relaxed) || ends_connection(request) {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
    }

    /// Answers OPTIONS: which methods there are, and to browsers whether their pages may use them.
    pub fn options(&self, request: &HttpRequest, allow: &'static str) -> HttpResponse {
        let mut response = HttpResponse::NoContent();
        response.insert_header((header::ALLOW, allow));
        if self.cors && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, allow));
            response.insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE));
            if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()));
            }
        }
        response.finish()
    }
}

/// What can be done with a resource beside reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Nothing.
    Read,
    /// POST to it.
    Post,
    /// POST to it, and DELETE it.
    PostDelete,
}

impl Methods {
    /// As `Allow` lists them.
    #[must_use]
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD, OPTIONS",
            Self::Post => "GET, HEAD, POST, OPTIONS",
            Self::PostDelete => "GET, HEAD, POST, DELETE, OPTIONS",
        }
    }
}

/// Whether a request is answered as GET is.
pub fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Compresses an answer's body if the client asked for it and it is worth it. Gives the body, and whether it is gzip now.
pub async fn compress(request: &HttpRequest, body: Vec<u8>) -> (Vec<u8>, bool) {
    if !may_compress(&body) || !accepts_gzip(request) {
        return (body, false);
    }
    if body.len() <= COMPRESS_INLINE_BYTES_MAX {
        return (gzip(&body), true);
    }
    let body = Bytes::from(body);
    let copy = body.clone();
    match web::block(move || gzip(&copy)).await {
        Ok(compressed) => (compressed, true),
        // Plain is right too, where no thread is to be had.
        Err(_) => (body.into(), false),
    }
}

/// Whether an answer is compressed for those who ask.
pub const fn may_compress(body: &[u8]) -> bool {
    body.len() >= COMPRESS_BYTES_MIN
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes bytes; this is a bug")
}

fn accepts_gzip(request: &HttpRequest) -> bool {
    request.headers().contains_key(header::ACCEPT_ENCODING)
        && AcceptEncoding::parse(request)
            .is_ok_and(|accepted| accepted.negotiate([Encoding::gzip(), Encoding::identity()].iter()) == Some(Encoding::gzip()))
}
