//! grpc.health.v1: the health of the server, and of each model by its name.
//!
//! One task looks for changes, and tells all who watch. So watchers cost nothing until something changes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use tfweb_engine::{Code, Error};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::serving::{Readiness, State};
use crate::transport::grpc::ServiceNames;

/// The interval of checks whether a watched state has changed.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// The most watchers. Each load balancer has one for each of its connections.
const WATCHERS_MAX: usize = 4096;

/// Tells the health of the server and of its models.
#[derive(Clone)]
pub(super) struct GrpcHealth {
    state: Arc<State>,
    /// The names of the services. Each stands for the server, as in TensorFlow Serving.
    names: ServiceNames,
    seen: watch::Receiver<Seen>,
    watchers: Arc<AtomicUsize>,
}

/// The states at the last look.
#[derive(PartialEq)]
struct Seen {
    readiness: Readiness,
    models: BTreeMap<String, ServingStatus>,
}

impl GrpcHealth {
    /// Starts to look for changes. Needs a runtime, and ends with it.
    pub(super) fn start(state: Arc<State>, names: ServiceNames) -> Self {
        let (sender, seen) = watch::channel(Seen::now(&state));
        let health = Self { state, names, seen, watchers: Arc::default() };
        let state = Arc::clone(&health.state);
        tokio::spawn(async move {
            while !sender.is_closed() {
                tokio::time::sleep(WATCH_EVERY).await;
                let seen = Seen::now(&state);
                sender.send_if_modified(|before| {
                    let is_new = *before != seen;
                    *before = seen;
                    is_new
                });
            }
        });
        health
    }

    /// Answers a question.
    ///
    /// # Errors
    /// `NotFound` for an unknown name.
    pub(super) fn state_of(&self, service: &str) -> Result<HealthCheckResponse, Error> {
        let status = self.status(service, &Seen::now(&self.state));
        if status == ServingStatus::ServiceUnknown {
            let text = "no such service; this server has those of TensorFlow Serving, and its models by name";
            return Err(Error::new(Code::NotFound, text));
        }
        Ok(response(status))
    }

    fn status(&self, service: &str, seen: &Seen) -> ServingStatus {
        if service.is_empty() || self.names.contain(service) {
            return serves(seen.readiness == Readiness::Ready);
        }
        seen.models.get(service).copied().unwrap_or(ServingStatus::ServiceUnknown)
    }
}

impl Seen {
    fn now(state: &State) -> Self {
        let readiness = state.health.readiness();
        let models = state.catalog.models();
        let models = models.iter().map(|model| {
            let moves = state.health.stuck_model(model).is_none();
            let status = serves(readiness != Readiness::Draining && moves && model.served().next().is_some());
            (model.name.clone(), status)
        });
        Self { readiness, models: models.collect() }
    }
}

fn serves(serves: bool) -> ServingStatus {
    if serves {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// One who watches. Dropped, it makes room for another.
struct Watcher {
    health: GrpcHealth,
    seen: watch::Receiver<Seen>,
    service: String,
    said: Option<ServingStatus>,
    is_last: bool,
}

impl Watcher {
    /// Waits for the next state that differs from the last. The last state is that of a server that stops.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        if self.is_last {
            return None;
        }
        loop {
            let status = {
                let seen = self.seen.borrow_and_update();
                self.is_last = seen.readiness == Readiness::Draining;
                self.health.status(&self.service, &seen)
            };
            if self.said != Some(status) || self.is_last {
                self.said = Some(status);
                return Some((Ok(response(status)), self));
            }
            self.seen.changed().await.ok()?;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.health.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tonic::async_trait]
impl Health for GrpcHealth {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let answered = self.state_of(&request.into_inner().service);
        answered.map(Response::new).map_err(|error| Status::not_found(error.message))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the state, and sends it again after each change. The stream ends when the server stops.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let before = self.watchers.fetch_add(1, Ordering::Relaxed);
        let service = request.into_inner().service;
        let watcher = Watcher { health: self.clone(), seen: self.seen.clone(), service, said: None, is_last: false };
        if before >= WATCHERS_MAX {
            return Err(Status::unavailable(format!("{WATCHERS_MAX} streams watch the health of this server; retry later")));
        }
        Ok(Response::new(Box::pin(stream::unfold(watcher, Watcher::next))))
    }
}
