//! A connection as both versions of HTTP read and write it. It tells HTTP/2 from HTTP/1.1 by the first bytes, and fails if the
//! client does not take the bytes that are written to it.

use std::future::{poll_fn, Future};
use std::io::{self, IoSlice};
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{sleep_until, Sleep};

use super::activity::Activity;
use super::timeouts::{Timeouts, ANSWER_BYTES_PER_SECOND};
use crate::transport::http::pace::Pace;

/// The first bytes of an HTTP/2 client (RFC 9113, section 3.4). No HTTP/1.1 request begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most bytes of pieces that are written as one.
const TOGETHER_BYTES_MAX: usize = 1024;

/// A connection that fails when its client is too slow to read.
pub(super) struct ClientStream<T> {
    io: T,
    /// Bytes that were read to tell the version, and are not handed on yet.
    read_ahead: BytesMut,
    stall: Duration,
    stop_stall: Duration,
    /// Runs from a write that the system refused until all bytes are written.
    timer: Option<Pin<Box<Timer>>>,
    activity: Rc<Activity>,
}

struct Timer {
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
}

impl<T> ClientStream<T> {
    pub(super) fn new(io: T, timeouts: &Timeouts, activity: Rc<Activity>) -> Self {
        let Timeouts { stall, stop_stall, .. } = *timeouts;
        Self { io, read_ahead: BytesMut::new(), stall, stop_stall, timer: None, activity }
    }

    pub(super) fn activity(&self) -> &Rc<Activity> {
        &self.activity
    }

    /// Passes on the result of a write, and fails a write for which the client has taken too little for too long.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>, bytes: impl Fn(&R) -> usize) -> Poll<io::Result<R>> {
        if let Poll::Ready(result) = written {
            if let (Some(timer), Ok(done)) = (&mut self.timer, &result) {
                timer.pace.moved(bytes(done));
            }
            return Poll::Ready(result);
        }
        self.activity.set_full(true);
        let stall = self.stall;
        let timer = self.timer.get_or_insert_with(|| {
            let pace = Pace::new(stall, ANSWER_BYTES_PER_SECOND);
            Box::pin(Timer { sleep: Box::pin(sleep_until(pace.end())), pace })
        });
        if self.activity.is_stopping() {
            timer.pace.shorten(self.stop_stall);
        }
        if timer.sleep.deadline() != timer.pace.end() {
            let end = timer.pace.end();
            timer.sleep.as_mut().reset(end);
        }
        ready!(timer.sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")))
    }
}

impl<T: AsyncRead + Unpin> ClientStream<T> {
    /// Whether the client begins with HTTP/2. Reads only as many bytes as it needs to decide.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        loop {
            let known = self.read_ahead.len().min(PREFACE.len());
            if self.read_ahead[..known] != PREFACE[..known] {
                return Ok(false);
            }
            if known == PREFACE.len() {
                return Ok(true);
            }
            let (io, read_ahead) = (&mut self.io, &mut self.read_ahead);
            if poll_fn(|cx| pin!(io.read_buf(read_ahead)).poll(cx)).await? == 0 {
                return Ok(false);
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ClientStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.read_ahead.len().min(buf.remaining());
        buf.put_slice(&self.read_ahead[..count]);
        self.read_ahead.advance(count);
        if self.read_ahead.is_empty() {
            // The buffer is not needed again.
            self.read_ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ClientStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, written, |&bytes| bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // The system takes one short piece more quickly than two.
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if total <= TOGETHER_BYTES_MAX {
            let (mut together, mut end) = ([0; TOGETHER_BYTES_MAX], 0);
            for piece in pieces {
                together[end..end + piece.len()].copy_from_slice(piece);
                end += piece.len();
            }
            return self.poll_write(cx, &together[..end]);
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.watch(cx, written, |&bytes| bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.timer = None;
            self.activity.set_full(false);
        }
        self.watch(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(cx, shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = {
        let [short, long] = [Duration::from_secs(5), Duration::from_secs(60)];
        Timeouts { head: long, keep_alive: long, stall: long, stop_stall: short, linger: long, age: long }
    };

    /// Returns whether a client that sends pieces of this size begins with HTTP/2, and whether all its bytes can still be read.
    fn begins_http2(sent: &str, piece: usize) -> (bool, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(piece);
            let sending = async {
                let sent = tokio::io::AsyncWriteExt::write_all(&mut client, sent.as_bytes()).await;
                drop(client);
                sent
            };
            let mut stream = ClientStream::new(server, &TIMEOUTS, Activity::new());
            let reading = async {
                let mut read = String::new();
                let is_http2 = stream.begins_http2().await?;
                stream.read_to_string(&mut read).await.map(|_| (is_http2, read == sent))
            };
            let (done, read) = futures::future::join(sending, reading).await;
            done.and(read).unwrap()
        })
    }

    #[test]
    fn http2_is_told_by_its_first_bytes_which_can_be_read_after_it() {
        for piece in [1, 3, 16, 4096] {
            assert_eq!(begins_http2("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", piece), (true, true), "in pieces of {piece}");
            for sent in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n"] {
                assert_eq!(begins_http2(sent, piece), (false, true), "{sent:?} in pieces of {piece}");
            }
        }
    }

    /// Writes to a client that takes `bytes` each second. Returns after how many seconds it is given up, of at most 1,000.
    async fn lasts(bytes: usize, is_stopping: bool) -> u64 {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let activity = Activity::new();
        if is_stopping {
            activity.set_stopping();
        }
        let begun = tokio::time::Instant::now();
        let mut stream = ClientStream::new(server, &TIMEOUTS, activity);
        let writing = async {
            let answer = vec![0; 1 << 30];
            let written = tokio::io::AsyncWriteExt::write_all(&mut stream, &answer).await;
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        };
        let reading = async {
            let mut taken = vec![0; bytes];
            for _ in 0..1000 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                client.read_exact(&mut taken).await.unwrap();
            }
        };
        futures::future::select(pin!(writing), pin!(reading)).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_too_slowly_is_given_up() {
        let (slow, quick) = (ANSWER_BYTES_PER_SECOND as usize / 2, ANSWER_BYTES_PER_SECOND as usize);
        assert_eq!((lasts(0, false).await, lasts(0, true).await), (60, 5));
        assert!((100..=130).contains(&lasts(slow, false).await) && (9..=12).contains(&lasts(slow, true).await));
        assert_eq!((lasts(quick, false).await, lasts(quick, true).await), (1000, 1000));
    }
}
