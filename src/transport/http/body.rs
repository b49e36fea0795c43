//! Reads the body of a request, within its limit of bytes, the request's time, the least rate, and the memory of all requests.
//! Inflates a compressed body.

use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{HeaderMap, CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::http::StatusCode;
use actix_web::{web, HttpMessage, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures::future::poll_immediate;
use futures::StreamExt;
use tfweb_engine::{quoted, Code, Error};
use tfweb_limits::{Deadline, Encoding, Holding, InflateError, Inflater, Ledger, Share, Stage};
use tokio::time::timeout_at;

use super::pace::Pace;
use crate::transport::body_limits::{no_room, BodyLimits, SMALL_BYTES};
use crate::transport::elsewhere::elsewhere;

/// How long a client may send nothing of its body.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The least rate at which a client must send a body. The slowest mobile networks are four times as fast.
const BYTES_PER_SECOND: u32 = 4 << 10;
/// The most bytes to which a body is inflated on the listener's thread. A larger one goes to another thread, so that other
/// requests need not wait.
const INFLATE_INLINE_BYTES_MAX: usize = 32 << 10;
/// The compressed bytes that are inflated at once. They become at most a thousand times as many.
const INFLATE_STEP_BYTES: usize = 128;

/// The encodings that a body may have, for the header `Accept-Encoding`.
pub(super) const ENCODINGS: &str = "gzip, deflate, identity";

/// The status of a refused body, where the error's code does not tell it. It stands in the request's extensions.
pub(super) struct Refused(pub(super) StatusCode);

/// Reads the body of a request. It counts into the memory of all requests for as long as somebody holds its bytes.
///
/// # Errors
/// `OutOfRange` over the limit; `Unavailable` without room; `DeadlineExceeded`, also for a client that sends too slowly;
/// `InvalidArgument` for a damaged body or an unknown encoding; `Cancelled` where the client stopped sending.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &BodyLimits,
    deadline: Deadline,
) -> Result<Bytes, Error> {
    let headers = request.headers();
    let refused = |status| {
        request.extensions_mut().insert(Refused(status));
    };
    let encoding = encoding_of(headers).inspect_err(|_| refused(StatusCode::UNSUPPORTED_MEDIA_TYPE))?;
    let declared: usize = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    if declared > limits.body_bytes_max {
        return Err(too_large(&format!("{declared} bytes"), limits.body_bytes_max));
    }
    let arriving = Arriving { payload, declared, max: limits.body_bytes_max, ledger: &limits.ledger, share: None };
    let (bytes, share) = arriving.collect(deadline).await.inspect_err(|error| {
        if error.code == Code::DeadlineExceeded && !deadline.has_passed(std::time::Instant::now()) {
            refused(StatusCode::REQUEST_TIMEOUT);
        }
    })?;
    if encoding == Encoding::Identity {
        return Ok(counted(bytes, share));
    }
    let inflating = Inflating::new(encoding, bytes, share, limits);
    inflating.finish(deadline).await
}

/// A body that arrives.
struct Arriving<'a> {
    payload: web::Payload,
    declared: usize,
    max: usize,
    ledger: &'a Arc<Ledger>,
    share: Option<Share>,
}

impl Arriving<'_> {
    async fn collect(mut self, deadline: Deadline) -> Result<(Bytes, Option<Share>), Error> {
        let mut bytes = BytesMut::new();
        let mut first = Bytes::new();
        let mut pace = None;
        while let Some(chunk) = self.next_chunk(&mut pace, deadline).await? {
            let total = first.len() + bytes.len() + chunk.len();
            if total > self.max {
                return Err(too_large("more", self.max));
            }
            // Most bodies are one chunk, and need no copy. Only several chunks are copied together.
            if first.is_empty() && bytes.is_empty() {
                self.grow(total)?;
                first = chunk;
                continue;
            }
            if total > bytes.capacity() {
                // Memory grows with what arrives, whatever the client declares.
                let room = total.max(2 * bytes.capacity()).min(self.max).min(self.declared.max(total));
                self.grow(room)?;
                bytes.reserve(room - bytes.len());
            }
            bytes.extend_from_slice(&std::mem::take(&mut first));
            bytes.extend_from_slice(&chunk);
        }
        Ok((if bytes.is_empty() { first } else { bytes.freeze() }, self.share))
    }

    /// Waits for the next bytes. The pace begins where the client first keeps the server waiting: most bodies are there already, and
    /// need neither clock nor timer.
    async fn next_chunk(&mut self, pace: &mut Option<Pace>, deadline: Deadline) -> Result<Option<Bytes>, Error> {
        let chunk = match poll_immediate(self.payload.next()).await {
            Some(chunk) => chunk,
            None => {
                let pace = pace.get_or_insert_with(|| Pace::new(PAUSE_MAX, BYTES_PER_SECOND));
                let until = pace.end().min(deadline.instant().into());
                let Ok(chunk) = timeout_at(until, self.payload.next()).await else {
                    return Err(if until < pace.end() { Deadline::passed(Stage::ReadBody) } else { too_slow() });
                };
                chunk
            }
        };
        let chunk = chunk.transpose().map_err(broken)?;
        if let (Some(pace), Some(chunk)) = (pace, &chunk) {
            pace.moved(chunk.len());
        }
        Ok(chunk)
    }

    /// Makes the share one of `bytes` bytes.
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        grow(&mut self.share, self.ledger, bytes)
    }
}

