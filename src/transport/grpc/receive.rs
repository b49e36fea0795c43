//! Receives the one message of a call. Counts the bytes into the memory of all requests as they arrive, and ends when the call's
//! time is over. A compressed message is inflated when all of it has arrived: an inflater takes thousands of times the memory of
//! a first byte.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use tfweb_limits::{Deadline, Encoding, Holding, InflateError, Inflater, Ledger, Share, Stage};
use tokio::time::timeout_at;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;
use tonic::Status;

use super::call::refusal;
use super::counted::counted;
use crate::transport::body_limits::no_room;

/// The headers of gRPC over HTTP/2.
const TIMEOUT: &str = "grpc-timeout";
const ENCODING: &str = "grpc-encoding";
/// The most digits of a time-out in a header (gRPC over HTTP/2, `TimeoutValue`).
const TIMEOUT_DIGITS_MAX: usize = 8;
/// The prefix of a message: one byte that says whether it is compressed, and four bytes with its length.
pub(super) const PREFIX_BYTES: usize = 5;
/// Memory for all of a message is made when this part of it has arrived. Until then it doubles.
const ARRIVED_PART: usize = 8;
/// The memory of an inflater beside what it inflates: the window of zlib, its tables and its buffer.
const INFLATER_BYTES: usize = 80 << 10;
/// The compressed bytes that are inflated at once. They become at most a thousand times as many.
const INFLATE_STEP_BYTES: usize = 128;
/// How many bytes one call inflates before other calls of its thread have their turn.
const INFLATE_TURN_BYTES: usize = 1 << 20;
/// The most time between two pieces of a message.
const PIECE_WAIT: Duration = Duration::from_secs(10);

/// The limits of a message.
#[derive(Clone, Copy)]
pub(super) struct MessageLimit {
    pub(super) bytes_max: usize,
    /// The end of a refusal's text, such as the flag that raises the limit.
    pub(super) hint: &'static str,
}

/// Reads the time that a caller gives from its header: digits and a unit.
pub(super) fn asked_time(headers: &HeaderMap) -> Option<Duration> {
    headers.get(TIMEOUT).and_then(|value| timeout(value.to_str().ok()?))
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = !digits.is_empty() && digits.len() <= TIMEOUT_DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Receives the message of a call that takes one. Its bytes are counted for as long as somebody holds them.
///
/// # Errors
/// `ResourceExhausted` for a message over the limit, as at other gRPC servers; `Unavailable` where the server holds too much;
/// `DeadlineExceeded`; `Unimplemented` for an unknown compression; `Internal` for what is not one whole message.
pub(super) async fn receive(
    mut body: Body,
    headers: &HeaderMap,
    limit: MessageLimit,
    ledger: &Arc<Ledger>,
    deadline: Deadline,
) -> Result<Bytes, Status> {
    let (encoding, share) = (encoding(headers)?, ledger.empty(Holding::Received));
    let mut message = Message { encoding, limit, share, prefix: Vec::new(), arriving: None };
    loop {
        let wait = (Instant::now() + PIECE_WAIT).min(deadline.instant());
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let frame = timeout_at(wait.into(), frame).await.map_err(|_| refusal(&Deadline::passed(Stage::ReadMessage)))?;
        match frame.transpose()?.map(|frame| frame.into_data()) {
            Some(Ok(data)) => message.push(data)?,
            Some(Err(_)) | None => break,
        }
    }
    let (bytes, encoding, share) = message.finish()?;
    match encoding {
        Encoding::Identity => Ok(counted(bytes, share)),
        Encoding::Gzip | Encoding::Deflate => inflate(&bytes, encoding, limit, ledger).await,
    }
}

/// Inflates a message. Each step counts before the next one is made. The caller holds the share of the compressed bytes.
async fn inflate(compressed: &[u8], encoding: Encoding, limit: MessageLimit, ledger: &Arc<Ledger>) -> Result<Bytes, Status> {
    let full = |full| refusal(&no_room(full));
    let mut share = ledger.take(Holding::Received, INFLATER_BYTES).map_err(full)?;
    let (mut inflater, mut turn_end) = (Inflater::new(encoding, limit.bytes_max, 0), INFLATE_TURN_BYTES);
    for step in compressed.chunks(INFLATE_STEP_BYTES) {
        inflater.push(step).map_err(|error| inflate_error(error, limit))?;
        let inflated = inflater.inflated_bytes();
        // A vector that grows is there twice.
        share.grow((INFLATER_BYTES + 2 * inflated).saturating_sub(share.bytes())).map_err(full)?;
        if inflated >= turn_end {
            turn_end = inflated + INFLATE_TURN_BYTES;
            tokio::task::yield_now().await;
        }
    }
    // The inflater gives its last bytes only here. They are fewer than its own memory.
    let mut bytes = inflater.finish().map_err(|error| inflate_error(error, limit))?;
    bytes.shrink_to_fit();
    share.shrink_to(bytes.len());
    Ok(counted(bytes, share))
}

/// The compression that messages of a call may have.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    let Some(name) = headers.get(ENCODING) else { return Ok(Encoding::Identity) };
    let known = name.to_str().ok().and_then(Encoding::named);
    known.ok_or_else(|| {
        let mut status =
            Status::unimplemented(format!("Content is compressed with `{}` which isn't supported", name.to_str().unwrap_or("?")));
        status.metadata_mut().insert("grpc-accept-encoding", tonic::metadata::MetadataValue::from_static("gzip,deflate,identity"));
        status
    })
}

