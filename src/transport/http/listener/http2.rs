//! An HTTP/2 connection. It accepts requests, answers them side by side, and closes in order.
//!
//! It uses h2 and not hyper, because hyper hides how much of an answer the client has read. Here a request is a future of its
//! connection and ends with it, and an answer that the client does not read has a time limit. The server sends no pings: each
//! request has a time limit, and a connection without requests is closed, so a vanished client costs no more than a silent one.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use h2::server::{Builder, Connection};
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout, Instant};

use super::activity::Activity;
use super::client_stream::ClientStream;
use super::handler::{Handler, Shared};
use super::http2_request::{self, Ended, Origin};
use super::timeouts::{closed, closing, Timeouts};
use crate::transport::http2_limits::{CONNECTION_WINDOW_BYTES, STREAMS_MAX, STREAM_WINDOW_BYTES};

/// The largest head; each header counts 32 bytes more (RFC 9113, section 6.5.2). The gRPC port has the same limit. HTTP/1.1
/// allows more, because its connections hold one head at a time. h2 answers 431 to a larger head, and closes a
/// connection whose head does not end.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// The most bytes of a frame. A connection holds one frame that has come in part, and nobody counts it.
const FRAME_BYTES_MAX: u32 = 32 << 10;
/// The most bytes of an answer that h2 holds for a client that does not read.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// The most requests that a client may cancel in a row without one being answered. It is four times the number that may run at
/// once. A client that loses patience cancels all its requests once; only an attack goes on.
const RESETS_MAX: u32 = 4 * STREAMS_MAX;
/// The most cancelled requests that the server has not seen yet. It is the number that may run at once, because a busy server
/// sees them late, and closing the connection would lose other requests.
const UNSEEN_RESETS_MAX: usize = STREAMS_MAX as usize;
/// The most faults of a client that end only a request and not the connection. Some happen when both sides close a request at
/// once.
const FAULTS_MAX: usize = 1024;

/// Serves a connection until it ends.
pub(super) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    io: ClientStream<T>,
    peer: Option<SocketAddr>,
    handler: &impl Handler,
    shared: &Shared,
    closing_signal: watch::Receiver<bool>,
) {
    let (activity, timeouts) = (Rc::clone(io.activity()), shared.timeouts);
    let handshake = tokio::select! {
        biased;
        handshake = timeout(timeouts.head, builder().handshake(io)) => handshake,
        () = closed(closing_signal.clone(), timeouts.linger) => return,
    };
    let Ok(Ok(connection)) = handshake else { return };
    let now = Instant::now();
    let (limit, old_from) = (now + timeouts.head, now + timeouts.age);
    let origin = Origin { peer, handler, shared, activity: Rc::clone(&activity), closing_signal: closing_signal.clone() };
    let connection = Http2Connection { connection, activity, refuse_from: None, limit, old_from, timeouts, resets: 0 };
    let answer = |request, respond| http2_request::answer(request, respond, &origin);
    if let Err(error) = connection.run(closing_signal, answer).await {
        tracing::debug!("HTTP/2: {error}");
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(Some(FAULTS_MAX));
    builder
}

struct Http2Connection<T> {
    connection: Connection<ClientStream<T>, Bytes>,
    activity: Rc<Activity>,
    /// The time after which new requests are refused; `None` until the server tells the client to close.
    refuse_from: Option<Instant>,
    /// The time at which the connection closes if it has no request until then.
    limit: Instant,
    /// The time at which the server tells the client to close, however much it asks.
    old_from: Instant,
    timeouts: Timeouts,
    /// The requests that the client cancelled since the last answer.
    resets: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Http2Connection<T> {
    /// Accepts and answers requests until the connection ends. Its requests end with it.
    async fn run<F: Future<Output = Ended>>(
        mut self,
        closing_signal: watch::Receiver<bool>,
        answer: impl Fn(::http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> F,
    ) -> Result<(), h2::Error> {
        let mut answers = FuturesUnordered::new();
        let mut closing = pin!(closing(closing_signal));
        loop {
            let is_idle = answers.is_empty();
            tokio::select! {
                accepted = self.connection.accept() => match accepted.transpose()? {
                    Some((_, mut refused)) if self.refuses_requests() => refused.send_reset(Reason::REFUSED_STREAM),
                    Some((request, respond)) => answers.push(answer(request, respond)),
                    None => return Ok(()),
                },
                Some(ended) = answers.next() => self.note_end(ended),
                () = &mut closing, if !self.activity.is_stopping() => {
                    self.activity.set_stopping();
                    if self.refuse_from.is_none() {
                        self.close();
                    }
                }
                () = sleep_until(self.old_from), if self.refuse_from.is_none() => self.close(),
                () = sleep_until(self.limit), if is_idle => if self.end_idle() {
                    return Ok(());
                },
            }
        }
    }

    /// Handles a connection without requests whose limit has passed. Returns whether it closes now.
    fn end_idle(&mut self) -> bool {
        if self.refuse_from.is_none() {
            self.close();
        } else if !self.activity.is_idle() {
            // The end of an answer is still on its way. The pace of its client limits that.
            self.limit = Instant::now() + self.timeouts.linger;
        } else {
            return true;
        }
        false
    }

    /// Whether the client still sends new requests a while after it was told to close. They are refused, and the client may send
    /// them elsewhere.
    fn refuses_requests(&self) -> bool {
        self.refuse_from.is_some_and(|moment| moment < Instant::now())
    }

    /// Notes the end of a request.
    fn note_end(&mut self, ended: Ended) {
        match ended {
            Ended::Answered { says_close } => {
                self.resets = 0;
                if (says_close || self.activity.is_old()) && self.refuse_from.is_none() {
                    self.close();
                }
            }
            Ended::Cancelled => self.resets += 1,
        }
        if self.resets > RESETS_MAX {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        let wait = if self.refuse_from.is_some() { self.timeouts.linger } else { self.timeouts.keep_alive };
        self.limit = Instant::now() + wait;
    }

    /// Tells the client to send no more requests (GOAWAY). Requests that are already on their way are answered.
    fn close(&mut self) {
        self.limit = Instant::now() + self.timeouts.linger;
        self.refuse_from = Some(self.limit);
        self.connection.graceful_shutdown();
    }
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
