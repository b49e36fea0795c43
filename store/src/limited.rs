//! Limits the bytes of a store's answers. opendal keeps a whole page of a listing, a whole range of a file and every error in
//! memory, however much a store sends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use ::http::header::RANGE;
use ::http::{Request, Response};
use futures::{future, TryStreamExt};
use opendal::{Buffer, ErrorKind, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::Client;

/// The most bytes of an answer that is read into memory. A page of S3 has 1000 files in half a megabyte. WebHDFS lists a whole
/// directory in one page: 40,000 files.
const PAGE_BYTES_MAX: u64 = 16 << 20;
/// The most bytes of all answers of a listing. `FILES_MAX` files have fewer, unless all their names are very long.
pub(super) const LISTING_BYTES_MAX: u64 = 128 << 20;
/// An answer to a range may have this many bytes, since it may be an error.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// The requests of a listing or of downloads, with a limit of what comes back.
pub(super) struct LimitedTransport {
    inner: ReqwestTransport,
    answer_bytes_max: u64,
    /// The bytes that all answers together may still have.
    left: Arc<AtomicU64>,
}

impl LimitedTransport {
    /// For one listing.
    pub(super) fn for_listing(client: &Client) -> Self {
        Self::new(client, PAGE_BYTES_MAX, LISTING_BYTES_MAX)
    }

    /// For files. No answer has more than `bytes_max` bytes, because larger files are read in ranges.
    pub(super) fn for_files(client: &Client, bytes_max: u64) -> Self {
        Self::new(client, bytes_max, u64::MAX)
    }

    fn new(client: &Client, answer_bytes_max: u64, all_bytes_max: u64) -> Self {
        Self { inner: ReqwestTransport::new(client.clone()), answer_bytes_max, left: Arc::new(AtomicU64::new(all_bytes_max)) }
    }
}

impl HttpTransport for LimitedTransport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let asked = request.headers().get(RANGE).and_then(|range| range_bytes(range.to_str().ok()?));
        let max = asked.map_or(self.answer_bytes_max, |bytes| bytes.max(ERROR_BYTES_MAX));
        let (left_of_all, mut left) = (Arc::clone(&self.left), max);
        let response = self.inner.fetch(request).await?;
        let count = move |buffer: Buffer| {
            let bytes = buffer.len() as u64;
            let too_many = |what: &str, limit: u64| {
                let message = format!("{what} more than {limit} bytes");
                future::ready(Err(opendal::Error::new(ErrorKind::Unexpected, message)))
            };
            let Some(rest) = left.checked_sub(bytes) else { return too_many("an answer of the store has", max) };
            left = rest;
            let counted = left_of_all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
            match counted {
                Ok(_) => future::ready(Ok(buffer)),
                Err(_) => too_many("the answers to one listing have", LISTING_BYTES_MAX),
            }
        };
        Ok(response.map(|body| body.map_inner(|stream| Box::new(stream.and_then(count)))))
    }
}

/// The number of bytes that a request for a range asks for.
fn range_bytes(range: &str) -> Option<u64> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}
