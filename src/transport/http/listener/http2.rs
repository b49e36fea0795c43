//! An HTTP/2 connection: takes its requests, has them answered side by side, and ends it in order.
//!
//! This is built on h2 and not on hyper, which hides how far an answer was taken: a request is a future of its connection here, so
//! it ends with the connection, and an answer that nobody reads ends by itself. There are no pings: each request has its time, and
//! a connection without requests is closed, so a client that has vanished costs no more than one that is silent.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::body::{BoxBody, MessageBody};
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use h2::server::{Builder, Connection};
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout, Instant};

use super::stream::{self, Ended};
use super::taken::Taken;
use super::waits::{leaving, Waits};
use crate::transport::http2_limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAMS_MAX, STREAM_WINDOW_BYTES};

/// The longest head, 32 bytes for each header included (RFC 9113, section 6.5.2). Less than HTTP/1.1 has, for one connection holds
/// as many heads as requests; as much as the gRPC port takes. h2 answers a longer one with 431, and ends a connection whose
/// head has no end.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Requests that a client may take back one after another, none of them answered in between. Four times all that it may have at
/// once: a client whose patience ends takes back what it has, and only an attack goes on.
const RESETS_MAX: u32 = 4 * STREAMS_MAX;
/// Requests that a client may take back before the server has looked at them: as many as it may have at once, for a busy server looks
/// late, and ending the connection would lose other requests.
const UNSEEN_RESETS_MAX: usize = STREAMS_MAX as usize;
/// Faults of a client that end a request and not its connection. Some happen where both ends close a request at once.
const FAULTS_MAX: usize = 1024;

/// Serves a connection until it ends.
pub(super) async fn converse<T, S, B>(io: T, peer: Option<SocketAddr>, handler: &S, waits: Waits, told: watch::Receiver<bool>)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let io = Taken::new(io, waits.take);
    let is_full = io.is_full();
    let begun = tokio::select! {
        biased;
        begun = timeout(waits.head, builder().handshake(io)) => begun,
        () = leaving(told.clone()) => return,
    };
    let Ok(Ok(connection)) = begun else { return };
    let limit = Instant::now() + waits.head;
    let conversation = Conversation { connection, is_full, leaving_by: None, limit, waits, resets: 0 };
    let answer = |request, respond| stream::answer(request, respond, peer, handler, waits);
    if let Err(error) = conversation.run(told, answer).await {
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
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(Some(FAULTS_MAX));
    builder
}

struct Conversation<T> {
    connection: Connection<T, Bytes>,
    /// Whether bytes wait until the client takes some.
    is_full: Rc<Cell<bool>>,
    /// When no more requests are taken, if the client was told to go.
    leaving_by: Option<Instant>,
    /// When the connection ends if there is no request until then.
    limit: Instant,
    waits: Waits,
    /// Requests that the client took back since one was answered.
    resets: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Conversation<T> {
    /// Takes requests and answers them until the connection ends. With it end its requests.
    async fn run<F: Future<Output = Ended>>(
        mut self,
        told: watch::Receiver<bool>,
        answer: impl Fn(::http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> F,
    ) -> Result<(), h2::Error> {
        let mut answers = FuturesUnordered::new();
        let mut leaving = pin!(leaving(told));
        loop {
            let is_idle = answers.is_empty();
            tokio::select! {
                accepted = self.connection.accept() => match accepted.transpose()? {
                    Some((_, mut refused)) if self.is_closed() => refused.send_reset(Reason::REFUSED_STREAM),
                    Some((request, respond)) => answers.push(answer(request, respond)),
                    None => return Ok(()),
                },
                Some(ended) = answers.next() => self.ended(ended),
                () = &mut leaving, if self.leaving_by.is_none() => self.leave(),
                () = sleep_until(self.limit), if is_idle => if self.is_over() {
                    return Ok(());
                },
            }
        }
    }

    /// Tells a client to go that has left the connection without requests until its limit. Gives whether the connection ends now.
    fn is_over(&mut self) -> bool {
        if self.leaving_by.is_none() {
            self.leave();
        } else if self.is_full.get() {
            // The end of an answer is on its way, for which there is a limit of its own.
            self.limit = Instant::now() + self.waits.linger;
        } else {
            return true;
        }
        false
    }

    /// Whether a client goes on with new requests that must know for long that it is to go. It may send them elsewhere.
    fn is_closed(&self) -> bool {
        self.leaving_by.is_some_and(|moment| moment < Instant::now())
    }

    /// Notes the end of a request.
    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Answered { says_close } => {
                self.resets = 0;
                if says_close && self.leaving_by.is_none() {
                    self.leave();
                }
            }
            Ended::TakenBack => self.resets += 1,
        }
        if self.resets > RESETS_MAX {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        let wait = if self.leaving_by.is_some() { self.waits.linger } else { self.waits.keep_alive };
        self.limit = Instant::now() + wait;
    }

    /// Tells the client to send no more requests. Those that are on their way are answered.
    fn leave(&mut self) {
        self.limit = Instant::now() + self.waits.linger;
        self.leaving_by = Some(self.limit);
        self.connection.graceful_shutdown();
    }
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
