//! Makes the parts of a server and connects them.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use actix::Arbiter;
use tfweb_actors::fetcher::FetcherHandle;
use tfweb_actors::{start_arbiter, Heartbeat, Policy};
use tfweb_engine::tensorflow::SavedModelSession;
use tfweb_engine::{quoted, Code, Error, Session};
use tfweb_limits::Ledger;
use tfweb_store::Env;

use crate::config::Config;
use crate::models::spec::check_unique;
use crate::models::{config_file, defaults, warmup, Catalog, Load, Loaded, Loader, ModelSet, ModelSpec, Turns};
use crate::observe::log::one_line;
use crate::observe::metrics::Registry;
use crate::observe::{log, RequestFigures, Telemetry};
use crate::protocols::{self, Parts};
use crate::serving::{Health, State};
use crate::transport::grpc::{GrpcListener, GrpcParts};
use crate::transport::http::{Answers, Cors, HttpServices, Listener, ListenerSettings, HTTP2};
use crate::transport::{requests_bytes_max, BodyLimits, RequestIds};
use crate::watched_files::{self, LookAgain};

/// The most bytes that requests at the admin port hold together.
const ADMIN_REQUESTS_BYTES_MAX: usize = 64 << 20;

/// The models with the thread of their actors, their metrics and their traces.
pub struct Models {
    /// The models that are served.
    pub catalog: Arc<Catalog>,
    registry: Arc<Registry>,
    /// The memory of all requests.
    ledger: Arc<Ledger>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) arbiter: Arbiter,
    pub(super) look_again: LookAgain,
}

impl Models {
    /// Starts the thread of the models' actors. The catalog is empty at first. All that look for changes do so at once when
    /// `look_again` says so. It needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// `Internal` if the sender of traces cannot start.
    pub fn new(config: &Config, look_again: LookAgain) -> Result<Self, Error> {
        let telemetry = Arc::new(Telemetry::start(&config.telemetry)?);
        let registry = Arc::new(Registry::new(protocols::NAMES));
        let message_bytes_max = config.grpc.as_ref().map_or(0, |grpc| grpc.message_bytes_max);
        let ledger = Ledger::new(requests_bytes_max(config.body_bytes_max, message_bytes_max));
        let arbiter = start_arbiter(log::end_process);
        Ok(Self { catalog: Arc::default(), registry, ledger, telemetry, arbiter, look_again })
    }

    /// Makes the loader of all models.
    #[must_use]
    pub fn loader(&self, config: &Config) -> Loader {
        let (tags, inter_op) = (config.tags.clone(), config.inter_op);
        let load: Load = Arc::new(move |directory: &Path| {
            let session = SavedModelSession::load(directory, &tags, inter_op)?;
            for (signature, reason) in session.untried() {
                let (directory, name) = (directory.display(), quoted(&signature.name));
                tracing::info!("`{directory}`, signature {name}: not tried at load: {reason}");
            }
            if let Some(error) = session.initialiser_error() {
                tracing::warn!("{}; loaded without its initialiser", one_line(&error.message));
            }
            let session: Arc<dyn Session> = Arc::new(session);
            warmup::replay(&*session, directory)?;
            Ok(Loaded { session, defaults: defaults::read(directory, &tags)? })
        });
        Loader {
            cache_dir: config.cache_dir.clone(),
            env: Env::process(),
            load,
            policy: Policy {
                batch_rows_max: config.batch_rows_max,
                queue_requests_max: config.queue_requests_max,
                queue_bytes_max: config.queue_bytes_max,
                run_threads: config.run_threads,
            },
            arbiter: self.arbiter.handle(),
            ledger: Arc::clone(&self.ledger),
            registry: Arc::clone(&self.registry),
            tracer: self.telemetry.tracer().cloned(),
            cache: OnceLock::new(),
            turns: Turns::default(),
        }
    }

    /// Makes an empty set of models. Its watchers load into the catalog.
    #[must_use]
    pub fn set(&self, config: &Config) -> ModelSet {
        ModelSet::new(Arc::clone(&self.catalog), self.loader(config), start_arbiter(log::end_process), self.look_again.clone())
    }
}

/// Reads the models of the flags and of the file of models.
///
/// # Errors
/// `InvalidArgument` for a file that cannot be read, or that has a model of the same name as a flag.
pub fn model_specs(config: &Config) -> Result<Vec<ModelSpec>, Error> {
    let mut specs = config.models.clone();
    if let Some(file) = &config.model_config {
        let listed = config_file::read(&file.path)?;
        for spec in &listed {
            let unique = check_unique(spec, &config.models);
            unique.map_err(|error| Error::invalid(format!("--model and `{}`: {error}", file.path.display())))?;
        }
        specs.extend(listed);
    }
    Ok(specs)
}

/// The parts that the listeners share.
pub(super) struct Shared {
    pub(super) state: Arc<State>,
    pub(super) answers: Arc<Answers>,
    pub(super) telemetry: Arc<Telemetry>,
}