/// A message that arrives.
struct Message {
    /// The compression of the call's messages, if they have one.
    encoding: Encoding,
    limit: MessageLimit,
    share: Share,
    prefix: Vec<u8>,
    /// The part after the prefix.
    arriving: Option<Arriving>,
}

struct Arriving {
    encoding: Encoding,
    /// The missing bytes.
    left: usize,
    bytes: Vec<u8>,
}

impl Message {
    fn push(&mut self, mut data: Bytes) -> Result<(), Status> {
        let missing = (PREFIX_BYTES - self.prefix.len()).min(data.len());
        self.prefix.extend_from_slice(&data.split_to(missing));
        if self.arriving.is_none() {
            let Some((&flag, mut length)) = self.prefix.split_first().filter(|(_, length)| length.len() == PREFIX_BYTES - 1) else {
                return Ok(());
            };
            self.arriving = Some(self.begin(flag, length.get_u32() as usize)?);
        }
        let Some(Arriving { left, bytes, .. }) = &mut self.arriving else { return Ok(()) };
        *left = left.checked_sub(data.len()).ok_or_else(|| Status::internal("expected one message, got more"))?;
        make_room(bytes, data.len(), bytes.len() + data.len() + *left, &mut self.share)?;
        bytes.extend_from_slice(&data);
        Ok(())
    }

    fn begin(&self, flag: u8, length: usize) -> Result<Arriving, Status> {
        if length > self.limit.bytes_max {
            return Err(too_large(self.limit, &format!("{length} bytes")));
        }
        let encoding = match (flag, self.encoding) {
            (0, _) => Encoding::Identity,
            (1, Encoding::Identity) => {
                return Err(Status::internal("expected a message without compression, got a compressed one"))
            }
            (1, encoding @ (Encoding::Gzip | Encoding::Deflate)) => encoding,
            (flag, _) => return Err(Status::internal(format!("a message's compressed flag is 0 or 1, got {flag}"))),
        };
        Ok(Arriving { encoding, left: length, bytes: Vec::new() })
    }

    /// The bytes of a whole message as they came, their compression, and their share.
    fn finish(mut self) -> Result<(Vec<u8>, Encoding, Share), Status> {
        let whole = self.arriving.filter(|arriving| arriving.left == 0);
        let Arriving { encoding, bytes, .. } = whole.ok_or_else(|| Status::internal("the message ended early"))?;
        self.share.shrink_to(bytes.len());
        Ok((bytes, encoding, self.share))
    }
}

/// Makes room for the next piece of a message whose prefix announces `announced` bytes. The prefix alone reserves nothing: a part
/// of the message must have arrived.
fn make_room(bytes: &mut Vec<u8>, piece: usize, announced: usize, share: &mut Share) -> Result<(), Status> {
    let needed = bytes.len() + piece;
    let capacity = if needed <= bytes.capacity() {
        bytes.capacity()
    } else if needed >= announced / ARRIVED_PART {
        announced
    } else {
        2 * needed
    };
    // Memory that no byte has come for is only an address, but small pieces of memory are not so.
    let held = capacity.min(2 * needed);
    share.grow(held.saturating_sub(share.bytes())).map_err(|full| refusal(&no_room(full)))?;
    bytes.reserve_exact(capacity - bytes.len());
    Ok(())
}

fn inflate_error(error: InflateError, limit: MessageLimit) -> Status {
    match error {
        InflateError::TooLarge => too_large(limit, "more"),
        InflateError::Damaged(what) => Status::internal(format!("the message cannot be inflated: {what}")),
    }
}

/// The refusal of a message over the limit.
fn too_large(MessageLimit { bytes_max, hint }: MessageLimit, got: &str) -> Status {
    Status::resource_exhausted(format!("the message is too large: expected at most {bytes_max} bytes, got {got}{hint}"))
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
