//! Hides a client's offers to change to another protocol, such as `Upgrade: h2c` (RFC 9110, section 7.8). Java's default client
//! makes one with each request. actix-http treats an offer as accepted: it answers `connection: upgrade`, and closes the
//! connection silently. With `Upgrade: websocket` it takes everything that follows for the body.
//!
//! [`UpgradeFilter`] reads from the socket for actix-http and overwrites the offer in the request's head. It adds and removes no
//! byte. To find the next head it must follow the lengths of bodies. It does this only on a connection whose first request has an
//! offer, and only while the lengths are certain. On all other connections it looks at the first head and no further. The answer
//! to a later offer has `connection: close`.
//!
//! It also tells HTTP/2 from HTTP/1.1 by the first bytes, and discards an answer to a client that has sent nothing.

use std::future::{poll_fn, Future};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::{pin, Pin};
use std::task::{ready, Context, Poll};

use actix_web::http::ConnectionType;
use actix_web::HttpRequest;
use bytes::{Buf, BytesMut};
use httparse::Status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The first bytes of an HTTP/2 client (RFC 9113, section 3.4). No HTTP/1.1 request begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most headers and the largest head that actix-http accepts.
const HEADERS_MAX: usize = 96;
const HEAD_BYTES_MAX: usize = 128 << 10;
/// The bytes that are read at once, if the buffer has less room than the minimum.
const READ_BYTES: usize = 8 << 10;
const READ_BYTES_MIN: usize = 1 << 10;
/// An unused header name that is as long as `Upgrade`.
const HIDDEN_NAME: &[u8; 7] = b"X-Offer";

/// A connection that actix-http reads without offers.
pub(crate) struct UpgradeFilter<T> {
    stream: T,
    /// Bytes that were read from the stream and not handed on yet.
    buffer: BytesMut,
    next: Next,
}

/// The kind of the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The connection's first head.
    FirstHead,
    /// The head of a later request on a followed connection.
    LaterHead,
    /// The given number of bytes of a request on a followed connection.
    Request(u64),
    /// Bytes that are handed on unchanged until the connection ends.
    Anything,
}

impl<T> UpgradeFilter<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self { stream, buffer: BytesMut::new(), next: Next::FirstHead }
    }

    /// Copies buffered bytes into `buf`, at most `most` of them. Returns their number.
    fn copy_buffered(&mut self, most: u64, buf: &mut ReadBuf<'_>) -> u64 {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let count = self.buffer.len().min(buf.remaining()).min(most);
        buf.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        count as u64
    }
}

impl<T: AsyncRead + Unpin> UpgradeFilter<T> {
    /// Whether the client begins with HTTP/2. Reads only as many bytes as it needs to decide.
    ///
    /// # Errors
    /// Those of the connection.
    pub(crate) async fn begins_http2(&mut self) -> io::Result<bool> {
        loop {
            let known = self.buffer.len().min(PREFACE.len());
            if self.buffer[..known] != PREFACE[..known] {
                return Ok(false);
            }
            if known == PREFACE.len() {
                self.next = Next::Anything;
                return Ok(true);
            }
            if !poll_fn(|cx| self.poll_more(cx)).await? {
                return Ok(false);
            }
        }
    }

