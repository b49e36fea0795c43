//! Serves TensorFlow SavedModels over HTTP. The way of a request:
//!
//! 1. [`http`]: the door gives it an id and finds the route of its protocol.
//! 2. [`protocol`]: looks up the signature in the [`catalog`], reads the [`body`] within its limits and decodes it ([`json`](tfweb_codec::json))
//!    into tensors of the signature's dtypes and shapes.
//! 3. [`predict`]: the use case, the same for every protocol; has what [`urls`] name fetched
//!    ([`tfweb_actors::fetcher::FetcherHandle`]) and hands the tensors to the signature's actor
//!    ([`tfweb_actors::ModelHandle`]), where they wait, share a run, and come back.
//! 4. [`protocol`]: encodes the outputs, or the error by the code's [`status`].
//!
//! Models come from directories, stores and archives by way of [`store`]; [`keeping`] looks for new versions, loads them,
//! and swaps them in the catalog.
//!
//! [`config`] is what the user asked for, [`server`] starts and stops it all, [`health`] tells others how it is, [`telemetry`] what
//! it did.

#![forbid(unsafe_code)]

pub mod access;
mod apart;
pub mod body;
pub mod catalog;
pub mod config;
pub mod grpc;
pub mod health;
pub mod healthcheck;
pub mod http;
mod http2;
pub mod keeping;
mod listener;
pub mod liveness;
pub mod metrics;
pub mod operations;
pub mod predict;
pub mod protocol;
pub mod record;
pub mod reread;
pub mod server;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod urls;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix::Arbiter;
use tfweb_engine::tensorflow::{load_library, version, SavedModelSession};
use tfweb_engine::{Error, Session};
use tokio::sync::Semaphore;

use config::Config;
use keeping::{defaults, model_config, warmup, Keepers, Keeping, Loaded, ModelSpec};
use server::{Models, Server, Signals};
use tfweb_store::Env;

/// Loads the models and serves them until a signal.
///
/// # Errors
/// What cannot be found, loaded or listened on, in one line. That some models are missing is none, as long as one is there.
pub fn serve(config: &Config) -> Result<(), Error> {
    let start = Instant::now();
    let library = load_library(config.tensorflow_lib.as_deref())?;
    tracing::info!("TensorFlow {} from {} in {} ms", version(), library.display(), start.elapsed().as_millis());
    actix::System::new().block_on(async {
        let system = |error: std::io::Error| Error::internal(error.to_string());
        let mut signals = Signals::listen().map_err(system)?;
        let models = Models::new(config)?;
        let keepers = Arc::new(keep(config, &models));
        let specs = specs(config)?;
        let rounds = tokio::select! {
            rounds = keepers.start(&specs) => rounds,
            name = signals.next() => {
                tracing::info!("{name}: stopping, though nothing was served yet");
                return Ok(());
            }
        };
        if let (Some(Err(error)), true) = (rounds.first(), rounds.iter().all(Result::is_err)) {
            return Err(error.clone());
        }
        if let Some(file) = &config.model_config {
            keepers.follow(file, &specs[config.models.len()..]);
        }
        let server = Server::start(config, models, Some(keepers))?;
        if let Some(address) = server.grpc_address() {
            tracing::info!("gRPC on {address}");
        }
        if let Some(address) = server.admin_address() {
            tracing::info!("health on http://{address}");
        }
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        tracing::info!("ready: listening on {scheme}://{}", server.address());
        server.serve_until(signals).await.map_err(system)
    })
}

/// The models of flags and file.
fn specs(config: &Config) -> Result<Vec<ModelSpec>, Error> {
    let mut specs = config.models.clone();
    if let Some(file) = &config.model_config {
        let listed = model_config::read(&file.path)?;
        if let Some(twice) = listed.iter().find(|spec| config.models.iter().any(|other| other.name == spec.name)) {
            return Err(Error::invalid(format!("`{}`: --model names `{}` too", file.path.display(), twice.name)));
        }
        specs.extend(listed);
    }
    Ok(specs)
}

/// Makes keepers that put models into the catalog; they keep none yet.
#[must_use]
pub fn keep(config: &Config, models: &Models) -> Keepers {
    let (tags, inter_op) = (config.tags.clone(), config.inter_op);
    let keeping = Keeping {
        catalog: Arc::clone(&models.catalog),
        cache_dir: config.cache_dir.clone(),
        cache: OnceLock::new(),
        env: Env::process(),
        load: Arc::new(move |directory: &Path| {
            let session: Arc<dyn Session> = Arc::new(SavedModelSession::load(directory, &tags, inter_op)?);
            warmup::replay(&*session, directory)?;
            Ok(Loaded { session, defaults: defaults::read(directory, &tags)? })
        }),
        loading: Semaphore::new(1),
    };
    Keepers::new(keeping, Arbiter::new())
}
