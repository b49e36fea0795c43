//! The FetcherActor: owns the HTTP client, the limits, and the table of fetches under way.
//!
//! The table knows a fetch by its URL for as long as a request waits for it, so a URL is fetched once at a time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{try_join_all, LocalBoxFuture, Shared, WeakShared};
use futures::FutureExt;
use tfweb_engine::quoted;
use url::Url;

use super::counters::{Counters, Outcome};
use super::dial::Clients;
use super::download::Downloader;
use super::failure::Failure;
use super::hosts::{Hosts, SHARE};
use super::policy::FetchPolicy;
use super::rules::{without_secrets, Rules};
use crate::supervision::contain;

/// The result of one fetch.
type Fetched = Result<Bytes, Failure>;
/// A fetch under way.
type Flight = LocalBoxFuture<'static, Fetched>;
/// The fetches under way, by their URLs.
type Flights = Rc<RefCell<HashMap<Url, WeakShared<Flight>>>>;

/// Fetches the URLs of one request. The reply names the first URL that failed by its index.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fetch {
    pub(super) urls: Vec<Url>,
    pub(super) reply: oneshot::Sender<Result<Vec<Bytes>, (usize, Failure)>>,
}

/// Owns the HTTP client, the limits, and the table of fetches under way. See the [module](self).
pub(super) struct FetcherActor {
    downloader: Rc<Downloader>,
    flights: Flights,
    counters: Arc<Counters>,
    /// The most bytes of the bodies of one request.
    request_bytes_max: usize,
}

impl FetcherActor {
    /// Starts the actor in `arbiter`.
    pub(super) fn start_in(arbiter: &ArbiterHandle, policy: FetchPolicy, rules: Arc<Rules>, counters: Arc<Counters>) -> Addr<Self> {
        Self::start_in_arbiter(arbiter, move |_| Self::new(&policy, rules, counters))
    }

    fn new(policy: &FetchPolicy, rules: Arc<Rules>, counters: Arc<Counters>) -> Self {
        let downloader = Downloader {
            clients: Clients::new(Arc::clone(&rules), Arc::clone(&policy.resolver), policy.timeout),
            hosts: Hosts::new(policy, Arc::clone(&counters)),
            rules,
            body_bytes_max: policy.body_bytes_max,
            timeout: policy.timeout,
        };
        let request_bytes_max = policy.body_bytes_max.max(policy.memory_bytes_max / SHARE);
        Self { downloader: Rc::new(downloader), flights: Flights::default(), counters, request_bytes_max }
    }

    /// Gives the fetch of a URL that is under way, or starts one.
    fn flight(&self, url: Url) -> Shared<Flight> {
        if let Some(flight) = self.flights.borrow().get(&url).and_then(WeakShared::upgrade) {
            return flight;
        }
        let (downloader, counters) = (Rc::clone(&self.downloader), Arc::clone(&self.counters));
        let entry = TableEntry { flights: Rc::clone(&self.flights), url: url.clone(), counters: Some(Arc::clone(&counters)) };
        let fetch = async move {
            let mut entry = entry;
            let fetched = contain(downloader.fetch(entry.url.clone())).await;
            let fetched = fetched.unwrap_or_else(|| Err(Failure::panicked()));
            entry.counters = None;
            match &fetched {
                Ok(bytes) => {
                    counters.end(Outcome::Fetched);
                    counters.add_bytes(bytes.len());
                }
                Err(failure) => note(&counters, entry.url.as_str(), failure),
            }
            fetched
        };
        let flight = fetch.boxed_local().shared();
        if let Some(weak) = flight.downgrade() {
            self.flights.borrow_mut().insert(url, weak);
        }
        flight
    }
}

/// Takes a fetch off the table when it ends. Counts a fetch that is dropped before its end as cancelled.
struct TableEntry {
    flights: Flights,
    url: Url,
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
        let bytes_max = self.request_bytes_max;
        let bytes = Rc::new(Cell::new(0));
        let each = urls.iter().enumerate().map(|(index, url)| {
            let (flight, bytes) = (self.flight(url.clone()), Rc::clone(&bytes));
            let is_repeated = urls[..index].contains(url);
            async move {
                let body = flight.await.map_err(|failure| (index, failure))?;
                bytes.set(bytes.get() + if is_repeated { 0 } else { body.len() });
                if bytes.get() > bytes_max {
                    return Err((index, Failure::too_large_together(bytes_max)));
                }
                Ok(body)
            }
        });
        let all = try_join_all(each.collect::<Vec<_>>());
        // Each request has a task of its own: the actor would poll the fetches of all requests whenever one is ready.
        actix::spawn(async move {
            let answer = tokio::select! {
                answer = all => answer,
                () = reply.cancellation() => return,
            };
            // The send fails if the caller went away in the meantime. It needs no answer then.
            let _ = reply.send(answer);
        });
    }
}

/// Counts a failure and logs it, once for all requests that waited.
pub(super) fn note(counters: &Counters, url: &str, failure: &Failure) {
    counters.end(failure.outcome);
    let url = quoted(&without_secrets(url, false));
    let reason = failure.reason.as_ref().unwrap_or(&failure.told);
    let outcome = failure.outcome.name();
    if failure.outcome == Outcome::Refused {
        tracing::warn!(outcome, "url {url}: {reason}");
    } else {
        tracing::info!(outcome, "url {url}: {reason}");
    }
}
