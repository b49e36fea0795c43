//! A connection over HTTP/2. It accepts calls, answers each in a task of its own, and closes in order.
//!
//! It uses h2 and not tonic's server, which hides how much of an answer the client has read. Here each wait has an end: a
//! connection without calls, an answer that nobody reads, a client that has left, and a stop.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout, Instant};

use super::connections::OpenConnection;
use super::exchange::{answer, CallServices, Ended};
use crate::transport::http2_limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAMS_MAX, STREAM_WINDOW_BYTES};
use crate::transport::write_timeout::WriteTimeout;

/// The largest head; each header counts 32 bytes more (RFC 9113, section 6.5.2).
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// The most bytes of one answer that wait in h2 for the socket. The rest waits in the call's own, counted memory.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// The most calls that a client may cancel in a row without one being answered, as at the HTTP port.
const RESETS_MAX: u32 = 4 * STREAMS_MAX;

/// The time limits of a connection.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// Until the client has begun to speak HTTP/2.
    pub(super) greeting: Duration,
    /// Without calls. Clients keep a channel for their next call, and open it again where the server has closed it.
    pub(super) idle: Duration,
    /// From the beginning until it takes no more calls. The client's next connection may go to another replica.
    pub(super) age: Duration,
    /// The interval of pings, and the time for their answers.
    pub(super) ping: Duration,
    pub(super) pong: Duration,
    /// In which the client must read some of an answer, and send some of a message.
    pub(super) stall: Duration,
    /// After the client was told to send no more calls: until the last ones have come. Clients confirm that they were told, and
    /// their connections then close sooner.
    pub(super) linger: Duration,
    /// After that: until the messages of calls are complete, and streams have ended.
    pub(super) grace: Duration,
}

impl Timeouts {
    pub(super) const DEFAULT: Self = Self {
        greeting: Duration::from_secs(10),
        idle: Duration::from_secs(300),
        age: Duration::from_secs(3600),
        ping: Duration::from_secs(60),
        pong: Duration::from_secs(20),
        stall: Duration::from_secs(10),
        linger: Duration::from_secs(3),
        grace: Duration::from_secs(5),
    };
}

/// Serves a connection until it ends.
pub(super) async fn serve<T>(
    io: T,
    client: Option<IpAddr>,
    services: CallServices,
    open: OpenConnection,
    timeouts: Timeouts,
    stopping: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let open = Arc::new(open);
    let io = WriteTimeout::new(io, timeouts.stall);
    let is_full = io.is_full();
    let greeting = async {
        tokio::select! {
            biased;
            greeted = timeout(timeouts.greeting, builder().handshake(io)) => greeted.ok()?.ok(),
            () = open.must_close() => None,
            () = closed(stopping.clone(), timeouts.linger) => None,
        }
    };
    let Some(mut connection) = greeting.await else { return };
    let pings = connection.ping_pong();
    let now = Instant::now();
    let serving = Serving {
        connection,
        client,
        services,
        open,
        calls: JoinSet::new(),
        closing: None,
        limit: now + timeouts.idle,
        old_from: now + timeouts.age,
        timeouts,
        resets: 0,
    };
    let alive = answers_pings(pings, timeouts);
    tokio::select! {
        ended = serving.run(stopping, &is_full) => if let Err(error) = ended {
            tracing::debug!("gRPC: {error}");
        },
        () = alive => tracing::debug!("gRPC: a client does not answer pings"),
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
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(STREAMS_MAX as usize);
    builder
}

/// Waits until the server stops.
pub(super) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the listener was dropped, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Waits until connections close that have not begun to speak: a while after the server stops.
async fn closed(stopping: watch::Receiver<bool>, linger: Duration) {
    stopped(stopping).await;
    tokio::time::sleep(linger).await;
}

/// Pings the client, and ends when it does not answer.
async fn answers_pings(pings: Option<PingPong>, timeouts: Timeouts) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(timeouts.ping).await;
        let sent = pings.send_ping(Ping::opaque());
        if sent.is_err() || timeout(timeouts.pong, poll_fn(|context| pings.poll_pong(context))).await.is_err() {
            return;
        }
    }
}

