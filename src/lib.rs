//! Serves TensorFlow SavedModels over HTTP and gRPC. A request passes these modules:
//!
//! 1. [`transport`]: the listener gives the request an id, checks its token, and finds the route of its protocol.
//! 2. [`protocols`]: finds the signature among the [`models`], reads the body within its limits, and decodes it
//!    ([`tfweb_codec::json`]) into tensors of the signature's dtypes and shapes.
//! 3. [`serving`]: the use case of every protocol. It fetches URLs
//!    ([`tfweb_actors::fetcher::FetcherHandle`]) and sends the tensors to the signature's actor
//!    ([`tfweb_actors::ModelHandle`]). There they wait, share a run with others, and come back as outputs.
//! 4. [`protocols`]: encodes the outputs, or the error with its [`status`].
//!
//! [`server`] builds all parts from a [`config`]. [`observe`] measures and logs. The modules are in one order: server, config,
//! protocols, serving and transport, models, observe, status. Each may use only those after it.

#![forbid(unsafe_code)]

pub mod config;
pub mod healthcheck;
pub mod models;
pub mod observe;
pub mod protocols;
pub mod server;
pub mod serving;
pub mod status;
pub mod transport;
pub mod watched_files;

use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::tensorflow::{load_library, version};
use tfweb_engine::Error;

use config::Config;
use server::{model_specs, Models, Server, Signals};

/// Loads the models and serves them until a signal comes.
///
/// # Errors
/// One line about what cannot be found, loaded or listened on. The server starts if at least one model can be loaded.
pub fn serve(config: &Config) -> Result<(), Error> {
    let start = Instant::now();
    let library = load_library(config.tensorflow_lib.as_deref())?;
    tracing::info!("TensorFlow {} from {} in {} ms", version(), library.display(), start.elapsed().as_millis());
    actix::System::new().block_on(async {
        let system = |error: std::io::Error| Error::internal(error.to_string());
        let mut signals = Signals::listen().map_err(system)?;
        let models = Models::new(config)?;
        let set = Arc::new(models.set(config));
        let specs = model_specs(config)?;
        let updates = tokio::select! {
            updates = set.start(&specs) => updates,
            name = signals.next() => {
                tracing::info!("{name}: stopping before any model was served");
                return Ok(());
            }
        };
        match updates.as_slice() {
            [Err(error)] => return Err(error.clone()),
            // The log has a line for each model.
            [Err(error), others @ ..] if others.iter().all(Result::is_err) => {
                let text = format!("none of the {} models can be served; see above for why", updates.len());
                return Err(Error::new(error.code, text));
            }
            _ => {}
        }
        if let Some(file) = &config.model_config {
            set.follow(file, &specs[config.models.len()..]);
        }
        let server = Server::start(config, models, Some(set))?;
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
