//! Fetches URL inputs: [`FetcherHandle`] (what callers see), FetcherActor (owns the HTTP client, the limits and the table of
//! fetches under way).
//!
//! A fetch is a future that everybody who wants its URL shares; the table knows it by its URL for as long as somebody does
//! (single flight). When the last of them goes, by deadline or by hanging up, it is dropped, which closes its connection.
//! All fetches run side by side on the actor's own thread, apart from doors and models. What may be fetched is decided by the
//! pure [`rules`].
//!
//! A panic within a fetch is answered as an error to those who wait for it.

pub mod address;
mod answer;
mod chunks;
mod dial;
mod download;
mod failure;
mod hosts;
mod observation;
pub mod rules;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use data_url::DataUrl;
use futures::channel::oneshot;
use futures::future::{try_join_all, LocalBoxFuture, Shared, WeakShared};
use futures::FutureExt;
use tfweb_engine::{quoted, Error};
use tfweb_limits::{Deadline, Stage, REQUEST_URLS_MAX};
use url::Url;

use dial::Clients;
use download::Net;
use failure::Failure;
use hosts::{Hosts, SHARE};
use observation::Counters;
use rules::{without_secrets, Refusal, Rules, Target};

pub use dial::{Resolve, SystemResolver};
pub use observation::{FetchObservation, Outcome};

/// What may be fetched, and how much at once.
#[derive(Clone, Debug)]
pub struct FetchPolicy {
    /// Which URLs.
    pub rules: Rules,
    /// The most bytes of one body, inflated.
    pub body_bytes_max: usize,
    /// The most time for one fetch, waiting for its turn included.
    pub timeout: Duration,
    /// The most fetches under way, at least 1; one host gets a quarter of them.
    pub fetches_max: usize,
    /// The most fetches that wait for their turn.
    pub queue_max: usize,
    /// The most bytes of fetched bodies in memory, those of requests that run included; at least one body's. One host and one
    /// request get a quarter of them each.
    pub memory_bytes_max: usize,
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolve>,
}

/// What callers see of the fetcher. Cheap to clone.
#[derive(Clone)]
pub struct FetcherHandle {
    actor: Addr<FetcherActor>,
    rules: Arc<Rules>,
    body_bytes_max: usize,
    counters: Arc<Counters>,
}

impl FetcherHandle {
    /// Starts the actor in an arbiter, which should be its own.
    #[must_use]
    pub fn start(arbiter: &ArbiterHandle, policy: FetchPolicy) -> Self {
        let rules = Arc::new(policy.rules.clone());
        let counters = Arc::new(Counters::default());
        let body_bytes_max = policy.body_bytes_max;
        let actor = FetcherActor::start_in_arbiter(arbiter, {
            let (rules, counters) = (Arc::clone(&rules), Arc::clone(&counters));
            move |_| FetcherActor::new(&policy, rules, counters)
        });
        Self { actor, rules, body_bytes_max, counters }
    }

    /// Fetches the URLs of one request side by side; gives their bodies in order.
    ///
    /// # Errors
    /// Of the first URL that fails, naming it: `FailedPrecondition` where it is not allowed or cannot be fetched,
    /// `InvalidArgument` where it is none, `OutOfRange` where it is too large, `Unavailable` where too many are being fetched.
    /// `DeadlineExceeded` when `deadline` passes.
    ///
    /// # Cancel safety
    /// Dropped, what nobody else waits for is not fetched on.
    pub async fn fetch(&self, urls: &[&str], deadline: Deadline) -> Result<Vec<Bytes>, Error> {
        if urls.len() > REQUEST_URLS_MAX {
            return Err(Error::invalid(format!("a request may name at most {REQUEST_URLS_MAX} urls, got {}", urls.len())));
        }
        let mut bodies = vec![Bytes::new(); urls.len()];
        let (mut places, mut web) = (Vec::new(), Vec::new());
        for (place, text) in urls.iter().copied().enumerate() {
            match self.rules.target(text).map_err(|refusal| self.refuse(text, refusal))? {
                Target::Data(text) => bodies[place] = self.data(text).map_err(|failure| error_of(text, &failure))?,
                Target::Web(url) => {
                    places.push(place);
                    web.push(url);
                }
            }
        }
        if web.is_empty() {
            return Ok(bodies);
        }
        let (reply, answer) = oneshot::channel();
        // At most one for each request that waits here.
        self.actor.do_send(Fetch { urls: web, reply });
        match deadline.limit(answer).await {
            Ok(Ok(Ok(fetched))) => {
                for (place, body) in places.into_iter().zip(fetched) {
                    bodies[place] = body;
                }
                Ok(bodies)
            }
            Ok(Ok(Err((index, failure)))) => Err(error_of(urls[places[index]], &failure)),
            Ok(Err(oneshot::Canceled)) => Err(Error::internal("the fetcher is gone; this is a bug")),
            Err(_) => Err(Deadline::passed(Stage::Fetch)),
        }
    }