    /// Reads more bytes into the buffer. False at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
            self.buffer.reserve(READ_BYTES);
        }
        let read = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
        read.map_ok(|count| count > 0)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for UpgradeFilter<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.next {
                Next::Anything if this.buffer.is_empty() => return Pin::new(&mut this.stream).poll_read(cx, buf),
                Next::Anything => {
                    this.copy_buffered(u64::MAX, buf);
                    if this.buffer.is_empty() {
                        // The buffer is not needed again.
                        this.buffer = BytesMut::new();
                    }
                    return Poll::Ready(Ok(()));
                }
                Next::Request(0) => this.next = Next::LaterHead,
                Next::Request(left) => {
                    if this.buffer.is_empty() && !ready!(this.poll_more(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                    this.next = Next::Request(left - this.copy_buffered(left, buf));
                    return Poll::Ready(Ok(()));
                }
                Next::FirstHead | Next::LaterHead => match hide_offers(&mut this.buffer) {
                    Head::Partial if ready!(this.poll_more(cx))? => {}
                    Head::Partial | Head::Unknown => this.next = Next::Anything,
                    Head::Whole { had_offer: false, .. } if this.next == Next::FirstHead => this.next = Next::Anything,
                    Head::Whole { bytes, .. } => this.next = Next::Request(bytes),
                },
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for UpgradeFilter<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.next == Next::FirstHead && self.buffer.is_empty() {
            // This is actix-http's 408 to a client that has sent nothing, such as a pool that keeps a connection ready. The
            // client would take it for the answer to its next request.
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // Only HTTP/2 uses vectored writes.
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether the request has an offer that actix-http treats as accepted. It then closes the connection, and the answer must say
/// so.
pub(in crate::transport) fn ends_connection(request: &HttpRequest) -> bool {
    request.head().connection_type() == ConnectionType::Upgrade
}

/// The result of looking for a head at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// The beginning of a head.
    Partial,
    /// A whole head. `bytes` is the length of the request, its body included.
    Whole { bytes: u64, had_offer: bool },
    /// No head, or a request whose length is not certain.
    Unknown,
}

/// Overwrites the offers in the head at the beginning of these bytes.
fn hide_offers(bytes: &mut [u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Head::Partial,
        Ok(Status::Partial) | Err(_) => return Head::Unknown,
    };
    let start = bytes.as_ptr() as usize;
    let place = |part: &[u8]| part.as_ptr() as usize - start..part.as_ptr() as usize - start + part.len();
    let names: Vec<Range<usize>> = named(request.headers, "upgrade").map(|header| place(header.name.as_bytes())).collect();
    let connection = named(request.headers, "connection").flat_map(|header| header.value.split(|&byte| byte == b','));
    let tokens = connection.map(<[u8]>::trim_ascii).filter(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let tokens: Vec<Range<usize>> = tokens.map(place).collect();
    let body = if request.method == Some("CONNECT") { None } else { body_bytes(request.headers) };

    let had_offer = !(names.is_empty() && tokens.is_empty());
    names.into_iter().for_each(|name| bytes[name].copy_from_slice(HIDDEN_NAME));
    tokens.into_iter().for_each(|token| bytes[token].fill(b' '));
    match body.and_then(|body| body.checked_add(head as u64)) {
        Some(bytes) => Head::Whole { bytes, had_offer },
        None => Head::Unknown,
    }
}

/// The length of the body that a head states; `None` if actix-http may read it otherwise, or refuse it.
fn body_bytes(headers: &[httparse::Header<'_>]) -> Option<u64> {
    if named(headers, "transfer-encoding").next().is_some() {
        return None;
    }
    let mut lengths = named(headers, "content-length");
    let Some(length) = lengths.next() else { return Some(0) };
    let digits = length.value.trim_ascii();
    let is_number = digits.iter().all(u8::is_ascii_digit) && lengths.next().is_none();
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn named<'a, 'b>(headers: &'a [httparse::Header<'b>], name: &'static str) -> impl Iterator<Item = &'a httparse::Header<'b>> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text that actix-http reads when a client sends pieces of this size.
    fn read(sent: &str, piece: usize) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(piece);
            let sent = sent.as_bytes().to_vec();
            let sending = async move { tokio::io::AsyncWriteExt::write_all(&mut client, &sent).await };
            let mut read = String::new();
            let mut offers = UpgradeFilter::new(server);
            let (sent, received) = futures::future::join(sending, offers.read_to_string(&mut read)).await;
            sent.and(received).unwrap();
            read
        })
    }

    #[track_caller]
    fn check(sent: &str, expected: &str) {
        for piece in [1, 3, 16, 4096] {
            assert_eq!(read(sent, piece), expected, "in pieces of {piece}");
        }
    }

    const OFFER: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n";
    const PASSED: &str = "Connection:        , HTTP2-Settings\r\nX-Offer: h2c\r\nHTTP2-Settings: AAEA\r\n";

    #[test]
    fn an_offer_cannot_be_read_in_any_request_of_its_connection() {
        let requests = |offer: &str| {
            let body = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n";
            let length = body.len();
            let post = format!("POST / HTTP/1.1\r\nHost: a\r\n{offer}Content-Length: {length}\r\n\r\n{body}");
            format!("{post}GET / HTTP/1.1\r\nHost: a\r\n{offer}\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n{post}")
        };
        check(&requests(OFFER), &requests(PASSED));
    }

    #[test]
    fn every_way_to_write_an_offer_is_known() {
        let head = |offer: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{offer}\r\n");
        check(&head("upgrade:websocket\r\n"), &head("X-Offer:websocket\r\n"));
        check(&head("CONNECTION: keep-alive,UPGRADE\r\n"), &head("CONNECTION: keep-alive,       \r\n"));
        check(&head("Connection: x\r\nConnection: upgrade\r\n"), &head("Connection: x\r\nConnection:        \r\n"));
        check(&head("Connection: upgraded\r\n"), &head("Connection: upgraded\r\n"));
    }

    #[test]
    fn a_connection_without_an_offer_at_first_is_not_followed() {
        let both = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n{OFFER}\r\n");
        check(&both, &both);
    }

    #[test]
    fn what_follows_a_body_of_unsure_length_is_left_alone() {
        for length in
            ["Transfer-Encoding: chunked", "Content-Length: +1", "Content-Length: 1\r\nContent-Length: 1", "Content-Length: x"]
        {
            let requests = |offer: &str| {
                let first = format!("POST / HTTP/1.1\r\nHost: a\r\n{offer}{length}\r\n\r\n");
                format!("{first}GET / HTTP/1.1\r\nHost: a\r\n{OFFER}\r\n")
            };
            check(&requests(OFFER), &requests(PASSED));
        }
    }

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
            let mut offers = UpgradeFilter::new(server);
            let reading = async {
                let mut read = String::new();
                let is_http2 = offers.begins_http2().await?;
                offers.read_to_string(&mut read).await.map(|_| (is_http2, read == sent))
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

    #[test]
    fn what_is_no_head_comes_as_it_was_sent() {
        for sent in ["", "GET / HTT", "\0\0\0", "GET / HTTP/1.1\r\nUpgrade: h2c\r\n"] {
            check(sent, sent);
        }
    }
}