impl Shared {
    pub(super) fn new(config: &Config, models: &Models, set: Option<Arc<ModelSet>>, fetching: &Arbiter) -> Self {
        let ledger = Arc::clone(&models.ledger);
        let health = Health {
            catalog: Arc::clone(&models.catalog),
            stuck_after: config.stuck_after,
            threads: [
                ("the models' actors", Heartbeat::start(&models.arbiter.handle())),
                ("the fetcher", Heartbeat::start(&fetching.handle())),
            ],
            is_strict: config.strict_readiness,
            draining: AtomicBool::new(false),
        };
        let state = State {
            catalog: Arc::clone(&models.catalog),
            models: set,
            fetcher: config.fetch.clone().map(|policy| FetcherHandle::start(&fetching.handle(), policy, Arc::clone(&ledger))),
            request_timeout: config.request_timeout,
            requests: Arc::new(RequestFigures::new(protocols::NAMES)),
            ledger: Arc::clone(&ledger),
            registry: Arc::clone(&models.registry),
            health,
        };
        let answers = Answers {
            bodies: BodyLimits { body_bytes_max: config.body_bytes_max, ledger },
            cors: config.cors.clone(),
            request_ids: Arc::new(RequestIds::default()),
            is_observed: models.telemetry.observes(),
            not_found: |path| Error::new(Code::NotFound, format!("no route {}; see GET / and GET /models", quoted(path))),
            has_unknown_options: true,
        };
        Self { state: Arc::new(state), answers: Arc::new(answers), telemetry: Arc::clone(&models.telemetry) }
    }

    fn parts<'a>(&'a self, config: &'a Config, is_admin_port: bool) -> Parts<'a> {
        Parts { state: &self.state, access: &config.access, settings: &config.protocols, is_admin_port }
    }

    /// Opens the HTTP listener, with TLS or without.
    pub(super) fn http(&self, config: &Config) -> Result<Listener, Error> {
        let tls = config.tls.as_ref().map(|tls| tls.server_config(&[HTTP2, b"http/1.1"])).transpose()?;
        // `Server::stop` keeps the limit. The listener's own limit has whole seconds, so it is set to end later.
        let settings = ListenerSettings::main(tls, config.keep_alive, config.drain.timeout.as_secs() + 1);
        let services = HttpServices {
            protocols: protocols::http(&self.parts(config, false)),
            access: Some(Arc::clone(&config.access)),
            answers: Arc::clone(&self.answers),
            telemetry: self.answers.is_observed.then(|| Arc::clone(&self.telemetry)),
        };
        Listener::start(&config.host, config.port, &settings, &services)
            .map_err(|error| unavailable(&config.host, config.port, &error))
    }

    /// Opens the admin port (`--admin_port`): plain HTTP without tokens, for networks that only operators reach.
    pub(super) fn admin(&self, config: &Config) -> Result<Option<Listener>, Error> {
        let Some((host, port)) = &config.admin_address else { return Ok(None) };
        let not_found = |path: &str| {
            let text = format!("no route {} on the port for operation; models are served on the other port", quoted(path));
            Error::new(Code::NotFound, text)
        };
        let services = HttpServices {
            protocols: protocols::http(&self.parts(config, true)),
            access: None,
            answers: Arc::new(Answers {
                not_found,
                has_unknown_options: false,
                cors: Cors::Nobody,
                is_observed: false,
                // Callers of the other port cannot fill it.
                bodies: BodyLimits { ledger: Ledger::new(ADMIN_REQUESTS_BYTES_MAX), ..self.answers.bodies.clone() },
                ..Answers::clone(&self.answers)
            }),
            telemetry: None,
        };
        let listener = Listener::start(host, *port, &ListenerSettings::admin(), &services);
        listener.map(Some).map_err(|error| unavailable(host, *port, &error))
    }

    /// Opens the gRPC listener.
    pub(super) fn grpc(&self, config: &Config) -> Result<Option<GrpcListener>, Error> {
        let Some(settings) = &config.grpc else { return Ok(None) };
        let parts = GrpcParts {
            protocols: protocols::grpc(&self.parts(config, false)),
            tls: config.tls.clone(),
            access: Arc::clone(&config.access),
            bodies: self.answers.bodies.clone(),
            request_timeout: config.request_timeout,
            request_ids: Arc::clone(&self.answers.request_ids),
            telemetry: Arc::clone(&self.telemetry),
        };
        GrpcListener::start(&config.host, settings, parts).map(Some)
    }
}

fn unavailable(host: &str, port: u16, error: &io::Error) -> Error {
    Error::new(Code::Unavailable, format!("cannot listen on {host}:{port}: {error}"))
}

/// Reads tokens and certificates again when their files change.
pub(super) fn follow_files(config: &Config, again: &LookAgain) {
    if let Some(tls) = config.tls.clone() {
        tls.warn_if_expiring();
        watched_files::follow("TLS", tls.paths(), again.clone(), move |contents| tls.take(contents));
    }
    for (what, tokens) in [("--api_token_file", &config.access.api), ("--admin_token_file", &config.access.admin)] {
        let Some(tokens) = tokens.clone() else { continue };
        if let Some(path) = tokens.file() {
            watched_files::follow(what, vec![path], again.clone(), move |contents| tokens.take(contents));
        }
    }
}
