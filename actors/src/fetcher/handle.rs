//! The handle of the fetcher: checks the URLs of one request, has them fetched, and waits until the deadline.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Addr, ArbiterHandle};
use bytes::Bytes;
use data_url::DataUrl;
use futures::channel::oneshot;
use tfweb_engine::{quoted, Error};
use tfweb_limits::{Deadline, Holding, Ledger, Share, Stage, REQUEST_URLS_MAX};

use super::actor::{Fetch, FetcherActor};
use super::counters::{Counters, FetchObservation, Outcome};
use super::failure::Failure;
use super::policy::FetchPolicy;
use super::rules::{without_secrets, Rules, Target};

/// The memory that the fetch of one URL needs beside its text and its body. The futures alone take 4 KiB, and a small request may
/// name many URLs.
const URL_STATE_BYTES: usize = 8 << 10;

/// The fetcher as its callers see it. A clone is cheap.
#[derive(Clone)]
pub struct FetcherHandle {
    actor: Addr<FetcherActor>,
    rules: Arc<Rules>,
    body_bytes_max: usize,
    counters: Arc<Counters>,
    ledger: Arc<Ledger>,
}

/// The bytes of a `data:` URL and their share of the ledger.
struct Decoded {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Decoded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FetcherHandle {
    /// Starts the actor in `arbiter`, which should run nothing else. All bodies count into `ledger`.
    #[must_use]
    pub fn start(arbiter: &ArbiterHandle, policy: FetchPolicy, ledger: Arc<Ledger>) -> Self {
        let rules = Arc::new(policy.rules.clone());
        let counters = Arc::new(Counters::default());
        let body_bytes_max = policy.body_bytes_max;
        let actor = FetcherActor::start_in(arbiter, policy, Arc::clone(&rules), Arc::clone(&counters), Arc::clone(&ledger));
        Self { actor, rules, body_bytes_max, counters, ledger }
    }

    /// Fetches the URLs of one request side by side. Gives their bodies in order. If a URL is refused, the log names the request by
    /// `request_id`.
    ///
    /// # Errors
    /// The error of the first URL that fails, which names the URL:
    /// - `FailedPrecondition` if the URL is not allowed or cannot be fetched.
    /// - `InvalidArgument` if the text is no URL.
    /// - `OutOfRange` if the body is too large.
    /// - `Unavailable` if too many URLs are being fetched, or if there is too little memory for the bodies.
    ///
    /// `DeadlineExceeded` when `deadline` passes.
    ///
    /// # Cancel safety
    /// If the future is dropped, the fetches that no other request waits for end.
    pub async fn fetch(&self, urls: &[&str], deadline: Deadline, request_id: &str) -> Result<Vec<Bytes>, Error> {
        if urls.len() > REQUEST_URLS_MAX {
            return Err(Error::invalid(format!("a request may name at most {REQUEST_URLS_MAX} urls, got {}", urls.len())));
        }
        let mut bodies = vec![Bytes::new(); urls.len()];
        // The place of each body in `web`, where a URL that is named twice stands once.
        let (mut places, mut web, mut known) = (Vec::new(), Vec::new(), HashMap::new());
        for (place, text) in urls.iter().copied().enumerate() {
            let target = self.rules.target(text).map_err(|refusal| {
                self.counters.end(Outcome::Refused);
                refuse(text, &refusal.into(), request_id)
            });
            match target? {
                Target::Data(text) => bodies[place] = self.data(text).map_err(|failure| error_of(text, &failure))?,
                Target::Web(url) => {
                    let index = *known.entry(Arc::new(url)).or_insert_with_key(|url| {
                        web.push(Arc::clone(url));
                        web.len() - 1
                    });
                    places.push((place, index));
                }
            }
        }
        if web.is_empty() {
            return Ok(bodies);
        }
        let state_bytes = web.iter().map(|url| url.as_str().len() + URL_STATE_BYTES).sum();
        let _state =
            self.ledger.take(Holding::Fetched, state_bytes).map_err(|full| error_of(urls[0], &Failure::ledger_full(full)))?;
        let (reply, answer) = oneshot::channel();
        // There is at most one such message for each request that waits here.
        self.actor.do_send(Fetch { urls: web, reply });
        match deadline.limit(answer).await {
            Ok(Ok(Ok(fetched))) => {
                for (place, index) in places {
                    bodies[place] = fetched[index].clone();
                }
                Ok(bodies)
            }
            Ok(Ok(Err((failed, failure)))) => {
                let named = places.iter().find(|(_, index)| *index == failed).map_or("", |(place, _)| urls[*place]);
                Err(refuse(named, &failure, request_id))
            }
            Ok(Err(oneshot::Canceled)) => Err(Error::internal("the fetcher is gone; this is a bug")),
            Err(_) => Err(Deadline::passed(Stage::Fetch)),
        }
    }

    /// Reads how many fetches have ended since the fetcher started, and how many are under way.
    #[must_use]
    pub fn observe(&self) -> FetchObservation {
        self.counters.observe()
    }

    /// The bytes that a `data:` URL holds.
    fn data(&self, text: &str) -> Result<Bytes, Failure> {
        let data = DataUrl::process(text).map_err(|_| Failure::failed("has no comma before its data"))?;
        // The decoded bytes are never longer than their text.
        let mut share = self.ledger.take(Holding::Fetched, text.len()).map_err(Failure::ledger_full)?;
        let (bytes, _) = data.decode_to_vec().map_err(|_| Failure::failed("has data that is not base64"))?;
        if bytes.len() > self.body_bytes_max {
            return Err(Failure::too_large(Some(bytes.len() as u64), self.body_bytes_max));
        }
        share.shrink_to(bytes.len());
        Ok(Bytes::from_owner(Decoded { bytes, _share: share }))
    }
}

/// The error of a failure. Logs one that the rules decide, with the id of its request.
fn refuse(url: &str, failure: &Failure, request_id: &str) -> Error {
    if failure.outcome == Outcome::Refused {
        let shown = quoted(&without_secrets(url, false));
        tracing::warn!(outcome = failure.outcome.name(), %request_id, "url {shown}: {}", failure.reason());
    }
    error_of(url, failure)
}

fn error_of(url: &str, failure: &Failure) -> Error {
    Error::new(failure.code, format!("url {}: {}", quoted(&without_secrets(url, true)), failure.told))
}
