//! One request of an HTTP/2 connection. It is converted for the handler that also serves HTTP/1.1, so that both versions have the
//! same refusals, limits and metrics.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::io;
use std::net::SocketAddr;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::{ready, Context, Poll};
use std::time::{Duration, SystemTime};

use actix_http::error::PayloadError;
use actix_http::header::{HeaderName, HeaderValue, HttpDate, CONTENT_LENGTH, HOST};
use actix_http::{ConnectionType, Method, Payload, Request, Response, ResponseHead, Uri, Version};
use actix_service::Service;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::StatusCode;
use tokio::time::timeout;

use super::timeouts::Timeouts;

/// The most bytes of an answer that ask for window at once. Answers side by side take turns, so that none waits for another.
const TURN_BYTES: usize = 16 << 10;

/// How a request ended.
pub(super) enum Ended {
    /// The server answered it. The answer may tell the client to close its connection.
    Answered { says_close: bool },
    /// The client cancelled it before its answer.
    Cancelled,
}

/// Answers a request. If this is dropped, the handler's future is dropped too. If the handler has not read the whole body, the
/// rest is read for a moment: some clients do not read an answer while they still send.
pub(super) async fn answer<S, B>(
    request: ::http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Option<SocketAddr>,
    handler: &S,
    timeouts: Timeouts,
) -> Ended
where
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let (parts, stream) = request.into_parts();
    let is_head = parts.method == ::http::Method::HEAD;
    let mut expects = parts.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let body = Body { stream: Rc::new(RefCell::new(stream)), is_requested: Rc::default() };
    let answer = match converted(&parts, peer, &body) {
        None => Some(Response::bad_request().map_into_boxed_body()),
        Some(request) => {
            let mut answering = pin!(handler.call(request));
            let answered = poll_fn(|cx| {
                // Checked first, so that a request that is cancelled at once costs nothing.
                if respond.poll_reset(cx).is_ready() {
                    return Poll::Ready(None);
                }
                let answered = answering.as_mut().poll(cx).map(Some);
                if answered.is_pending() && expects && body.is_requested.get() {
                    expects = false;
                    send_continue(&mut respond);
                }
                answered
            });
            answered.await.map(|answered| answered.map_or_else(Into::into, |answer| answer.into().map_into_boxed_body()))
        }
    };
    let Some(answer) = answer else { return Ended::Cancelled };
    let ended = send(answer, is_head, respond, timeouts.stall).await;
    let _ = timeout(timeouts.linger, body.discard()).await;
    ended
}

/// Tells a waiting client to send its body.
fn send_continue(respond: &mut SendResponse<Bytes>) {
    let mut head = ::http::Response::new(());
    *head.status_mut() = StatusCode::CONTINUE;
    // If this fails, the request has ended.
    let _ = respond.send_informational(head);
}

/// Converts a request for actix; `None` if actix could not have read it.
fn converted(parts: &::http::request::Parts, peer: Option<SocketAddr>, body: &Body) -> Option<Request> {
    let mut request = Request::new();
    if !body.stream.borrow().is_end_stream() {
        *request.payload() = Payload::Stream { payload: Box::pin(body.clone()) };
    }
    let head = request.head_mut();
    head.version = Version::HTTP_2;
    head.peer_addr = peer;
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = match parts.uri.path_and_query() {
        Some(path) => Uri::try_from(path.as_str()).ok()?,
        None => Uri::from_static("/"),
    };
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    if let Some(authority) = parts.uri.authority() {
        head.headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
    }
    Some(request)
}

/// The body of a request. Reading it lets the client send more.
#[derive(Clone)]
struct Body {
    stream: Rc<RefCell<RecvStream>>,
    /// Whether the handler has begun to read.
    is_requested: Rc<Cell<bool>>,
}

impl Body {
    /// Reads and discards the rest.
    async fn discard(mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_requested.set(true);
        let ended = |error: h2::Error| PayloadError::Incomplete(Some(io::Error::other(error)));
        let mut stream = self.stream.borrow_mut();
        Poll::Ready(ready!(stream.poll_data(cx)).map(|data| {
            let data = data.map_err(ended)?;
            stream.flow_control().release_capacity(data.len()).map_err(ended)?;
            Ok(data)
        }))
    }
}

async fn send(answer: Response<BoxBody>, is_head: bool, mut respond: SendResponse<Bytes>, stall_wait: Duration) -> Ended {
    let (answer, body) = answer.into_parts();
    let says_close = answer.head().connection_type() == ConnectionType::Close;
    let size = body.size();
    let has_body = !is_head && !size.is_eof() && !matches!(answer.status().as_u16(), 204 | 304);
    let Some(head) = head(answer.head(), size) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return Ended::Answered { says_close };
    };
    // A client that cancels while it is answered has already cost its run, so this does not count as cancelled.
    if let (Ok(stream), true) = (respond.send_response(head, !has_body), has_body) {
        let _ = send_body(body, stream, stall_wait).await;
    }
    Ended::Answered { says_close }
}

/// The head of an answer; `None` if it has a header that HTTP/2 cannot send.
fn head(answer: &ResponseHead, size: BodySize) -> Option<::http::Response<()>> {
    let mut head = ::http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(answer.status.as_u16()).ok()?;
    let headers = head.headers_mut();
    for (name, value) in answer.headers() {
        let name = ::http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.append(name, ::http::HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    // These headers belong to HTTP/1.1 connections (RFC 9113, section 8.2.2).
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    if let (BodySize::Sized(bytes), false) = (size, answer.status == actix_http::StatusCode::NO_CONTENT) {
        headers.insert(CONTENT_LENGTH.as_str(), bytes.into());
    }
    if !headers.contains_key(DATE) {
        headers.insert(DATE, HttpDate::from(SystemTime::now()).to_string().try_into().ok()?);
    }
    Some(head)
}

/// Sends a body as fast as the client reads it.
async fn send_body(body: BoxBody, mut stream: SendStream<Bytes>, stall_wait: Duration) -> Result<(), h2::Error> {
    let mut body = pin!(body);
    while let Some(bytes) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
        let Ok(mut bytes) = bytes else {
            stream.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        };
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len().min(TURN_BYTES));
            while stream.capacity() == 0 {
                let capacity = timeout(stall_wait, poll_fn(|cx| stream.poll_capacity(cx))).await;
                // Returning drops the stream, which resets it.
                let Ok(Some(capacity)) = capacity else { return Ok(()) };
                capacity?;
            }
            let most = stream.capacity().min(bytes.len());
            stream.send_data(bytes.split_to(most), false)?;
        }
    }
    stream.send_data(Bytes::new(), true)
}
