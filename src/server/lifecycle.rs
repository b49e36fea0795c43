//! Listens, serves, and stops everything in order.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use tfweb_engine::Error;

use super::parts::{follow_files, Models, Shared};
use super::signals::Signals;
use crate::config::{Config, Drain};
use crate::models::ModelSet;
use crate::observe::log;
use crate::transport::grpc::GrpcListener;
use crate::transport::http::Listener;

/// A signal this soon after the first is the same wish sent twice, as `timeout` and terminals do.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(250);
/// The exit code when a second signal cuts a stop short: 128 + SIGINT, as shells report it.
const SECOND_SIGNAL_EXIT: i32 = 130;
/// The exit code when `--drain_timeout_ms` cuts requests off: EX_TEMPFAIL of sysexits.h, for they may be tried again.
const CUT_OFF_EXIT: i32 = 75;

/// A server that listens.
pub struct Server {
    http: Listener,
    grpc: Option<GrpcListener>,
    admin: Option<Listener>,
    shared: Shared,
    drain: Drain,
    /// The threads of the models' actors, and of the fetcher.
    arbiters: [Arbiter; 2],
}

impl Server {
    /// Starts to listen and serves the models, those of now and of later; `set` may be told to change them. Needs an actix
    /// `System` in the current thread.
    ///
    /// # Errors
    /// `Unavailable` where the address cannot be listened on.
    pub fn start(config: &Config, models: Models, set: Option<Arc<ModelSet>>) -> Result<Self, Error> {
        // Its own thread: a fetch must not come between a model and its next batch.
        let fetching = Arbiter::new();
        let shared = Shared::new(config, &models, set, &fetching);
        let (http, grpc, admin) = (shared.http(config)?, shared.grpc(config)?, shared.admin(config)?);
        follow_files(config);
        Ok(Self { http, grpc, admin, shared, drain: config.drain, arbiters: [models.arbiter, fetching] })
    }

    /// Where it listens; with port 0 the one that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where it listens for gRPC, if on a port.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(GrpcListener::address)
    }

    /// Where operators ask for health and figures, if on a port of its own.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Listener::address)
    }

    /// Serves until a signal, then stops; a second one ends the process at once, and so does the limit of a stop.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve_until(self, mut signals: Signals) -> io::Result<()> {
        let name = signals.next().await;
        let Drain { delay, timeout } = self.drain;
        let limit = timeout.as_millis();
        tracing::info!("{name}: no longer ready, serving on for {} ms, then finishing what is here", delay.as_millis());
        actix::spawn(async move {
            let again = Instant::now() + SECOND_SIGNAL_AFTER;
            while tokio::time::timeout_at(again.into(), signals.next()).await.is_ok() {}
            signals.next().await;
            tracing::warn!("second signal: stopping at once");
            log::flush();
            std::process::exit(SECOND_SIGNAL_EXIT);
        });
        match self.stop().await? {
            Stopped::Finished => tracing::info!("stopped; every request that was here is answered"),
            Stopped::CutOff(requests) => {
                tracing::error!(
                    "stopped after {limit} ms (--drain_timeout_ms): cut off {requests} requests that were not finished"
                );
                log::flush();
                std::process::exit(CUT_OFF_EXIT);
            }
        }
        Ok(())
    }

    /// Stops: readiness goes, after a moment accepting ends, requests in flight finish, then the actors and run threads end. Where
    /// that takes too long, ends as it is; then the process should end too.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn stop(self) -> io::Result<Stopped> {
        let limit = Instant::now() + self.drain.timeout;
        self.shared.state.health.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.drain.delay).await;
        let http = tokio::time::timeout_at(limit.into(), self.http.stop(limit));
        let grpc = async {
            match self.grpc {
                Some(grpc) => grpc.stop(limit).await,
                None => Ok(0),
            }
        };
        let (http, grpc) = futures::future::join(http, grpc).await;
        match (http, grpc?) {
            (Ok(ended), 0) => ended?,
            (_, grpc) => {
                self.shared.telemetry.stop().await;
                return Ok(Stopped::CutOff(grpc + self.shared.answers.bodies.room.requests()));
            }
        }
        // Last, so that it can be watched how the others end.
        if let Some(admin) = self.admin {
            admin.cut_off().await?;
        }
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        self.shared.telemetry.stop().await;
        Ok(Stopped::Finished)
    }
}

/// How a server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All requests were answered.
    Finished,
    /// So many were not.
    CutOff(usize),
}
