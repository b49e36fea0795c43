//! A connection as awc sees it: TCP or TLS, one request at a time, and of what comes back nothing but its answer.
//!
//! awc by itself takes an interim answer for the answer, drops what it has read behind a body, keeps connections whose server
//! does not, and takes the end of a connection for the end of a body. Each of these makes bytes of one answer pass for another
//! request's, or a part for the whole. So the bytes are followed here, by the rules of [`answer`]:
//!
//! - Interim answers are skipped, and awc is shown a head that is written anew.
//! - Nothing behind an answer's end is handed on. A connection on which anything came that was not asked for is spent, as is one
//!   whose server does not keep it: awc, which looks whether a connection has ended before it uses it again, finds an end there.
//! - Nothing is sent on a connection whose last answer was not read to its end, whatever awc does.
//! - A connection's end is an error, but where a body is to go on to there.
//!
//! One fault is left, as in every client that keeps connections: bytes that a server sends after awc has looked, and before the
//! server answers, are taken for the answer.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use actix_http::error::ParseError;
use actix_rt::net::{ActixStream, Ready, TcpStream};
use awc::error::SendRequestError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::answer::{self, Body, Head, Malformed};

/// The most bytes of the heads of one answer, interim ones included; browsers take no longer ones.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// How much of a head is read at a time.
const HEAD_STEP_BYTES: usize = 4096;

/// A request went unanswered: its connection ended before the first byte of an answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Whether the connection had been used before, so that its server may have closed it for that.
    pub(super) was_kept: bool,
}

impl Unanswered {
    pub(super) fn of(error: &SendRequestError) -> Option<&Self> {
        let (SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error))) = error else { return None };
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ended")
    }
}

impl std::error::Error for Unanswered {}

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
    /// The rest of the answer's body.
    body: Body,
    /// Whether the connection may be used again behind it.
    keeps: bool,
    /// Whether it has been used before.
    was_kept: bool,
}

#[derive(Debug)]
enum State {
    /// awc may send a request.
    Idle,
    /// A request was sent; heads of its answer are read.
    Heads(Heads),
    /// So many of these bytes have been handed on: the answer's head, and of its body what came with it.
    Deliver(Vec<u8>, usize),
    /// The rest of the body is read.
    Body,
    /// Nothing more is read or sent.
    Spent,
}

/// The heads of one answer, as far as they have come.
#[derive(Debug, Default)]
struct Heads {
    bytes: Vec<u8>,
    /// Of `bytes`, how many were looked at.
    searched: usize,
    /// Bytes of interim answers before them.
    skipped: usize,
}

impl Wire {
    pub(super) fn new(link: Link) -> Self {
        Self { link, state: State::Idle, body: Body::Length(0), keeps: false, was_kept: false }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let State::Heads(heads) = &mut self.state {
            let head = ready!(heads.poll(&mut self.link, context, self.was_kept))?;
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
                count => {
                    let followed = self.body.follow(&buffer.filled()[before..])?;
                    buffer.set_filled(before + followed);
                    self.keeps &= followed == count;
                    self.go_on();
                }
            },
            // Nobody asked for bytes that come now.
            State::Idle => {
                let _ = ready!(self.link.poll_some(context, buffer));
                buffer.set_filled(before);
                self.state = State::Spent;
            }
            State::Spent => {}
            State::Heads(_) => unreachable!("an answer has begun; this is a bug"),
        }
        Poll::Ready(Ok(()))
    }

    /// Begins to hand on an answer; these bytes came behind its head.
    fn begin(&mut self, mut head: Head, bytes: &[u8]) -> io::Result<()> {
        self.body = head.body.clone();
        let followed = self.body.follow(bytes)?;
        head.keeps &= followed == bytes.len();
        self.keeps = head.keeps;
        self.state = State::Deliver([&head.for_awc(), &bytes[..followed]].concat(), 0);
        Ok(())
    }

    /// Goes on behind bytes that were handed on.
    fn go_on(&mut self) {
        self.state = match self.body.is_whole() {
            false => State::Body,
            true if self.keeps => State::Idle,
            true => State::Spent,
        };
        self.was_kept = true;
    }

    fn tcp(&self) -> &TcpStream {
        match &self.link {
            Link::Tcp(tcp) => tcp,
            Link::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl Heads {
    /// Reads until the last head is whole; leaves the bytes behind it.
    fn poll(&mut self, link: &mut Link, context: &mut Context<'_>, was_kept: bool) -> Poll<io::Result<Head>> {
        loop {
            while let Some(end) = answer::head_end(&self.bytes, self.searched)? {
                let mut head = answer::read_head(&self.bytes[..end])?;
                self.bytes.drain(..end);
                self.searched = 0;
                if !head.is_interim() {
                    head.keeps &= self.skipped == 0;
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
                Ok(0) => return Poll::Ready(Err(unanswered(ErrorKind::UnexpectedEof, was_kept))),
                Err(error) => return Poll::Ready(Err(unanswered(error.kind(), was_kept))),
            }
        }
    }
}

fn unanswered(kind: ErrorKind, was_kept: bool) -> io::Error {
    io::Error::new(kind, Unanswered { was_kept })
}

impl Link {
    /// Reads what there is; gives how many bytes, none at the end.
    fn poll_some(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        ready!(match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len() - before))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_answer(context, buffer));
        if read.is_err() {
            self.state = State::Spent;
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { link, state, was_kept, .. } = &mut *self;
        match state {
            State::Idle => *state = State::Heads(Heads::default()),
            State::Heads(_) => {}
            State::Deliver(..) | State::Body | State::Spent => {
                return Poll::Ready(Err(unanswered(ErrorKind::NotConnected, *was_kept)))
            }
        }
        let written = match link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Link::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        };
        written.map_err(|error| unanswered(error.kind(), *was_kept))
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
#[path = "wire_tests.rs"]
mod tests;
