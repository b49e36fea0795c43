//! Starts the actors, binds the listener, and stops everything in order.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use actix_web::web;
use tfweb_actors::fetcher::FetcherHandle;
use tfweb_actors::{exit_on_actor_panic, Heartbeat, Policy};
use tfweb_engine::{Code, Error};
use tfweb_limits::Admission;
use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::body::{Limits, BODIES_BYTES_MAX};
use crate::catalog::Catalog;
use crate::config::{Config, Drain};
use crate::grpc::Grpc;
use crate::http::{mount, App, RequestIds};
use crate::keeping::Keepers;
use crate::listener::{Listener, Listening, HTTP2};
use crate::liveness::Liveness;
use crate::operations::Operations;
use crate::reread;
use crate::telemetry::{log, Telemetry};

/// How long an idle connection is kept: longer than load balancers keep theirs (60 s is common), so that they close first and
/// never send into a closing connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A signal this soon after the first is the same wish sent twice, as `timeout` and terminals do.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(250);
/// Connections a worker holds at most; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// The exit code when a second signal cuts a stop short: 128 + SIGINT, as shells report it.
const SECOND_SIGNAL_EXIT: i32 = 130;
/// The exit code when `--drain_timeout_ms` cuts requests off: EX_TEMPFAIL of sysexits.h, for they may be tried again.
const CUT_OFF_EXIT: i32 = 75;

/// The signals that end a server. Listened for before it takes requests, so that none ends it unprepared.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts listening for SIGTERM and SIGINT.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one; gives its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A catalog, the thread of its models' actors, and what watches them.
pub struct Models {
    /// What is served.
    pub catalog: Arc<Catalog>,
    telemetry: Arc<Telemetry>,
    arbiter: Arbiter,
}

impl Models {
    /// Starts a thread for models' actors, of which there are none yet. Needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// `Internal` where traces cannot be sent.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let telemetry = Arc::new(Telemetry::start(&config.telemetry)?);
        let arbiter = Arbiter::new();
        exit_on_actor_panic(&arbiter.handle());
        let policy = Policy {
            batch_rows_max: config.batch_rows_max,
            queue_requests_max: config.queue_requests_max,
            queue_bytes_max: config.queue_bytes_max,
            run_threads: config.run_threads,
        };
        let catalog = Arc::new(Catalog::new(policy, arbiter.handle(), telemetry.tracer().cloned()));
        Ok(Self { catalog, telemetry, arbiter })
    }
}

/// A server that listens.
pub struct Server {
    http: Listener,
    app: web::Data<App>,
    grpc: Option<Grpc>,
    operations: Option<Operations>,
    drain: Drain,
    telemetry: Arc<Telemetry>,
    /// Of the models, and of the fetcher.
    arbiters: [Arbiter; 2],
}

impl Server {
    /// Starts to listen and serves what `models` has, now and later; `keepers` may be told to change it. Needs an actix `System`
    /// in the current thread.
    ///
    /// # Errors
    /// `Unavailable` where the address cannot be listened on.
    pub fn start(config: &Config, models: Models, keepers: Option<Arc<Keepers>>) -> Result<Self, Error> {
        // Its own thread: a fetch must not come between a model and its next batch.
        let fetching = Arbiter::new();
        let app = share(config, &models, keepers, &fetching);
        let http = http_door(config, &app).map_err(|error| unavailable(&config.host, config.port, &error))?;
        let grpc = config.grpc.as_ref();
        let grpc = grpc.map(|grpc| Grpc::start(&config.host, grpc, config.tls.as_ref(), app.clone().into_inner())).transpose()?;
        let operations = config
            .admin_address
            .as_ref()
            .map(|(host, port)| Operations::start(host, *port, &app).map_err(|error| unavailable(host, *port, &error)));
        let operations = operations.transpose()?;
        follow_files(config);
        let telemetry = models.telemetry;
        let arbiters = [models.arbiter, fetching];
        Ok(Self { http, app, grpc, operations, drain: config.drain, telemetry, arbiters })
    }

    /// Where it listens; with port 0 the one that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where it listens for gRPC, if on a port.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(Grpc::address)
    }

    /// Where it says how it is, if on a port of its own.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.operations.as_ref().map(Operations::address)
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
        self.app.draining.store(true, Ordering::Relaxed);
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
                self.telemetry.stop().await;
                return Ok(Stopped::CutOff(grpc + self.app.bodies.room.requests()));
            }
        }
        // Last, so that it can be watched how the others end.
        if let Some(operations) = self.operations {
            operations.stop().await?;
        }
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        self.telemetry.stop().await;
        Ok(Stopped::Finished)
    }
}

/// Opens the HTTP door, over TLS or not.
fn http_door(config: &Config, app: &web::Data<App>) -> io::Result<Listener> {
    let (app, static_path) = (app.clone(), config.static_path.clone());
    let tls = config.tls.as_ref().map(|tls| tls.server_config(&[HTTP2, b"http/1.1"]).map_err(io::Error::other));
    let listening = Listening {
        tls: tls.transpose()?,
        workers: None,
        connections_max: CONNECTIONS_MAX,
        keep_alive: KEEP_ALIVE,
        // Not the limit, which is kept by `stop`, but behind it: this one is in whole seconds.
        stop_seconds: config.drain.timeout.as_secs() + 1,
        is_observed: app.telemetry.observes(),
    };
    Listener::start((&config.host, config.port), &listening, move |services| mount(services, &app, static_path.as_deref()))
}

/// What all doors share.
fn share(config: &Config, models: &Models, keepers: Option<Arc<Keepers>>, fetching: &Arbiter) -> web::Data<App> {
    web::Data::new(App {
        catalog: Arc::clone(&models.catalog),
        keepers,
        access: Arc::clone(&config.access),
        strict_readiness: config.strict_readiness,
        batch_transpose: config.batch_transpose,
        cors: config.cors,
        has_static_files: config.static_path.is_some(),
        has_admin_port: config.admin_address.is_some(),
        fetcher: config.fetch.clone().map(|policy| FetcherHandle::start(&fetching.handle(), policy)),
        bodies: Limits { body_bytes_max: config.body_bytes_max, room: Admission::new(usize::MAX, BODIES_BYTES_MAX) },
        request_timeout: config.request_timeout,
        liveness: Liveness {
            stuck_after: config.stuck_after,
            threads: [
                ("the models' actors", Heartbeat::start(&models.arbiter.handle())),
                ("the fetcher", Heartbeat::start(&fetching.handle())),
            ],
        },
        draining: AtomicBool::new(false),
        recorder: Arc::default(),
        request_ids: RequestIds::default(),
        telemetry: Arc::clone(&models.telemetry),
    })
}

fn unavailable(host: &str, port: u16, error: &io::Error) -> Error {
    Error::new(Code::Unavailable, format!("cannot listen on {host}:{port}: {error}"))
}

/// Reads tokens and certificates again when they change.
fn follow_files(config: &Config) {
    if let Some(tls) = config.tls.clone() {
        tls.warn_of_end();
        reread::follow("TLS", move || tls.reread());
    }
    for (what, tokens) in [("--api_token_file", &config.access.api), ("--admin_token_file", &config.access.admin)] {
        if let Some(tokens) = tokens.clone().filter(|tokens| tokens.has_file()) {
            reread::follow(what, move || tokens.reread());
        }
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
