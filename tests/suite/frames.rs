//! An HTTP/2 client that sends the frames that a test gives it, valid or not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take: longer than any request of these tests.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Kinds of frames, and flags (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Statuses as the first byte of an answer's head (RFC 7541, appendix A).
pub(crate) const OK: u8 = 0x88;
pub(crate) const NOT_FOUND: u8 = 0x8d;

/// The reasons for an end.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether it is the last of its request's answer.
    pub(crate) fn ends_answer(&self) -> bool {
        [DATA, HEADERS].contains(&self.kind) && self.flags & END_STREAM != 0
    }

    /// Why it ends a request or the connection.
    pub(crate) fn reason(&self) -> u32 {
        let last = self.payload[if self.kind == GOAWAY { 4..8 } else { 0..4 }].try_into();
        u32::from_be_bytes(last.expect("four bytes"))
    }
}

/// A connection that has begun. Dropped, it hangs up.
pub(crate) struct Frames {
    stream: TcpStream,
}

impl Frames {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("an open socket");
        stream.set_read_timeout(Some(ANSWER_WAIT)).expect("an open socket");
        let mut frames = Self { stream };
        frames.send(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()).expect("a greeting");
        frames
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives the next frame; answers those that ask to be.
    pub(crate) fn receive(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload)?;
        if [SETTINGS, PING].contains(&kind) && flags & ACK == 0 {
            // Nobody may be there any more.
            let _ = self.send(&frame(kind, ACK, 0, if kind == PING { &payload } else { &[] }));
        }
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Receives until there is a frame of that kind.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.receive().expect("a frame");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Receives until the connection ends.
    pub(crate) fn rest(mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.receive().ok()).collect()
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a POST, whose body follows. Nothing in it is longer than 126 bytes, so that each length is one byte.
pub(crate) fn post_head(stream: u32, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    let mut head = [&[0x83, 0x86, 0x44][..], &text(path), &[0x41], &text("localhost")].concat();
    for (name, value) in headers {
        head.extend([vec![0], text(name), text(value)].concat());
    }
    frame(HEADERS, END_HEADERS, stream, &head)
}

/// A whole POST.
pub(crate) fn post(stream: u32, path: &str, body: &str) -> Vec<u8> {
    [post_head(stream, path, &[]), frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

/// The request of that number; those of clients are odd.
pub(crate) fn numbers(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|i| 2 * i + 1)
}