/// A body that is inflated step by step. Every step counts before the next one is made.
struct Inflating {
    inflater: Inflater,
    compressed: Bytes,
    share: Option<Share>,
    /// The share of the compressed bytes.
    _compressed: Option<Share>,
    max: usize,
    ledger: Arc<Ledger>,
}

impl Inflating {
    fn new(encoding: Encoding, compressed: Bytes, share: Option<Share>, limits: &BodyLimits) -> Self {
        let (max, ledger) = (limits.body_bytes_max, Arc::clone(&limits.ledger));
        Self { inflater: Inflater::new(encoding, max, 0), compressed, share: None, _compressed: share, max, ledger }
    }

    /// Inflates all of it: here while it is small, and then on another thread.
    async fn finish(mut self, deadline: Deadline) -> Result<Bytes, Error> {
        self.run(INFLATE_INLINE_BYTES_MAX)?;
        if self.compressed.is_empty() {
            return self.end();
        }
        elsewhere(deadline, Stage::DecodeBody, move || {
            self.run(usize::MAX)?;
            self.end()
        })
        .await
    }

    /// Inflates until there are more than `most` bytes.
    fn run(&mut self, most: usize) -> Result<(), Error> {
        while !self.compressed.is_empty() && self.inflater.inflated_bytes() <= most {
            let step = self.compressed.split_to(self.compressed.len().min(INFLATE_STEP_BYTES));
            self.inflater.push(&step).map_err(|error| inflate_error(error, self.max))?;
            // A vector that grows has room for twice its bytes.
            grow(&mut self.share, &self.ledger, 2 * self.inflater.inflated_bytes())?;
        }
        Ok(())
    }

    fn end(self) -> Result<Bytes, Error> {
        let Self { inflater, mut share, ledger, max, .. } = self;
        let mut bytes = inflater.finish().map_err(|error| inflate_error(error, max))?;
        grow(&mut share, &ledger, bytes.capacity())?;
        bytes.shrink_to_fit();
        if let Some(share) = &mut share {
            share.shrink_to(bytes.len());
        }
        Ok(counted(bytes.into(), share))
    }
}

/// Makes a share one of at least `bytes` bytes. A few bytes are covered by the request's own share.
fn grow(share: &mut Option<Share>, ledger: &Arc<Ledger>, bytes: usize) -> Result<(), Error> {
    if bytes <= SMALL_BYTES {
        return Ok(());
    }
    let share = share.get_or_insert_with(|| ledger.empty(Holding::Received));
    share.grow(bytes.saturating_sub(share.bytes())).map_err(no_room)
}

/// Bytes that bring their share along.
fn counted(bytes: Bytes, share: Option<Share>) -> Bytes {
    struct Counted(Bytes, #[allow(dead_code, reason = "it is held")] Share);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    match share {
        None => bytes,
        Some(share) => Bytes::from_owner(Counted(bytes, share)),
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Error> {
    let name = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("unreadable"));
    Encoding::named(name)
        .ok_or_else(|| Error::invalid(format!("Content-Encoding: expected gzip, deflate or identity, got {}", quoted(name))))
}

fn inflate_error(error: InflateError, max: usize) -> Error {
    match error {
        InflateError::TooLarge => too_large("more when inflated", max),
        InflateError::Damaged(what) => Error::invalid(format!("the body cannot be inflated: {what}")),
    }
}

fn too_large(came: &str, max: usize) -> Error {
    Error::new(Code::OutOfRange, format!("the body is too large: expected at most {max} bytes, got {came}; raise --request_size"))
}

fn too_slow() -> Error {
    let (rate, pause) = (BYTES_PER_SECOND, PAUSE_MAX.as_secs());
    let text = format!("the body comes too slowly: expected {rate} bytes a second, and no pause of more than {pause} s");
    Error::new(Code::DeadlineExceeded, text)
}

fn broken(error: PayloadError) -> Error {
    if matches!(error, PayloadError::Incomplete(_)) {
        return Error::new(Code::Cancelled, "the body ended early");
    }
    Error::invalid(format!("the body cannot be read: {error}"))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
