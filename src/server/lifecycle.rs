//! Starts the listeners, serves until a signal, and stops all parts in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use tfweb_actors::start_arbiter;
use tfweb_engine::Error;
use tfweb_limits::Holding;
use tokio::time::timeout_at;

use super::parts::{follow_files, Models, Shared};
use super::signals::Signals;
use super::time_limit::TimeLimit;
use crate::config::{Config, Drain};
use crate::models::ModelSet;
use crate::observe::log;
use crate::serving::Readiness;
use crate::transport::grpc::GrpcListener;
use crate::transport::http::Listener;

/// A signal that comes this soon after the first one is the same request to stop. `timeout` and terminals send it twice.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(250);
/// The exit code after a second signal: 128 + SIGINT, as shells report it.
const SECOND_SIGNAL_EXIT: u8 = 130;
/// The exit code if `--drain_timeout_ms` cut requests off: EX_TEMPFAIL of sysexits.h, because a client may try them again.
const CUT_OFF_EXIT: u8 = 75;

/// How long a stop may last after its last request: to send the last traces, and to close the admin port.
const AFTER_REQUESTS: Duration = Duration::from_secs(2);

/// A running server.
pub struct Server {
    http: Listener,
    grpc: Option<GrpcListener>,
    admin: Option<Listener>,
    shared: Shared,
    drain: Drain,
    /// The thread of the models' actors and the thread of the fetcher.
    arbiters: [Arbiter; 2],
}

impl Server {
    /// Starts to listen and to serve. The server serves the models of now and those that `set` adds later. It needs an actix
    /// `System` in the current thread.
    ///
    /// # Errors
    /// `Unavailable` if a listener cannot open its address.
    pub fn start(config: &Config, models: Models, set: Option<Arc<ModelSet>>) -> Result<Self, Error> {
        // The fetcher has a thread of its own, so that a fetch does not delay a model's next batch.
        let fetching = start_arbiter(log::end_process);
        let shared = Shared::new(config, &models, set, &fetching);
        let (http, grpc, admin) = (shared.http(config)?, shared.grpc(config)?, shared.admin(config)?);
        follow_files(config, &models.look_again);
        Ok(Self { http, grpc, admin, shared, drain: config.drain, arbiters: [models.arbiter, fetching] })
    }

    /// The address of the HTTP port. For port 0 this is the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// The address of the gRPC port, if there is one.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(GrpcListener::address)
    }

    /// The address of the admin port, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Listener::address)
    }

    /// Serves until a signal comes, then stops. Gives the exit code of the process. A second signal ends the process at once. Before
    /// the first signal, it ends without a stop when `failed` gives the reason why there is nothing to serve. It also ends so at a
    /// signal that comes before any model was served.
    ///
    /// # Errors
    /// That of `failed`; if a listener fails.
    pub async fn serve_until(self, mut signals: Signals, failed: impl Future<Output = Error>) -> Result<u8, Error> {
        let name = tokio::select! {
            name = signals.next() => name,
            error = failed => return Err(error),
        };
        let state = &self.shared.state;
        if state.health.readiness() == Readiness::Loading && state.catalog.serves_none() {
            tracing::info!("{name}: stopping before any model was served");
            return Ok(0);
        }
        let Drain { delay, timeout } = self.drain;
        let limit = timeout.as_millis();
        tracing::info!("{name}: no longer ready; serving for {} ms more, then finishing the requests in flight", delay.as_millis());
        actix::spawn(async move {
            let again = Instant::now() + SECOND_SIGNAL_AFTER;
            while timeout_at(again.into(), signals.next()).await.is_ok() {}
            signals.next().await;
            tracing::warn!("second signal: stopping at once");
            log::end_process(SECOND_SIGNAL_EXIT);
        });
        let late = move || {
            tracing::error!("the stop did not end by itself after {limit} ms (--drain_timeout_ms): ending it now");
            log::end_process(CUT_OFF_EXIT);
        };
        // It stays until the process ends, since something may be held until then. Without a thread for it, the parts keep their limits.
        let _ = TimeLimit::start(Instant::now() + timeout + AFTER_REQUESTS, late).map(std::mem::forget);
        match self.stop().await.map_err(|error| Error::internal(error.to_string()))? {
            Stopped::Finished => {
                tracing::info!("stopped; every request was answered");
                Ok(0)
            }
            Stopped::CutOff(requests) => {
                tracing::error!(
                    "stopped after {limit} ms (--drain_timeout_ms): cut off {requests} requests that were not finished"
                );
                Ok(CUT_OFF_EXIT)
            }
        }
    }

    /// Stops: the server reports that it is not ready, accepts no more connections after a delay, and finishes the requests in
    /// flight. Then the actors and run threads end. If this takes longer than the limit, it gives up, and the process should
    /// exit. The parts that stop after the requests end two seconds later at most.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn stop(self) -> io::Result<Stopped> {
        let limit = Instant::now() + self.drain.timeout;
        let end = limit + AFTER_REQUESTS;
        self.shared.state.health.draining.store(true, Ordering::Relaxed);
        self.http.drain();
        tokio::time::sleep(self.drain.delay).await;
        let http = timeout_at(limit.into(), self.http.stop(limit));
        let grpc = async {
            match self.grpc {
                Some(grpc) => grpc.stop(limit).await,
                None => 0,
            }
        };
        let (http, calls) = futures::future::join(http, grpc).await;
        let requests = match http {
            Ok(ended) => ended.map(|()| 0)?,
            // Connections without a request may be left, which are no loss.
            Err(_) => self.shared.answers.bodies.ledger.shares(Holding::Heads),
        };
        // A part of what follows that takes longer loses nothing of a client's.
        let telemetry = timeout_at(end.into(), self.shared.telemetry.stop());
        if calls + requests > 0 {
            let _ = telemetry.await;
            return Ok(Stopped::CutOff(calls + requests));
        }
        // The admin port closes last, so that operators can watch the stop.
        if let Some(admin) = self.admin {
            timeout_at(end.into(), admin.cut_off()).await.unwrap_or(Ok(()))?;
        }
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        let _ = telemetry.await;
        Ok(Stopped::Finished)
    }
}

/// How a server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All requests were answered.
    Finished,
    /// The given number of requests was cut off.
    CutOff(usize),
}
