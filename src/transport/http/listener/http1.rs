//! An HTTP/1.1 connection. hyper reads and writes it. It reads one request at a time, so a client that sends many at once, and
//! reads no answers, is not read any further.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use ::http::header::{CONNECTION, TRANSFER_ENCODING};
use ::http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use actix_http::ConnectionType;
use actix_web::body::BodySize;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tfweb_engine::{quoted, Code, Error};
use tfweb_limits::Holding;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::activity::Activity;
use super::answer_body::{self, AnswerBody};
use super::client_stream::ClientStream;
use super::handler::{Handler, Shared};
use super::lookout::{Finding, Lookout};
use super::refusal::{self, OwnAnswers};
use super::request_body::RequestBody;
use super::{linger, translate};

/// The largest head. It is also the most bytes that are read at once.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most headers of a request. It is hyper's own limit.
const HEADERS_MAX: usize = 100;

/// Serves a connection until it ends.
pub(super) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    io: ClientStream<T>,
    peer: Option<SocketAddr>,
    handler: &impl Handler,
    shared: &Shared,
    closing_signal: watch::Receiver<bool>,
) {
    let activity = Rc::clone(io.activity());
    let is_asked = Rc::new(Cell::new(false));
    let service = service_fn(|request| {
        is_asked.set(true);
        answer(request, peer, handler, shared, &activity)
    });
    let mut builder = Builder::new();
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(TokioIo::new(OwnAnswers::new(io, Rc::clone(&is_asked))), service);
    let mut lookout = Lookout::new(&activity, shared.timeouts, closing_signal);
    let (ended, finding) = tokio::select! {
        biased;
        ended = &mut connection => (ended, None),
        finding = lookout.next() => (Ok(()), Some(finding)),
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    let (mut io, has_kept_back) = io.into_inner().into_parts();
    let refused = match ended {
        Err(error) if has_kept_back => Some(refusal::of_head(&error, HEAD_BYTES_MAX, HEADERS_MAX)),
        Ok(()) if finding == Some(Finding::Late) && !read_buf.is_empty() => Some(late(shared, &activity)),
        Ok(()) | Err(_) => None,
    };
    if let Some(refused) = refused {
        // Whether the client reads it or not, the connection ends.
        let _ = timeout(shared.timeouts.linger, refusal::send(&mut io, refused, &shared.request_ids)).await;
    }
    linger::close(io, shared.timeouts.linger).await;
}

/// The refusal of a head that does not end.
fn late(shared: &Shared, activity: &Activity) -> (Error, actix_http::StatusCode) {
    let wait = if activity.has_asked() { shared.timeouts.keep_alive } else { shared.timeouts.head };
    let text = format!("the head of the request comes too slowly: expected its end within {} s", wait.as_secs());
    (Error::new(Code::DeadlineExceeded, text), actix_http::StatusCode::REQUEST_TIMEOUT)
}

/// Answers a request. hyper drops it when the client goes away.
async fn answer(
    request: ::http::Request<Incoming>,
    peer: Option<SocketAddr>,
    handler: &impl Handler,
    shared: &Shared,
    activity: &Rc<Activity>,
) -> Result<Response<AnswerBody>, Infallible> {
    let running = activity.begin();
    let (parts, body) = request.into_parts();
    let body = RequestBody::new(body, Rc::clone(activity));
    let keeps_open = keeps_open(parts.version, &parts.headers);
    let mut share = shared.ledger.empty(Holding::Heads);
    let answer = match check_codings(&parts.headers).and_then(|()| shared.admit(&mut share, &parts)) {
        Err(error) => refusal::answer(&error, &parts.headers, &shared.request_ids),
        Ok(()) => match translate::request(parts, peer, body.payload()) {
            None => refusal::unreadable(&shared.request_ids),
            Some(request) => handler.call(request).await.unwrap_or_else(|refusal| refusal),
        },
    };
    let (answer, answer_body) = answer_body::take(answer, share, &shared.ledger, running);
    let says_close = answer.head().connection_type() == ConnectionType::Close;
    // A body that is not read to its end cannot be told from the next request.
    let closes = says_close || activity.is_old() || activity.is_stopping() || !body.has_ended();
    // hyper itself says how long a body is that it sees.
    let size = if answer_body.size_hint().exact() > Some(0) { BodySize::Stream } else { answer_body.size() };
    let Some(mut head) = translate::answer(answer.head(), size) else {
        let mut refusal = Response::new(answer_body);
        *refusal.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(refusal);
    };
    if closes {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    } else if keeps_open {
        head.headers.insert(translate::KEEP_ALIVE, shared.keep_alive.clone());
    }
    Ok(Response::from_parts(head, answer_body))
}

/// Refuses a body in a form that nobody here decodes. hyper takes every list of transfer codings that ends with `chunked`.
fn check_codings(headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    let (first, others) = (codings.next(), codings.next());
    match first.filter(|first| others.is_some() || !first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        None => Ok(()),
        Some(first) => {
            let found = quoted(&String::from_utf8_lossy(first.as_bytes()));
            let text = format!("the header Transfer-Encoding: expected chunked and nothing else, got {found}");
            Err(Error::new(Code::Unimplemented, text))
        }
    }
}

/// Whether the client wants its connection to stay open.
fn keeps_open(version: Version, headers: &HeaderMap) -> bool {
    let says = |wish: &str| {
        let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wish))
    };
    !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
