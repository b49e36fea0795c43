//! Refusals of requests that no handler sees, in tfweb's form of errors and with a request id.
//!
//! hyper answers a malformed head by itself, without a body and an id. [`OwnAnswers`] keeps that answer back, and [`send`] sends
//! another.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use ::http::HeaderMap;
use actix_http::header::{HeaderValue, HttpDate};
use actix_http::{Response, StatusCode};
use actix_web::body::{BoxBody, MessageBody};
use bytes::Bytes;
use tfweb_engine::{Code, Error};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::client_stream::ClientStream;
use super::translate;
use crate::transport::http::answers::REQUEST_ID_HEADER;
use crate::transport::http::error;
use crate::transport::request_id::{is_taken, RequestIds};

/// A connection that passes on answers to requests only.
pub(super) struct OwnAnswers<T> {
    io: ClientStream<T>,
    /// Whether a request has come since the last answer was sent.
    is_asked: Rc<Cell<bool>>,
    has_kept_back: bool,
}

impl<T> OwnAnswers<T> {
    /// Wraps a connection. Its owner sets `is_asked` when a request comes.
    pub(super) fn new(io: ClientStream<T>, is_asked: Rc<Cell<bool>>) -> Self {
        Self { io, is_asked, has_kept_back: false }
    }

    /// The connection, and whether an answer to no request was kept back.
    pub(super) fn into_parts(self) -> (ClientStream<T>, bool) {
        (self.io, self.has_kept_back)
    }

    fn keeps_back(&mut self) -> bool {
        self.has_kept_back |= !self.is_asked.get();
        self.has_kept_back
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for OwnAnswers<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for OwnAnswers<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes when it has handed on all bytes that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() && self.io.activity().is_idle() {
            self.is_asked.set(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_kept_back {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Makes the answer to a request that no handler sees. `headers` are the request's, as far as they could be read.
pub(super) fn answer(error: &Error, headers: &HeaderMap, ids: &RequestIds) -> Response<BoxBody> {
    let brought = headers.get(REQUEST_ID_HEADER.as_str()).map(|id| id.as_bytes()).filter(|id| is_taken(id));
    let id = brought.map_or_else(|| ids.make().into(), Bytes::copy_from_slice);
    tracing::debug!(request_id = %id.escape_ascii(), "HTTP: refused a request: {error}");
    let mut answer = error::respond(error);
    if let Ok(id) = HeaderValue::from_maybe_shared(id) {
        answer.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    answer.into()
}

/// Makes the answer to a request whose head actix has no types for.
pub(super) fn unreadable(ids: &RequestIds) -> Response<BoxBody> {
    answer(&Error::invalid("malformed HTTP request: its head cannot be read"), &HeaderMap::new(), ids)
}

/// The error for a head that hyper cannot read, and the status of its answer.
pub(super) fn of_head(error: &hyper::Error, head_bytes_max: usize, headers_max: usize) -> (Error, StatusCode) {
    if error.is_parse_too_large() {
        let text =
            format!("the head of the request is too large: expected at most {head_bytes_max} bytes and {headers_max} headers");
        return (Error::new(Code::OutOfRange, text), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    (Error::invalid(format!("malformed HTTP request: {error}")), StatusCode::BAD_REQUEST)
}

/// Sends the answer to a request whose head cannot be read, before the connection closes.
///
/// # Errors
/// Those of the connection.
pub(super) async fn send<T: AsyncWrite + Unpin>(
    io: &mut ClientStream<T>,
    (error, status): (Error, StatusCode),
    ids: &RequestIds,
) -> io::Result<()> {
    let mut answer = answer(&error, &HeaderMap::new(), ids);
    *answer.status_mut() = status;
    let (head, body) = answer.into_parts();
    let Some(head) = translate::answer(head.head(), body.size()) else { return Ok(()) };
    let date = HttpDate::from(SystemTime::now());
    let mut bytes = format!("HTTP/1.1 {}\r\nconnection: close\r\ndate: {date}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body.try_into_bytes().unwrap_or_default());
    io.write_all(&bytes).await?;
    io.flush().await
}