struct Serving<T> {
    connection: Connection<WriteTimeout<T>, Bytes>,
    client: Option<IpAddr>,
    services: CallServices,
    open: Arc<OpenConnection>,
    /// They end with the connection.
    calls: JoinSet<Ended>,
    /// When the client was told to send no more calls.
    closing: Option<Instant>,
    /// When the connection has been without calls for too long, if none comes until then.
    limit: Instant,
    old_from: Instant,
    timeouts: Timeouts,
    /// The calls that the client cancelled since the last answer.
    resets: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving<T> {
    async fn run(mut self, stopping: watch::Receiver<bool>, is_full: &AtomicBool) -> Result<(), h2::Error> {
        let open = Arc::clone(&self.open);
        let (mut stop, mut must_close) = (pin!(stopped(stopping)), pin!(open.must_close()));
        let mut look = pin!(sleep_until(self.next_look()));
        loop {
            let is_closing = self.closing.is_some();
            tokio::select! {
                accepted = self.connection.accept() => match accepted.transpose()? {
                    Some((_, mut refused)) if self.refuses_calls() => refused.send_reset(Reason::REFUSED_STREAM),
                    Some((request, respond)) => self.begin(request, respond),
                    None => return Ok(()),
                },
                Some(ended) = self.calls.join_next() => self.note_end(ended.unwrap_or(Ended::Cancelled)),
                () = &mut stop, if !is_closing => {
                    self.close();
                    look.as_mut().reset(self.next_look());
                }
                () = &mut must_close => return self.hang_up(Reason::NO_ERROR).await,
                () = &mut look => {
                    if self.is_over(is_full) {
                        return self.hang_up(Reason::NO_ERROR).await;
                    }
                    look.as_mut().reset(self.next_look());
                }
            }
            if self.resets > RESETS_MAX {
                return self.hang_up(Reason::ENHANCE_YOUR_CALM).await;
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (open, services) = (Arc::clone(&self.open), self.services.clone());
        self.calls.spawn(answer(request, respond, self.client, open, services, self.timeouts.stall));
    }

    /// When to look at the connection again. It has no timer for each call: most calls take less time than to set one.
    fn next_look(&self) -> Instant {
        match self.closing {
            Some(_) => Instant::now() + self.timeouts.linger,
            None if self.calls.is_empty() => self.limit.min(self.old_from),
            None => (Instant::now() + self.timeouts.idle).min(self.old_from),
        }
    }

    /// Looks whether a time of the connection has passed, and says whether it ends now.
    fn is_over(&mut self, is_full: &AtomicBool) -> bool {
        let now = Instant::now();
        let is_idle = self.calls.is_empty() && now >= self.limit;
        let Some(closing) = self.closing else {
            if is_idle || now >= self.old_from {
                self.close();
            }
            return false;
        };
        // The end of an answer may still be on its way. A call that is served is answered. Others have had their time: their
        // messages do not come, or they are streams.
        let is_waited_for = !is_idle && now < closing + self.timeouts.grace;
        !is_full.load(Ordering::Relaxed) && !self.open.is_busy() && !is_waited_for
    }

    /// Whether the client still sends new calls a while after it was told to close. They are refused, and the client may send them
    /// elsewhere.
    fn refuses_calls(&self) -> bool {
        self.closing.is_some_and(|moment| moment + self.timeouts.linger < Instant::now())
    }

    fn note_end(&mut self, ended: Ended) {
        match ended {
            Ended::Answered => self.resets = 0,
            Ended::Cancelled => self.resets += 1,
        }
        let wait = if self.closing.is_some() { self.timeouts.linger } else { self.timeouts.idle };
        self.limit = Instant::now() + wait;
    }

    /// Tells the client to send no more calls (GOAWAY). Calls that are already on their way are answered.
    fn close(&mut self) {
        let now = Instant::now();
        self.closing = Some(now);
        self.limit = now + self.timeouts.linger;
        self.connection.graceful_shutdown();
    }

    /// Ends the connection with a reason.
    async fn hang_up(mut self, reason: Reason) -> Result<(), h2::Error> {
        self.calls.shutdown().await;
        self.connection.abrupt_shutdown(reason);
        let closed = poll_fn(|context| self.connection.poll_closed(context));
        timeout(self.timeouts.linger, closed).await.unwrap_or(Ok(()))
    }
}