    /// What it has done, and is doing.
    #[must_use]
    pub fn observe(&self) -> FetchObservation {
        self.counters.observe()
    }

    fn refuse(&self, text: &str, refusal: Refusal) -> Error {
        let failure = refusal.into();
        note(&self.counters, text, &failure);
        error_of(text, &failure)
    }

    /// The bytes that a `data:` URL holds.
    fn data(&self, text: &str) -> Result<Bytes, Failure> {
        let data = DataUrl::process(text).map_err(|_| Failure::failed("has no comma before its data"))?;
        let (bytes, _) = data.decode_to_vec().map_err(|_| Failure::failed("has data that is not base64"))?;
        if bytes.len() > self.body_bytes_max {
            return Err(Failure::too_large(Some(bytes.len() as u64), self.body_bytes_max));
        }
        Ok(bytes.into())
    }
}

fn error_of(url: &str, failure: &Failure) -> Error {
    Error::new(failure.code, format!("url {}: {}", quoted(&without_secrets(url, true)), failure.told))
}

/// Counts a failure and logs it, once for all who waited.
fn note(counters: &Counters, url: &str, failure: &Failure) {
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

type Fetched = Result<Bytes, Failure>;
type Flight = LocalBoxFuture<'static, Fetched>;
type Flights = Rc<RefCell<HashMap<Url, WeakShared<Flight>>>>;

/// Fetches the URLs of one request; the reply names the first that failed by its index.
#[derive(Message)]
#[rtype(result = "()")]
struct Fetch {
    urls: Vec<Url>,
    reply: oneshot::Sender<Result<Vec<Bytes>, (usize, Failure)>>,
}

/// Owns the HTTP client, the limits, and the table of fetches under way. See the [module](self).
struct FetcherActor {
    net: Rc<Net>,
    flights: Flights,
    counters: Arc<Counters>,
    request_bytes_max: usize,
}

impl FetcherActor {
    fn new(policy: &FetchPolicy, rules: Arc<Rules>, counters: Arc<Counters>) -> Self {
        let net = Net {
            clients: Clients::new(Arc::clone(&rules), Arc::clone(&policy.resolver), policy.timeout),
            hosts: Hosts::new(policy, Arc::clone(&counters)),
            rules,
            body_bytes_max: policy.body_bytes_max,
            timeout: policy.timeout,
        };
        let request_bytes_max = policy.body_bytes_max.max(policy.memory_bytes_max / SHARE);
        Self { net: Rc::new(net), flights: Flights::default(), counters, request_bytes_max }
    }

    /// The fetch of a URL: the one under way, or a new one.
    fn flight(&self, url: Url) -> Shared<Flight> {
        if let Some(flight) = self.flights.borrow().get(&url).and_then(WeakShared::upgrade) {
            return flight;
        }
        let (net, counters) = (Rc::clone(&self.net), Arc::clone(&self.counters));
        let landing = Landing { flights: Rc::clone(&self.flights), url: url.clone(), counters: Some(Arc::clone(&counters)) };
        let fetch = async move {
            let mut landing = landing;
            let fetched = AssertUnwindSafe(net.fetch(landing.url.clone())).catch_unwind().await;
            let fetched = fetched.unwrap_or_else(|_| Err(Failure::panicked()));
            landing.counters = None;
            match &fetched {
                Ok(bytes) => {
                    counters.end(Outcome::Fetched);
                    counters.add_bytes(bytes.len());
                }
                Err(failure) => note(&counters, landing.url.as_str(), failure),
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

/// Takes a fetch off the table when it ends, and counts it if it was dropped before.
struct Landing {
    flights: Flights,
    url: Url,
    counters: Option<Arc<Counters>>,
}

impl Drop for Landing {
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
        // A task of its own, not the actor's: the actor would look at all of them whenever one is ready.
        actix::spawn(async move {
            let answer = tokio::select! {
                answer = all => answer,
                () = reply.cancellation() => return,
            };
            // A caller that went away in the meantime needs no answer.
            let _ = reply.send(answer);
        });
    }
}
