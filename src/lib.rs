//! Serves TensorFlow SavedModels over HTTP. The way of a request:
//!
//! 1. [`http`]: the door gives it an id and finds the route of its protocol.
//! 2. [`protocol`]: looks up the signature in the [`catalog`], reads the [`body`] within its limits and decodes it ([`json`])
//!    into tensors of the signature's dtypes and shapes.
//! 3. [`predict`]: the use case, the same for every protocol; has what [`urls`] name fetched
//!    ([`tfweb_actors::fetcher::FetcherHandle`]) and hands the tensors to the signature's actor
//!    ([`tfweb_actors::ModelHandle`]), where they wait, share a run, and come back.
//! 4. [`protocol`]: encodes the outputs, or the error by the code's [`status`].
//!
//! Models come from directories, stores and archives by way of [`store`].
//!
//! [`config`] is what the user asked for, [`server`] starts and stops it all, [`health`] tells others how it is.

#![forbid(unsafe_code)]

pub mod body;
pub mod catalog;
pub mod config;
pub mod health;
pub mod http;
pub mod json;
pub mod predict;
pub mod protocol;
pub mod server;
pub mod status;
pub mod store;
pub mod urls;

use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::tensorflow::{load_library, version, SavedModelSession};
use tfweb_engine::{saved_model, Error, Session};

use catalog::Loaded;
use config::{Config, ModelSource};
use server::{Server, Signals};

/// Loads the models and serves them until a signal.
///
/// # Errors
/// What cannot be found, loaded or listened on, in one line.
pub fn serve(config: &Config) -> Result<(), Error> {
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let start = Instant::now();
    let library = load_library(config.tensorflow_lib.as_deref())?;
    tracing::info!("TensorFlow {} from {} in {} ms", version(), library.display(), start.elapsed().as_millis());
    let models = config.models.iter().map(|source| load(source, config)).collect::<Result<Vec<_>, _>>()?;
    actix::System::new().block_on(async {
        let system = |error: std::io::Error| Error::internal(error.to_string());
        let signals = Signals::listen().map_err(system)?;
        let server = Server::start(config, models)?;
        for model in server.catalog().models() {
            announce(model);
        }
        tracing::info!("ready: listening on http://{}", server.address());
        server.serve_until(signals).await.map_err(system)
    })
}

/// Loads one model's newest version.
///
/// # Errors
/// `NotFound` where there is none; otherwise TensorFlow's own.
pub fn load(source: &ModelSource, config: &Config) -> Result<Loaded, Error> {
    let start = Instant::now();
    let located = saved_model::locate(&source.path)?;
    let session = SavedModelSession::load(&located.directory, &config.tags, config.inter_op)?;
    tracing::info!("model {:?} version {} loaded in {} ms", source.name, located.version, start.elapsed().as_millis());
    let session: Arc<dyn Session> = Arc::new(session);
    Ok(Loaded { name: source.name.clone(), version: located.version, session })
}

fn announce(model: &catalog::Model) {
    for servable in &model.servables {
        let name = &servable.handle.signature().name;
        match &servable.warning {
            Some(warning) => tracing::warn!("model {:?}, signature {name:?}: {}", model.name, warning.replace("\n\t", " ")),
            None => tracing::debug!("model {:?}, signature {name:?}", model.name),
        }
    }
}
