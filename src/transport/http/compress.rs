//! Compresses answers with gzip.

use std::io::Write;
use std::sync::Arc;

use actix_web::http::header::{self, AcceptEncoding, Encoding, Header};
use actix_web::HttpRequest;
use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::Compression;
use tfweb_limits::{Deadline, Holding, Ledger, Stage};

use super::large_body::Text;
use crate::transport::elsewhere::elsewhere;

/// Shorter answers are not compressed, because they fit into one packet.
const COMPRESS_BYTES_MIN: usize = 1024;
/// Longer answers are compressed on another thread, so that other requests need not wait.
const COMPRESS_INLINE_BYTES_MAX: usize = 64 << 10;

/// Compresses an answer's body, if it is long enough and the client accepts gzip. Returns the body, and whether it is gzip now. If
/// there is no memory or no thread for it, the plain body is a correct answer too.
pub async fn compress(request: &HttpRequest, ledger: &Arc<Ledger>, deadline: Deadline, body: Text) -> (Bytes, bool) {
    if !may_compress(&body.bytes) || !accepts_gzip(request) {
        return (body.bytes.into(), false);
    }
    if body.bytes.len() <= COMPRESS_INLINE_BYTES_MAX {
        return (gzip(&body.bytes).into(), true);
    }
    // The plain body and the compressed one.
    let Ok(share) = ledger.take(Holding::Answers, 2 * body.bytes.len()) else {
        return (body.bytes.into(), false);
    };
    let body = Bytes::from(body.bytes);
    let plain = body.clone();
    let compressing = elsewhere(deadline, Stage::WriteAnswer, move || {
        let compressed = gzip(&plain);
        Ok((compressed, share))
    });
    match compressing.await {
        Ok((compressed, _share)) => (compressed.into(), true),
        Err(_) => (body, false),
    }
}

/// Whether a body is long enough to be compressed.
#[must_use]
pub const fn may_compress(body: &[u8]) -> bool {
    body.len() >= COMPRESS_BYTES_MIN
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes bytes; this is a bug")
}

fn accepts_gzip(request: &HttpRequest) -> bool {
    request.headers().contains_key(header::ACCEPT_ENCODING)
        && AcceptEncoding::parse(request)
            .is_ok_and(|accepted| accepted.negotiate([Encoding::gzip(), Encoding::identity()].iter()) == Some(Encoding::gzip()))
}
