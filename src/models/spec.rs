//! Keeps models served: which there are, which of their versions, where they come from, and when they change.
//!
//! [`Keepers`] has a `keeper` for each model, which looks, loads and swaps; `versions` is what it knows of versions, [`policy`]
//! which of them are to be served, [`defaults`] what their file says of inputs, [`warmup`] what is replayed before one is. [`model_config`] reads a file of models.

pub mod defaults;
mod keeper;
mod keepers;
pub mod model_config;
pub mod policy;
mod versions;
pub mod warmup;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use tfweb_engine::{Error, Session};
use tokio::sync::Semaphore;

use crate::catalog::{Catalog, Version};
use tfweb_store::{Cache, Env, ModelUri};

use defaults::Defaults;
pub use keepers::Keepers;
use policy::VersionPolicy;

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// What it is called in routes.
    pub name: String,
    /// Where it comes from.
    pub uri: ModelUri,
    /// Which of its versions are served.
    pub policy: VersionPolicy,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// How often to look for others; never if zero; by the kind of place if not said.
    pub poll: Option<Duration>,
}

/// A model that is loaded and not yet served.
pub struct Loaded {
    /// Runs it.
    pub session: Arc<dyn Session>,
    /// What it has for inputs that a request leaves out.
    pub defaults: Defaults,
}

/// Loads the SavedModel in a directory. Blocks.
pub type Load = Arc<dyn Fn(&Path) -> Result<Loaded, Error> + Send + Sync>;

/// What all keepers share.
pub struct Keeping {
    /// Where they put what they serve.
    pub catalog: Arc<Catalog>,
    /// Where they put what they bring from elsewhere, if said.
    pub cache_dir: Option<PathBuf>,
    /// The same, once it was needed.
    pub cache: OnceLock<Cache>,
    /// Where credentials are.
    pub env: Env,
    /// How they load.
    pub load: Load,
    /// One model is loaded at a time: side by side, they would take the machine from those that run.
    pub loading: Semaphore,
}

impl Keeping {
    /// The cache; opened when it is first asked for, since local models do without.
    fn cache(&self) -> Result<Cache, Error> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache.clone());
        }
        let cache = Cache::open(self.cache_dir.as_deref(), &self.env)?;
        Ok(self.cache.get_or_init(|| cache).clone())
    }

    /// Loads a version on a thread of its own, one at a time.
    async fn load(&self, model: &str, number: u64, directory: PathBuf) -> Result<Arc<Version>, Error> {
        let _turn = self.loading.acquire().await.map_err(|error| Error::internal(error.to_string()))?;
        let start = Instant::now();
        let (reply, loaded) = oneshot::channel();
        let load = Arc::clone(&self.load);
        let work = move || drop(reply.send(load(&directory)));
        thread::Builder::new().name("tfweb-load".into()).spawn(work).map_err(|error| Error::internal(error.to_string()))?;
        let loaded = loaded.await.map_err(|_| Error::internal("loading panicked; this is a bug"))??;
        self.catalog.start((model, number), loaded, start.elapsed())
    }
}
