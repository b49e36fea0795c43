//! Refuses a message by the length in its prefix, before tonic allocates memory for it. The refusal is RESOURCE_EXHAUSTED, as
//! from other gRPC servers. tonic has the same limit, but answers OUT_OF_RANGE.

use std::pin::Pin;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::Status;

/// The prefix of a message: one byte that says whether it is compressed, and four bytes with its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// A service with a limit for its messages.
#[derive(Clone)]
pub(super) struct MessageLimit<S> {
    service: S,
    bytes_max: usize,
    /// The end of the refusal's text, such as the flag that raises the limit.
    hint: &'static str,
}

impl<S> MessageLimit<S> {
    pub(super) fn new(service: S, bytes_max: usize, hint: &'static str) -> Self {
        Self { service, bytes_max, hint }
    }
}

impl<S: NamedService> NamedService for MessageLimit<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for MessageLimit<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (bytes_max, hint) = (self.bytes_max, self.hint);
        let limited = |body| Body::new(Messages { body, bytes_max, hint, prefix: Vec::new(), left: 0 });
        self.service.call(request.map(limited))
    }
}

/// The messages of a request as they arrive.
struct Messages {
    body: Body,
    bytes_max: usize,
    hint: &'static str,
    /// The bytes of the next prefix so far.
    prefix: Vec<u8>,
    /// The missing bytes of the current message.
    left: usize,
}

impl Messages {
    /// Follows the prefixes through the next piece.
    fn follow(&mut self, mut piece: &[u8]) -> Result<(), Status> {
        loop {
            let within = self.left.min(piece.len());
            piece = &piece[within..];
            self.left -= within;
            if piece.is_empty() {
                return Ok(());
            }
            let missing = (PREFIX_BYTES - self.prefix.len()).min(piece.len());
            self.prefix.extend_from_slice(&piece[..missing]);
            piece = &piece[missing..];
            if self.prefix.len() == PREFIX_BYTES {
                self.left = (&self.prefix[1..]).get_u32() as usize;
                self.prefix.clear();
            }
            if self.left > self.bytes_max {
                return Err(too_large(self.bytes_max, &format!("{} bytes{}", self.left, self.hint)));
            }
        }
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()?;
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            self.follow(data)?;
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The refusal of a message over the limit.
pub(super) fn too_large(bytes_max: usize, got: &str) -> Status {
    Status::resource_exhausted(format!("the message is too large: expected at most {bytes_max} bytes, got {got}"))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Follows messages of these lengths, in pieces of `size` bytes.
    fn follow(lengths: &[u32], size: usize) -> Result<(), Status> {
        let mut messages = Messages { body: Body::empty(), bytes_max: 100, hint: "; hint", prefix: Vec::new(), left: 0 };
        let message = |&length: &u32| [&[0][..], &length.to_be_bytes(), &vec![7; length as usize]].concat();
        let bytes: Vec<u8> = lengths.iter().flat_map(message).collect();
        bytes.chunks(size).try_for_each(|piece| messages.follow(piece))
    }

    #[test]
    fn every_message_of_a_stream_has_the_limit() {
        for size in [1, 3, 5, 64, 1000] {
            assert!(follow(&[0, 100, 0, 0, 99, 1], size).is_ok(), "in pieces of {size}");
            let refused = follow(&[0, 100, 101], size).unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted);
            assert_eq!(refused.message(), "the message is too large: expected at most 100 bytes, got 101 bytes; hint");
        }
    }
}
