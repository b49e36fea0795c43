//! One fetch: waits for its turn, follows redirects, reads the head of the answer, waits for memory, reads the body.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::http::{header, StatusCode};
use awc::ClientResponse;
use bytes::Bytes;
use futures::StreamExt;
use tfweb_limits::{Encoding, InflateError, Inflater};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::dial::Clients;
use super::failure::Failure;
use super::hosts::{Host, Hosts};
use super::rules::Rules;

/// How many compressed bytes are inflated at a time. They may inflate to a thousand times as many, which takes a few milliseconds;
/// then other fetches have their turn on this thread.
const INFLATE_STEP_BYTES: usize = 4096;

/// Downloads URLs. All fetches share it.
pub(super) struct Downloader {
    pub(super) clients: Clients,
    pub(super) hosts: Hosts,
    pub(super) rules: Arc<Rules>,
    pub(super) body_bytes_max: usize,
    pub(super) timeout: Duration,
}

/// Fetched bytes and the memory counted for them. Both are given back when the last tensor that shows the bytes is dropped.
struct Fetched {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Fetched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Downloader {
    /// Fetches a URL that the rules allow, within the time for one fetch.
    pub(super) async fn fetch(&self, url: Url) -> Result<Bytes, Failure> {
        let waits_for_room = Cell::new(false);
        let fetched = tokio::time::timeout(self.timeout, self.follow(url, &waits_for_room)).await;
        fetched.unwrap_or_else(|_| {
            Err(if waits_for_room.get() { Failure::no_memory(self.timeout) } else { Failure::timed_out(self.timeout) })
        })
    }

    async fn follow(&self, mut url: Url, waits_for_room: &Cell<bool>) -> Result<Bytes, Failure> {
        for redirects in 0.. {
            let host = self.hosts.host(url.host_str().unwrap_or_default());
            let _turn = self.hosts.turn(&host).await?;
            let answer = self.clients.get(&url).await?;
            match answer.status() {
                StatusCode::OK => return self.read(&host, answer, waits_for_room).await,
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
                    let location = location.ok_or_else(|| answered(answer.status()))?;
                    url = self.rules.redirect(&url, location, redirects)?;
                }
                other => return Err(answered(other)),
            }
        }
        unreachable!("the rules end redirects; this is a bug")
    }

    async fn read(&self, host: &Rc<Host>, mut answer: ClientResponse, waits_for_room: &Cell<bool>) -> Result<Bytes, Failure> {
        let text = |name| answer.headers().get(name).map(|value| value.to_str().unwrap_or("unreadable").to_owned());
        let encoding = text(header::CONTENT_ENCODING).unwrap_or_default();
        let encoding = Encoding::named(&encoding).ok_or_else(|| {
            Failure::failed(format!("came as {encoding:.80?}, which was not asked for; expected gzip or deflate"))
        })?;
        let declared: Option<u64> = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        if let Some(bytes) = declared.filter(|&bytes| bytes > self.body_bytes_max as u64) {
            return Err(Failure::too_large(Some(bytes), self.body_bytes_max));
        }
        let known = declared.and_then(|bytes| usize::try_from(bytes).ok()).filter(|_| encoding == Encoding::Identity);
        let bytes_expected = known.unwrap_or(self.body_bytes_max);
        waits_for_room.set(true);
        let room = self.hosts.room(host, bytes_expected).await;
        waits_for_room.set(false);

        // Memory that nothing is written to costs nothing. A vector that grows is copied, and needs its memory twice meanwhile.
        let mut inflater = Inflater::new(encoding, self.body_bytes_max, bytes_expected);
        while let Some(chunk) = answer.next().await {
            let chunk = chunk.map_err(|error| Failure::of_body(&error))?;
            if encoding == Encoding::Identity {
                self.push(&mut inflater, &chunk)?;
                continue;
            }
            for step in chunk.chunks(INFLATE_STEP_BYTES) {
                self.push(&mut inflater, step)?;
                tokio::task::yield_now().await;
            }
        }
        let mut bytes = inflater.finish().map_err(|error| self.not_inflated(error))?;
        bytes.shrink_to_fit();
        let _room = room.settle(bytes.len());
        Ok(Bytes::from_owner(Fetched { bytes, _room }))
    }

    fn push(&self, inflater: &mut Inflater, piece: &[u8]) -> Result<(), Failure> {
        inflater.push(piece).map_err(|error| self.not_inflated(error))
    }

    fn not_inflated(&self, error: InflateError) -> Failure {
        match error {
            InflateError::TooLarge => Failure::too_large(None, self.body_bytes_max),
            InflateError::Damaged(what) => Failure::failed(format!("cannot be inflated: {what}")),
        }
    }
}

fn answered(status: StatusCode) -> Failure {
    Failure::failed(format!("answered {}", status.as_u16()))
}
