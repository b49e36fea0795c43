//! The body of a request, as handlers read it in both versions of HTTP.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use actix_http::error::PayloadError;
use actix_http::Payload;
use bytes::Bytes;
use futures::Stream;
use h2::RecvStream;
use http_body::Body as _;
use hyper::body::Incoming;

use super::activity::{Activity, Awaiting};

/// A body as one version of HTTP brings it.
pub(super) trait Source: 'static {
    /// Gives the next bytes; `None` at the body's end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>>;

    /// Whether no bytes will come.
    fn is_at_end(&self) -> bool;
}

impl Source for Incoming {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut *self).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) if error.is_body_write_aborted() || error.is_incomplete_message() => {
                    return Poll::Ready(Some(Err(PayloadError::Incomplete(Some(io::Error::other(error))))));
                }
                Some(Err(error)) => {
                    // hyper's own words only say that there is an error.
                    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                    return Poll::Ready(Some(Err(PayloadError::Io(io::Error::other(cause.to_lowercase())))));
                }
                Some(Ok(frame)) => frame,
            };
            // Trailers say nothing that a handler asks for.
            if let Ok(bytes) = frame.into_data() {
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.is_end_stream()
    }
}

impl Source for RecvStream {
    /// Reading lets the client send more.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let ended = |error: h2::Error| PayloadError::Incomplete(Some(io::Error::other(error)));
        Poll::Ready(ready!(self.poll_data(cx)).map(|data| {
            let data = data.map_err(ended)?;
            self.flow_control().release_capacity(data.len()).map_err(ended)?;
            Ok(data)
        }))
    }

    fn is_at_end(&self) -> bool {
        self.is_end_stream()
    }
}

/// The body of a request. The handler and the connection share it.
pub(super) struct RequestBody<S>(Rc<Shared<S>>);

struct Shared<S> {
    source: RefCell<S>,
    /// Whether somebody has begun to read.
    is_requested: Cell<bool>,
    has_ended: Cell<bool>,
    /// Noted while the handler waits for bytes.
    awaiting: RefCell<Option<Awaiting>>,
    activity: Rc<Activity>,
}

impl<S: Source> RequestBody<S> {
    pub(super) fn new(source: S, activity: Rc<Activity>) -> Self {
        let has_ended = Cell::new(source.is_at_end());
        let source = RefCell::new(source);
        Self(Rc::new(Shared { source, is_requested: Cell::default(), has_ended, awaiting: RefCell::default(), activity }))
    }

    /// The body for the handler.
    pub(super) fn payload(&self) -> Payload {
        if self.has_ended() {
            return Payload::None;
        }
        Payload::Stream { payload: Box::pin(Self(Rc::clone(&self.0))) }
    }

    /// Whether all of it was read.
    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended.get()
    }

    /// Whether the handler has begun to read.
    pub(super) fn is_requested(&self) -> bool {
        self.0.is_requested.get()
    }

    /// Reads and throws away the rest, at most `most` bytes. Returns whether it has come to the end.
    pub(super) async fn discard(&self, most: usize) -> bool {
        let mut discarded = 0;
        while let Some(Ok(bytes)) = poll_fn(|cx| self.poll_bytes(cx)).await {
            discarded += bytes.len();
            if discarded > most {
                return false;
            }
        }
        true
    }

    fn poll_bytes(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let read = self.0.source.borrow_mut().poll_bytes(cx);
        if matches!(read, Poll::Ready(None)) || self.0.source.borrow().is_at_end() {
            self.0.has_ended.set(true);
        }
        read
    }
}

impl<S: Source> Stream for RequestBody<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.is_requested.set(true);
        let read = self.poll_bytes(cx);
        let mut awaiting = self.0.awaiting.borrow_mut();
        if read.is_pending() {
            awaiting.get_or_insert_with(|| self.0.activity.await_body());
        } else {
            *awaiting = None;
        }
        read
    }
}

impl<S> Drop for RequestBody<S> {
    fn drop(&mut self) {
        // The handler waits no more, if it is its half that goes.
        *self.0.awaiting.borrow_mut() = None;
    }
}
