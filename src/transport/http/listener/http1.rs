//! An HTTP/1.1 connection. hyper reads and writes it. It reads one request at a time, so a client that sends many at once, and
//! reads no answers, is not read any further.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use ::http::header::CONNECTION;
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use actix_http::ConnectionType;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tfweb_limits::Holding;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::activity::Activity;
use super::answer_body::{self, AnswerBody};
use super::client_stream::ClientStream;
use super::handler::{Handler, Shared};
use super::lookout::{Finding, Lookout};
use super::request_body::RequestBody;
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
    let activity = Rc::clone(io.activity());
    let service = service_fn(|request| answer(request, peer, handler, shared, &activity));
    let mut builder = Builder::new();
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let mut lookout = Lookout::new(&activity, shared.timeouts, closing_signal);
    let is_late = tokio::select! {
        biased;
        _ = &mut connection => false,
        finding = lookout.next() => finding == Finding::Late,
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut io = io.into_inner();
    if is_late && !read_buf.is_empty() {
        // Whether the client reads it or not, the connection ends.
        let _ = io.write(HEAD_TIMEOUT).await;
    }
    linger::close(io, shared.timeouts.linger).await;
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
    let answer = match shared.count(&mut share, &parts) {
        Err(full) => error::respond(&no_room(full)).into(),
        Ok(()) => match translate::request(parts, peer, body.payload()) {
            None => actix_http::Response::bad_request().map_into_boxed_body(),
            Some(request) => handler.call(request).await.unwrap_or_else(|refusal| refusal),
        },
    };
    let (answer, answer_body) = answer_body::take(answer, share, &shared.ledger, running);
    let says_close = answer.head().connection_type() == ConnectionType::Close;
    // A body that is not read to its end cannot be told from the next request.
    let closes = says_close || activity.is_old() || activity.is_stopping() || !body.has_ended();
    let Some(mut head) = translate::answer(answer.head(), answer_body.size()) else {
        let mut refusal = Response::new(answer_body);
        *refusal.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(refusal);
    };
    if closes {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    } else if keeps_open {
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
