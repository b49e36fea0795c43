//! One fetch: waits for its turn, follows redirects, reads the head of the answer, waits for memory, reads the body.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use awc::http::{header, StatusCode};
use awc::ClientResponse;
use bytes::Bytes;
use futures::StreamExt;
use tfweb_limits::{Encoding, InflateError, Inflater};
use url::Url;

use super::dial::{get, Dialer};
use super::failure::Failure;
use super::hosts::{Host, Hosts};
use super::memory::{Memory, Room};
use super::rules::Rules;
use super::turns::Turns;
use super::waiters::Wanted;

/// How many compressed bytes are inflated at a time. Then other fetches have their turn on this thread.
const INFLATE_STEP_BYTES: usize = 512;
/// How many bytes one compressed byte may become: deflate allows no more.
const INFLATED_MAX: usize = 1032;
/// The memory that a body of unknown size takes before its first byte. Most bodies are smaller. A larger one takes as much again
/// whenever it is full.
const UNKNOWN_BYTES: usize = 1 << 20;

/// Downloads URLs. All fetches share it.
pub(super) struct Downloader {
    pub(super) dialer: Dialer,
    pub(super) hosts: Hosts,
    pub(super) look_ups: Rc<Turns>,
    pub(super) fetches: Rc<Turns>,
    pub(super) memory: Rc<Memory>,
    pub(super) rules: Arc<Rules>,
    pub(super) body_bytes_max: usize,
    pub(super) timeout: Duration,
}

/// Fetched bytes and the memory counted for them. Both are given back when the last tensor that shows the bytes is dropped.
struct Fetched {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Fetched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Downloader {
    /// Fetches a URL that the rules allow, until `ends` at most.
    pub(super) async fn fetch(&self, url: &Url, wanted: &Rc<Wanted>, ends: Instant) -> Result<Bytes, Failure> {
        let fetched = tokio::time::timeout_at(ends.into(), self.follow(url, wanted)).await;
        fetched.unwrap_or_else(|_| Err(wanted.late(self.timeout)))
    }

    async fn follow(&self, url: &Url, wanted: &Rc<Wanted>) -> Result<Bytes, Failure> {
        let mut url = url.clone();
        for redirects in 0.. {
            let host = self.hosts.host(url.host_str().unwrap_or_default());
            // Names that are slow to look up have turns of their own, and hold none of the fetches'.
            let addresses = self.dialer.addresses(&url, self.look_ups.take(wanted, &host)).await?;
            let _turn = self.fetches.take(wanted, &host).await?;
            let connection =
                self.dialer.dial(&url, &addresses).await.map_err(|error| Failure::of_connecting(&error, self.timeout))?;
            let answer = get(&url, connection).await?;
            match answer.status() {
                StatusCode::OK => return self.read(&host, answer, wanted).await,
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = answer.headers().get(header::LOCATION).ok_or_else(|| Failure::answered(answer.status()))?;
                    // Many servers write paths in UTF-8 as they are. The URL that is fetched has them percent-encoded.
                    let location = std::str::from_utf8(location.as_bytes())
                        .map_err(|_| Failure::failed("redirects to a location that is not UTF-8"))?;
                    url = self.rules.redirect(&url, location, redirects)?;
                }
                other => return Err(Failure::answered(other)),
            }
        }
        unreachable!("the rules end redirects; this is a bug")
    }

    async fn read(&self, host: &Host, mut answer: ClientResponse, wanted: &Rc<Wanted>) -> Result<Bytes, Failure> {
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
        let mut room = self.memory.room();
        wanted.has_body_of(known.unwrap_or_default());
        wanted.needs(bytes_expected);
        let _host_room = host.room(bytes_expected).await;
        self.memory.grow(&mut room, wanted, known.unwrap_or(UNKNOWN_BYTES.min(self.body_bytes_max))).await?;

        // Memory that nothing is written to costs nothing. A vector that grows is copied, and needs its memory twice meanwhile.
        let mut inflater = Inflater::new(encoding, self.body_bytes_max, bytes_expected);
        let factor = if encoding == Encoding::Identity { 1 } else { INFLATED_MAX };
        while let Some(chunk) = answer.next().await {
            let chunk = chunk.map_err(|error| Failure::of_body(&error))?;
            for step in chunk.chunks(if factor == 1 { chunk.len().max(1) } else { INFLATE_STEP_BYTES }) {
                let most = inflater.inflated_bytes().saturating_add(step.len() * factor).min(self.body_bytes_max);
                while room.bytes() < most {
                    wanted.has_body_of(inflater.inflated_bytes());
                    let more = room.bytes().max(1).min(self.body_bytes_max - room.bytes());
                    self.memory.grow(&mut room, wanted, more).await?;
                }
                inflater.push(step).map_err(|error| self.not_inflated(error))?;
                // An origin may send many small chunks together.
                tokio::task::yield_now().await;
            }
        }
        let mut bytes = inflater.finish().map_err(|error| self.not_inflated(error))?;
        bytes.shrink_to_fit();
        room.settle(bytes.len());
        wanted.has_body_of(bytes.len());
        wanted.holds(bytes.len());
        Ok(Bytes::from_owner(Fetched { bytes, _room: room }))
    }

    fn not_inflated(&self, error: InflateError) -> Failure {
        match error {
            InflateError::TooLarge => Failure::too_large(None, self.body_bytes_max),
            InflateError::Damaged(what) => Failure::failed(format!("cannot be inflated: {what}")),
        }
    }
}
