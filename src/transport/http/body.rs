//! Reads the body of a request, within its limit of bytes, the request's time, and the memory of all requests. Inflates a
//! compressed body.

use actix_web::error::PayloadError;
use actix_web::http::header::{HeaderMap, HeaderValue, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use actix_web::{web, HttpMessage, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tfweb_engine::{quoted, Code, Error};
use tfweb_limits::{Deadline, Encoding, Holding, InflateError, Inflater, Share, Stage};

use crate::transport::body_limits::{no_room, BodyLimits};

/// The most bytes of a compressed body that is inflated on the listener's thread. A larger one goes to another thread, so that
/// other requests need not wait.
const INFLATE_INLINE_BYTES_MAX: usize = 16 << 10;

/// A body with its share of the memory of all requests.
pub struct Body {
    /// The inflated bytes.
    pub bytes: Bytes,
    _share: Share,
}

/// The encodings that a body may have, for the header `Accept-Encoding`.
pub(super) const ENCODINGS: &str = "gzip, deflate, identity";

/// Marks a request whose body has an unknown encoding. The error's code does not say so.
pub(super) struct UnknownEncoding;

/// Reads the body of a request.
///
/// # Errors
/// `OutOfRange` over the limit; `Unavailable` without room; `DeadlineExceeded`; `InvalidArgument` for a damaged body or an
/// unknown encoding; `Cancelled` where the client stopped sending.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &BodyLimits,
    deadline: Deadline,
) -> Result<Body, Error> {
    let headers = request.headers();
    let encoding = encoding_of(headers).inspect_err(|_| {
        request.extensions_mut().insert(UnknownEncoding);
    })?;
    refuse_websocket(headers)?;
    let declared: usize = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    if declared > limits.body_bytes_max {
        return Err(too_large(&format!("{declared} bytes"), limits.body_bytes_max));
    }
    let mut share = limits.ledger.take(Holding::Received, declared).map_err(no_room)?;
    let reading = collect(payload, declared, limits.body_bytes_max, &mut share);
    let bytes = deadline.limit(reading).await.map_err(|_| Deadline::passed(Stage::ReadBody))??;
    let bytes = match encoding {
        Encoding::Identity => bytes,
        Encoding::Gzip | Encoding::Deflate => {
            let max = limits.body_bytes_max;
            let inflated = if bytes.len() <= INFLATE_INLINE_BYTES_MAX {
                inflate(encoding, &bytes, max)
            } else {
                web::block(move || inflate(encoding, &bytes, max)).await.map_err(|error| Error::internal(error.to_string()))?
            }?;
            share.grow(inflated.len()).map_err(no_room)?;
            inflated
        }
    };
    Ok(Body { bytes, _share: share })
}

async fn collect(mut payload: web::Payload, declared: usize, max: usize, share: &mut Share) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(broken)?;
        let total = first.len() + bytes.len() + chunk.len();
        if total > max {
            return Err(too_large("more", max));
        }
        share.grow(total.saturating_sub(declared).min(chunk.len())).map_err(no_room)?;
        // Most bodies are one chunk, and need no copy. Only several chunks are copied together.
        if first.is_empty() && bytes.is_empty() {
            first = chunk;
        } else {
            if bytes.is_empty() {
                bytes.reserve(declared.max(total));
                bytes.extend_from_slice(&std::mem::take(&mut first));
            }
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(if bytes.is_empty() { first } else { bytes.freeze() })
}

/// Refuses a request that offers `Upgrade: websocket` and has a body. actix-http takes everything after its head for the body,
/// whatever length the head states. Most such offers are hidden before they come here; see `listener::upgrade_filter`.
fn refuse_websocket(headers: &HeaderMap) -> Result<(), Error> {
    let is_websocket = |offer: &HeaderValue| offer.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket");
    if headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(UPGRADE).any(is_websocket) {
        return Ok(());
    }
    Err(Error::invalid(
        "the body cannot be read: expected a request without `Upgrade: websocket`, which this server does not speak",
    ))
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Error> {
    let name = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("unreadable"));
    Encoding::named(name)
        .ok_or_else(|| Error::invalid(format!("Content-Encoding: expected gzip, deflate or identity, got {}", quoted(name))))
}

fn inflate(encoding: Encoding, bytes: &[u8], max: usize) -> Result<Bytes, Error> {
    let mut inflater = Inflater::new(encoding, max, 0);
    let inflated = inflater.push(bytes).and_then(|()| inflater.finish());
    inflated.map(Bytes::from).map_err(|error| match error {
        InflateError::TooLarge => too_large("more when inflated", max),
        InflateError::Damaged(what) => Error::invalid(format!("the body cannot be inflated: {what}")),
    })
}

fn too_large(came: &str, max: usize) -> Error {
    Error::new(Code::OutOfRange, format!("the body is too large: expected at most {max} bytes, got {came}; raise --request_size"))
}

fn broken(error: PayloadError) -> Error {
    if matches!(error, PayloadError::Incomplete(_)) {
        return Error::new(Code::Cancelled, "the body ended early");
    }
    Error::invalid(format!("the body cannot be read: {error}"))
}
