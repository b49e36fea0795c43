//! A connection to an origin as awc sees it: TCP or TLS, for one request and its answer.
//!
//! A connection is used once. Bytes that a server sends late would be taken for the answer to the next request, and no client can
//! tell them apart. So an [`OriginConnection`] takes one request and gives one answer. After that it reads as ended and refuses to
//! send, whatever awc does.
//!
//! awc by itself takes an interim answer for the final one, and the end of the connection for the end of the body, so that a part
//! of a body passes for the whole. So this file follows the bytes, by the rules of [`answer`]:
//!
//! - It skips interim answers, and gives awc a head that is written anew.
//! - It hands on no byte behind the end of the answer.
//! - It makes the end of the connection an error, unless the body ends with the connection.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::answer::{self, Body, Head};
use super::malformed::Malformed;

/// The most bytes of the heads of one answer, with those of interim answers. Browsers accept no more.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// How many bytes of a head are read at a time.
const HEAD_STEP_BYTES: usize = 4096;

/// The transport of the bytes.
#[derive(Debug)]
pub(super) enum Link {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to an origin. See the [module](self).
#[derive(Debug)]
pub(super) struct OriginConnection {
    link: Link,
    state: State,
    /// The rest of the answer's body.
    body: Body,
}

#[derive(Debug)]
enum State {
    /// awc sends its request, and the heads of the answer are read.
    Heads(Heads),
    /// The head for awc, and the bytes of the body that came with it, are handed on. The number tells how many bytes awc has.
    Deliver(Vec<u8>, usize),
    /// The rest of the body is read.
    Body,
    /// Nothing more is read or sent.
    Spent,
}

/// The heads of one answer, of which some bytes have come.
#[derive(Debug, Default)]
struct Heads {
    bytes: Vec<u8>,
    /// How many of `bytes` have been searched for the end of a head.
    searched: usize,
    /// How many bytes the interim answers before had.
    skipped: usize,
}

impl OriginConnection {
    pub(super) fn new(link: Link) -> Self {
        Self { link, state: State::Heads(Heads::default()), body: Body::Length(0) }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let State::Heads(heads) = &mut self.state {
            let head = ready!(heads.poll(&mut self.link, context))?;
            let behind = std::mem::take(&mut heads.bytes);
            self.begin(head, &behind)?;
        }
        match &mut self.state {
            State::Deliver(bytes, done) => {
                let count = buffer.remaining().min(bytes.len() - *done);
                buffer.put_slice(&bytes[*done..*done + count]);
                *done += count;
                if *done == bytes.len() {
                    self.go_on();
                }
            }
            State::Body => match ready!(self.link.poll_some(context, buffer))? {
                0 if self.body == Body::ToEnd => self.state = State::Spent,
                0 => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                _ => {
                    let followed = self.body.follow(&buffer.filled()[before..])?;
                    buffer.set_filled(before + followed);
                    self.go_on();
                }
            },
            State::Spent => {}
            State::Heads(_) => unreachable!("an answer has begun; this is a bug"),
        }
        Poll::Ready(Ok(()))
    }

    /// Begins to hand on an answer. `bytes` came behind its head.
    fn begin(&mut self, head: Head, bytes: &[u8]) -> io::Result<()> {
        let shown = head.for_awc();
        self.body = head.body;
        let followed = self.body.follow(bytes)?;
        self.state = State::Deliver([&shown, &bytes[..followed]].concat(), 0);
        Ok(())
    }

    /// Chooses the state after bytes of the body were handed on.
    fn go_on(&mut self) {
        self.state = if self.body.is_whole() { State::Spent } else { State::Body };
    }

    fn tcp(&self) -> &TcpStream {
        match &self.link {
            Link::Tcp(tcp) => tcp,
            Link::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl Heads {
    /// Reads until the final head is whole. Leaves the bytes behind it in `bytes`.
    fn poll(&mut self, link: &mut Link, context: &mut Context<'_>) -> Poll<io::Result<Head>> {
        loop {
            while let Some(end) = answer::head_end(&self.bytes, self.searched)? {
                let head = answer::read_head(&self.bytes[..end])?;
                self.bytes.drain(..end);
                self.searched = 0;
                if !head.is_interim() {
                    return Poll::Ready(Ok(head));
                }
                self.skipped += end;
            }
            self.searched = self.bytes.len();
            if self.skipped + self.searched > HEAD_BYTES_MAX {
                return Poll::Ready(Err(Malformed::new(format!("its head is longer than {HEAD_BYTES_MAX} bytes")).into()));
            }
            let mut step = [MaybeUninit::uninit(); HEAD_STEP_BYTES];
            let mut step = ReadBuf::uninit(&mut step);
            match ready!(link.poll_some(context, &mut step)) {
                Ok(1..) => self.bytes.extend_from_slice(step.filled()),
                _ if self.skipped + self.searched > 0 => {
                    return Poll::Ready(Err(Malformed::new("the connection ended within its head").into()));
                }
                Ok(0) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Link {
    /// Reads the bytes that have arrived. Gives how many; 0 at the end of the connection.
    fn poll_some(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        ready!(match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len() - before))
    }
}

impl AsyncRead for OriginConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_answer(context, buffer));
        if read.is_err() {
            self.state = State::Spent;
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for OriginConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !matches!(self.state, State::Heads(_)) {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
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

impl ActixStream for OriginConnection {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.tcp(), context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.tcp(), context)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
