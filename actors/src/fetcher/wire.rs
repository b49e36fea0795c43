//! A connection as awc sees it: TCP or TLS, and two things that awc does not do by itself.
//!
//! - awc takes the end of a connection for the end of a body, also where more was announced. Here an end is an error
//!   ([`Ended`]), so that no body that broke off passes for a whole one.
//! - awc takes an HTTP/1.1 answer that states no length for an empty one, though its body goes on to the end of the connection
//!   (RFC 9112, 6.3). Such an answer is shown to awc as HTTP/1.0, whose bodies it reads that way.

use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// The longest head of an answer that is looked at, in bytes; browsers take no longer ones.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// How much of a head is read at a time.
const HEAD_STEP_BYTES: usize = 4096;

/// That a connection has come to its end.
#[derive(Debug)]
pub(super) struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ended")
    }
}

impl std::error::Error for Ended {}

impl Ended {
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// What the bytes travel over.
#[derive(Debug)]
pub(super) enum Link {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection. See the [module](self).
#[derive(Debug)]
pub(super) struct Wire {
    link: Link,
    state: State,
}

#[derive(Debug)]
enum State {
    /// An answer's head is still being read.
    Head(Vec<u8>),
    /// So many bytes of the head, and of what came with it, have been handed on.
    Deliver(Vec<u8>, usize),
    /// The rest of the answer.
    Body,
}

impl Wire {
    pub(super) fn new(link: Link) -> Self {
        Self { link, state: State::Head(Vec::new()) }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.link {
            Link::Tcp(tcp) => tcp,
            Link::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl Link {
    /// Reads what there is, at least a byte; an end is an error.
    fn poll_some(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        })?;
        let ended = buffer.filled().len() == before;
        Poll::Ready(if ended { Err(io::Error::new(ErrorKind::UnexpectedEof, Ended)) } else { Ok(()) })
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { link, state } = &mut *self;
        loop {
            match state {
                State::Body => return link.poll_some(context, buffer),
                State::Deliver(bytes, done) => {
                    let count = buffer.remaining().min(bytes.len() - *done);
                    buffer.put_slice(&bytes[*done..*done + count]);
                    *done += count;
                    if *done == bytes.len() {
                        *state = State::Body;
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Head(head) => {
                    let mut step = [0; HEAD_STEP_BYTES];
                    let mut step = ReadBuf::new(&mut step);
                    ready!(link.poll_some(context, &mut step))?;
                    let searched = head.len().saturating_sub(3);
                    head.extend_from_slice(step.filled());
                    let end = head[searched..].windows(4).position(|four| four == b"\r\n\r\n");
                    if let Some(end) = end {
                        show_as_unbounded(head, searched + end);
                    }
                    if end.is_some() || head.len() > HEAD_BYTES_MAX {
                        *state = State::Deliver(std::mem::take(head), 0);
                    }
                }
            }
        }
    }
}

/// Turns the head of an HTTP/1.1 answer whose body goes on to the end of the connection into one of HTTP/1.0.
fn show_as_unbounded(bytes: &mut [u8], end: usize) {
    let (head, _) = bytes.split_at_mut(end);
    let states_length = |line: &[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    if head.starts_with(b"HTTP/1.1 200") && !head.split(|&byte| byte == b'\n').any(states_length) {
        head[7] = b'0';
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What is written is a request; what is read next is the head of its answer.
        if let State::Body = self.state {
            self.state = State::Head(Vec::new());
        }
        match &mut self.link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Link::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Link::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Link::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

impl ActixStream for Wire {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.tcp(), context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.tcp(), context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_without_a_length_is_shown_as_unbounded() {
        for (head, expect) in [
            ("HTTP/1.1 200 OK\r\nA: b", "HTTP/1.0 200 OK\r\nA: b"),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: x\r\nX: Content-Length: 3",
                "HTTP/1.0 200 OK\r\nContent-Type: x\r\nX: Content-Length: 3",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-LENGTH : 3", "HTTP/1.1 200 OK\r\ncontent-LENGTH : 3"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"),
            ("HTTP/1.1 404 Not Found\r\nA: b", "HTTP/1.1 404 Not Found\r\nA: b"),
            ("HTTP/1.0 200 OK\r\nA: b", "HTTP/1.0 200 OK\r\nA: b"),
        ] {
            let mut bytes = format!("{head}\r\n\r\ncontent-length: 3\r\n").into_bytes();
            show_as_unbounded(&mut bytes, head.len());
            assert_eq!(String::from_utf8_lossy(&bytes), format!("{expect}\r\n\r\ncontent-length: 3\r\n"));
        }
    }
}
