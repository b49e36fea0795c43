//! An HTTP/1.1 connection. hyper reads and writes it. It reads one request at a time, so a client that sends many at once, and
//! reads no answers, is not read any further.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use ::http::header::CONNECTION;
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use actix_http::ConnectionType;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tfweb_limits::Holding;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep_until, Instant};

use super::activity::Activity;
use super::answer_body::{self, AnswerBody};
use super::client_stream::ClientStream;
use super::handler::{Handler, Shared};
use super::request_body::RequestBody;
use super::timeouts::{closing, Timeouts};
use super::{linger, translate};
use crate::transport::body_limits::no_room;
use crate::transport::http::error;

/// The largest head. It is also the most bytes that are read at once. hyper answers 431 to a larger head, and to a head with more
/// than 100 headers.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The answer to a head that does not end. hyper has none.
const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves a connection until it ends.
pub(super) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    io: ClientStream<T>,
    peer: Option<SocketAddr>,
    handler: &impl Handler,
    shared: &Shared,
    closing_signal: watch::Receiver<bool>,
) {
    let (activity, timeouts) = (Rc::clone(io.activity()), shared.timeouts);
    let service = service_fn(|request| answer(request, peer, handler, shared, &activity));
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(timeouts.keep_alive).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let begun = Instant::now();
    let mut limit = Some(begun + timeouts.head);
    let mut told = pin!(closing(closing_signal));
    let is_late = loop {
        tokio::select! {
            ended = &mut connection => break ended.is_err_and(|error| error.is_timeout()),
            () = &mut told, if !activity.is_stopping() => {
                activity.set_stopping();
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                limit = Some(Instant::now() + timeouts.linger);
            }
            () = sleep_until(limit.unwrap_or(begun)), if limit.is_some() => {
                let (is_idle, is_stopping) = (activity.is_idle(), activity.is_stopping());
                if is_idle && (is_stopping || !activity.has_asked()) {
                    break !is_stopping;
                }
                limit = next_limit(&activity, begun, timeouts);
            }
        }
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut io = io.into_inner();
    if is_late && !read_buf.is_empty() {
        // Whether the client reads it or not, the connection ends.
        let _ = io.write(HEAD_TIMEOUT).await;
    }
    linger::close(io, timeouts.linger).await;
}

/// The next time to look after a connection.
fn next_limit(activity: &Activity, begun: Instant, timeouts: Timeouts) -> Option<Instant> {
    let now = Instant::now();
    if activity.is_stopping() {
        return Some(now + timeouts.linger);
    }
    if begun + timeouts.age <= now {
        activity.set_old();
        return None;
    }
    Some(begun + timeouts.age)
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
    let mut share = shared.ledger.empty(Holding::Heads);
    let answer = match share.grow(translate::request_bytes(&parts)) {
        Err(full) => error::respond(&no_room(full)).into(),
        Ok(()) => match translate::request(&parts, peer, body.payload()) {
            None => actix_http::Response::bad_request().map_into_boxed_body(),
            Some(request) => handler.call(request).await.unwrap_or_else(|refusal| refusal),
        },
    };
    let (answer, answer_body) = answer_body::take(answer, share, &shared.ledger, running);
    let says_close = answer.head().connection_type() == ConnectionType::Close;
    // A body that is not read to its end cannot be told from the next request.
    let closes = says_close || activity.is_old() || !body.has_ended();
    let Some(mut head) = translate::answer(answer.head(), answer_body.size()) else {
        let mut refusal = Response::new(answer_body);
        *refusal.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(refusal);
    };
    if closes {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    } else if keeps_open(parts.version, &parts.headers) {
        head.headers.insert(HeaderName::from_static("keep-alive"), shared.keep_alive.clone());
    }
    Ok(Response::from_parts(head, answer_body))
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
