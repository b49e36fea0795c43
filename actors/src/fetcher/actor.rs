//! The FetcherActor: owns the HTTP client, the limits, and the table of fetches under way.
//!
//! The table knows a fetch by its URL for as long as a request waits for it, so a URL is fetched once at a time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{try_join_all, LocalBoxFuture, Shared, WeakShared};
use futures::FutureExt;
use tfweb_engine::quoted;
use tfweb_limits::Ledger;
use tokio::time::timeout_at;
use url::Url;

use super::counters::{Counters, Outcome};
use super::dial::Dialer;
use super::download::Downloader;
use super::failure::Failure;
use super::hosts::Hosts;
use super::memory::{Admitted, Memory};
use super::policy::FetchPolicy;
use super::rules::{without_secrets, Rules};
use super::turns::{Turns, SHARE};
use super::waiters::{Kind, Waiter, Wanted};
use crate::supervision::contain;

/// The result of one fetch.
type Fetched = Result<Bytes, Failure>;
/// A fetch under way.
type Flight = LocalBoxFuture<'static, Fetched>;
/// The fetches under way, by their URLs.
type Flights = Rc<RefCell<HashMap<Arc<Url>, (WeakShared<Flight>, Rc<Wanted>)>>>;

/// Fetches the URLs of one request, which all differ. The reply names the first URL that failed by its index.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fetch {
    pub(super) urls: Vec<Arc<Url>>,
    pub(super) reply: oneshot::Sender<Result<Vec<Bytes>, (usize, Failure)>>,
}

/// Owns the HTTP client, the limits, and the table of fetches under way. See the [module](self).
pub(super) struct FetcherActor(Rc<Fetcher>);

/// The parts that the tasks of all requests share.
struct Fetcher {
    downloader: Rc<Downloader>,
    flights: Flights,
    counters: Arc<Counters>,
    /// The most bytes of the bodies of one request.
    request_bytes_max: usize,
}

impl FetcherActor {
    /// Starts the actor in `arbiter`.
    pub(super) fn start_in(
        arbiter: &ArbiterHandle,
        policy: FetchPolicy,
        rules: Arc<Rules>,
        counters: Arc<Counters>,
        ledger: Arc<Ledger>,
    ) -> Addr<Self> {
        Self::start_in_arbiter(arbiter, move |_| Self(Rc::new(Fetcher::new(&policy, rules, counters, ledger))))
    }
}

impl Fetcher {
    fn new(policy: &FetchPolicy, rules: Arc<Rules>, counters: Arc<Counters>, ledger: Arc<Ledger>) -> Self {
        let share = policy.body_bytes_max.max(policy.memory_bytes_max / SHARE);
        let turns = |kind, turns| Turns::new(kind, turns, policy.queue_max, &counters);
        let downloader = Downloader {
            dialer: Dialer::new(Arc::clone(&rules), Arc::clone(&policy.resolver), policy.timeout),
            hosts: Hosts::new(share),
            look_ups: turns(Kind::LookUps, policy.look_ups_max),
            fetches: turns(Kind::Fetches, policy.fetches_max),
            memory: Memory::new(policy.memory_bytes_max, ledger),
            rules,
            body_bytes_max: policy.body_bytes_max,
            timeout: policy.timeout,
        };
        Self { downloader: Rc::new(downloader), flights: Flights::default(), counters, request_bytes_max: share }
    }

    /// Fetches the URLs of one request side by side.
    async fn fetch(&self, urls: Vec<Arc<Url>>) -> Result<Vec<Bytes>, (usize, Failure)> {
        let (waiter, refused) = Waiter::new(urls.len(), self.request_bytes_max);
        let request = self.downloader.memory.admit(waiter);
        let each = urls.into_iter().enumerate().map(|(index, url)| {
            let body = self.body(&request, index, url);
            async move { body.await.map_err(|failure| (index, failure)) }
        });
        tokio::select! {
            biased;
            Ok(refusal) = refused => Err(refusal),
            bodies = try_join_all(each.collect::<Vec<_>>()) => bodies,
        }
    }

    /// Waits for the fetch of one URL. The time of the fetch may be over earlier than the time of this request, if another request
    /// began it. Then this one fetches anew.
    async fn body(&self, request: &Admitted, index: usize, url: Arc<Url>) -> Fetched {
        let ends = Instant::now() + self.downloader.timeout;
        loop {
            let (flight, wanted, is_own) = self.flight(&url, ends);
            request.waits_for(index, &wanted);
            if is_own {
                return flight.await;
            }
            match timeout_at(ends.into(), flight).await {
                Ok(Err(failure)) if failure.is_late => {}
                Ok(fetched) => return fetched,
                Err(_) => return Err(wanted.late(self.downloader.timeout)),
            }
        }
    }

    /// Gives the fetch of a URL that is under way, or starts one that ends at `ends`. Says whether it is started.
    fn flight(&self, url: &Arc<Url>, ends: Instant) -> (Shared<Flight>, Rc<Wanted>, bool) {
        if let Some((flight, wanted)) = self.flights.borrow().get(url) {
            if let Some(flight) = flight.upgrade() {
                return (flight, Rc::clone(wanted), false);
            }
        }
        let (wanted, downloader, counters) = (Wanted::new(), Rc::clone(&self.downloader), Arc::clone(&self.counters));
        let mut entry =
            TableEntry { flights: Rc::clone(&self.flights), url: Arc::clone(url), counters: Some(Arc::clone(&counters)) };
        let fetched = Rc::clone(&wanted);
        let fetch = async move {
            let result = contain(downloader.fetch(&entry.url, &fetched, ends)).await;
            let result = result.unwrap_or_else(|| Err(Failure::panicked()));
            entry.counters = None;
            match &result {
                Ok(bytes) => {
                    counters.end(Outcome::Fetched);
                    counters.add_bytes(bytes.len());
                }
                Err(failure) => {
                    counters.end(failure.outcome);
                    // Each request that waits says itself that its URL is refused.
                    if failure.outcome != Outcome::Refused {
                        let (outcome, url) = (failure.outcome.name(), quoted(&without_secrets(entry.url.as_str(), false)));
                        tracing::info!(outcome, "url {url}: {}", failure.reason());
                    }
                }
            }
            result
        };
        let flight = fetch.boxed_local().shared();
        if let Some(weak) = flight.downgrade() {
            self.flights.borrow_mut().insert(Arc::clone(url), (weak, Rc::clone(&wanted)));
        }
        (flight, wanted, true)
    }
}

/// Takes a fetch off the table when it ends. Counts a fetch that is dropped before its end as cancelled.
struct TableEntry {
    flights: Flights,
    url: Arc<Url>,
    /// `None` once the fetch has ended.
    counters: Option<Arc<Counters>>,
}

impl Drop for TableEntry {
    fn drop(&mut self) {
        self.flights.borrow_mut().remove(&self.url);
        if let Some(counters) = &self.counters {
            counters.end(Outcome::Cancelled);
        }
    }
}

impl Actor for FetcherActor {
    type Context = Context<Self>;
}

impl Handler<Fetch> for FetcherActor {
    type Result = ();

    fn handle(&mut self, Fetch { urls, mut reply }: Fetch, _: &mut Self::Context) {
        let fetcher = Rc::clone(&self.0);
        // Each request has a task of its own: the actor would poll the fetches of all requests whenever one is ready.
        actix::spawn(async move {
            let answer = tokio::select! {
                answer = fetcher.fetch(urls) => answer,
                () = reply.cancellation() => return,
            };
            // The send fails if the caller went away in the meantime. It needs no answer then.
            let _ = reply.send(answer);
        });
    }
}
