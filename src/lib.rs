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

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Instant;

use futures::channel::oneshot;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tfweb_engine::tensorflow::{load_library, set_intra_op_threads, version};
use tfweb_engine::Error;

use config::Config;
use models::{Catalog, Update};
use observe::log::one_line;
use server::{model_specs, Models, Server, Signals};

/// Opens the ports, loads the models, and serves them until a signal comes. It serves each model from when that is loaded. Gives the
/// exit code of the process. The process should end then without exit handlers ([`observe::log::end_process`]), since TensorFlow
/// may still run operations.
///
/// # Errors
/// One line about what cannot be found or listened on, or that no model can be loaded.
pub fn serve(config: &Config) -> Result<u8, Error> {
    transport::descriptors::raise();
    // Not dropped: the drop waits for tasks that block, such as reading a file on a network that does not answer.
    let actix_system = ManuallyDrop::new(actix::System::new());
    actix_system.block_on(async {
        let signals = Signals::listen().map_err(|error| Error::internal(error.to_string()))?;
        open_tensorflow(config)?;
        let models = Models::new(config, signals.look_again.clone())?;
        let (set, catalog) = (Arc::new(models.set(config)), Arc::clone(&models.catalog));
        let specs = model_specs(config)?;
        // The models are known before the ports are open: a request that comes early learns that its model is not loaded yet, and
        // not that there is no such model.
        let (open, opened) = oneshot::channel();
        let updates = set.start(&specs, &opened.shared());
        let server = Server::start(config, models, Some(Arc::clone(&set)))?;
        if let Some(address) = server.grpc_address() {
            tracing::info!("gRPC on {address}");
        }
        if let Some(address) = server.admin_address() {
            tracing::info!("health on http://{address}");
        }
        let url = format!("{}://{}", if config.tls.is_some() { "https" } else { "http" }, server.address());
        tracing::info!("{url} is open; models to load: {}", specs.len());
        let _ = open.send(());
        if let Some(file) = &config.model_config {
            set.follow(file, &specs[config.models.len()..]);
        }
        server.serve_until(signals, follow_start(updates, &catalog, &url)).await
    })
}

fn open_tensorflow(config: &Config) -> Result<(), Error> {
    let start = Instant::now();
    let library = load_library(config.tensorflow_lib.as_deref())?;
    tracing::info!("TensorFlow {} from {} in {} ms", version(), library.display(), start.elapsed().as_millis());
    if let Some(threads) = config.intra_op_threads {
        set_intra_op_threads(threads);
    }
    Ok(())
}

/// Logs when the first model can be called, and when all have been tried. Ends only if nothing can be served, and gives the reason.
async fn follow_start(updates: Vec<Update>, catalog: &Catalog, url: &str) -> Error {
    let ready = || tracing::info!("ready: listening on {url}");
    let mut updates: FuturesUnordered<_> = updates.into_iter().collect();
    let (count, mut served, mut reason) = (updates.len(), 0, None);
    while let Some(updated) = updates.next().await {
        match updated {
            Some(Ok(())) => {
                served += 1;
                if served == 1 {
                    ready();
                }
            }
            Some(Err(error)) => reason = Some(error),
            None => {}
        }
    }
    // A request may have added another model meanwhile.
    let has_none = catalog.serves_none();
    match reason {
        Some(error) if has_none && count == 1 => return error,
        Some(error) if count == 1 => tracing::warn!("{}", one_line(&error.message)),
        // The log has a line for each model.
        Some(error) if has_none => {
            return Error::new(error.code, format!("none of the {count} models can be served; see above for why"))
        }
        Some(_) | None => {}
    }
    if served == 0 {
        ready();
    }
    tracing::info!("models loaded: {served} of {count}");
    futures::future::pending().await
}
