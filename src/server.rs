//! Starts the actors, binds the listener, and stops everything in order.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use actix_web::dev::ServerHandle;
use actix_web::{web, HttpServer};
use tfweb_actors::admission::Admission;
use tfweb_actors::fetcher::FetcherHandle;
use tfweb_actors::{exit_on_actor_panic, Policy};
use tfweb_engine::{Code, Error};
use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::body::{Limits, BODIES_BYTES_MAX};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::grpc::Grpc;
use crate::http::{mount, App, RequestIds};
use crate::keeping::Keepers;

/// How long an idle connection is kept: longer than load balancers keep theirs (60 s is common), so that they close first and
/// never send into a closing connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a stop waits for requests in flight beyond their own deadline.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// How long the listener still serves after readiness is gone: answers tell clients to close their connections meanwhile, so
/// that few send into a closing one.
const DRAIN_DELAY: Duration = Duration::from_millis(250);
/// A signal this soon after the first is the same wish sent twice, as `timeout` and terminals do.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(250);
/// Connections a worker holds at most; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// The exit code when a second signal cuts a stop short: 128 + SIGINT, as shells report it.
const SECOND_SIGNAL_EXIT: i32 = 130;

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

/// A catalog and the thread of its models' actors.
pub struct Models {
    /// What is served.
    pub catalog: Arc<Catalog>,
    arbiter: Arbiter,
}

impl Models {
    /// Starts a thread for models' actors, of which there are none yet. Needs an actix `System` in the current thread.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let arbiter = Arbiter::new();
        exit_on_actor_panic(&arbiter.handle());
        let policy = Policy {
            batch_rows_max: config.batch_rows_max,
            queue_requests_max: config.queue_requests_max,
            queue_bytes_max: config.queue_bytes_max,
            run_threads: config.run_threads,
        };
        Self { catalog: Arc::new(Catalog::new(policy, arbiter.handle())), arbiter }
    }
}

/// A server that listens.
pub struct Server {
    address: SocketAddr,
    app: web::Data<App>,
    handle: ServerHandle,
    ended: tokio::task::JoinHandle<io::Result<()>>,
    grpc: Option<Grpc>,
    stop_wait: Duration,
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
        let app = web::Data::new(App {
            catalog: Arc::clone(&models.catalog),
            keepers,
            admin_token: config.admin_token.clone(),
            strict_readiness: config.strict_readiness,
            batch_transpose: config.batch_transpose,
            cors: config.cors,
            has_static_files: config.static_path.is_some(),
            fetcher: config.fetch.clone().map(|policy| FetcherHandle::start(&fetching.handle(), policy)),
            bodies: Limits { body_bytes_max: config.body_bytes_max, room: Admission::new(usize::MAX, BODIES_BYTES_MAX) },
            request_timeout: config.request_timeout,
            draining: AtomicBool::new(false),
            recorder: Arc::default(),
            request_ids: RequestIds::default(),
        });
        let stop_wait = config.request_timeout + STOP_MARGIN;
        let shared = app.clone();
        let static_path = config.static_path.clone();
        let http =
            HttpServer::new(move || actix_web::App::new().configure(|services| mount(services, &shared, static_path.as_deref())))
                .disable_signals()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD_WAIT)
                .max_connections(CONNECTIONS_MAX)
                // A client that closes is gone: its request is dropped, and costs no run if none began.
                .h1_allow_half_closed(false)
                .shutdown_timeout(stop_wait.as_secs());
        let place = (config.host.as_str(), config.port);
        let http = http
            .bind(place)
            .map_err(|error| Error::new(Code::Unavailable, format!("cannot listen on {}:{}: {error}", config.host, config.port)))?;
        let address = http.addrs()[0];
        let grpc = config.grpc.as_ref().map(|grpc| Grpc::start(&config.host, grpc, app.clone().into_inner())).transpose()?;
        let server = http.run();
        let handle = server.handle();
        let ended = actix::spawn(server);
        Ok(Self { address, app, handle, ended, grpc, stop_wait, arbiters: [models.arbiter, fetching] })
    }

    /// Where it listens; with port 0 the one that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for gRPC, if on a port.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(Grpc::address)
    }

    /// Serves until a signal, then stops; a second one ends the process at once.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve_until(self, mut signals: Signals) -> io::Result<()> {
        let name = signals.next().await;
        tracing::info!("{name}: finishing the requests that are here, then stopping");
        actix::spawn(async move {
            let again = Instant::now() + SECOND_SIGNAL_AFTER;
            while tokio::time::timeout_at(again.into(), signals.next()).await.is_ok() {}
            signals.next().await;
            tracing::warn!("second signal: stopping at once");
            std::process::exit(SECOND_SIGNAL_EXIT);
        });
        self.stop().await
    }

    /// Stops: readiness goes, after a moment accepting ends, requests in flight finish, then the actors and run threads end.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn stop(self) -> io::Result<()> {
        self.app.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(DRAIN_DELAY).await;
        let wait = self.stop_wait;
        let grpc = async {
            match self.grpc {
                Some(grpc) => grpc.stop(wait).await,
                None => Ok(()),
            }
        };
        let ((), stopped) = futures::future::join(self.handle.stop(true), grpc).await;
        self.ended.await.map_err(io::Error::other)??;
        stopped?;
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        Ok(())
    }
}
