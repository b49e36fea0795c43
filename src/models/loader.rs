//! Loads a version: its session, its actors and its metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use futures::channel::oneshot;
use tfweb_actors::{start_model, ModelHandle, Policy, SignatureFigures};
use tfweb_engine::{Code, Error, Session, Tensor};
use tfweb_limits::Ledger;
use tfweb_store::{Cache, Env, Origin, Version as ListedVersion};
use tokio::sync::{AcquireError, Semaphore};
use tokio::time::timeout;

use super::defaults::Defaults;
use super::model::{Servable, Version};
use crate::observe::log::one_line;
use crate::observe::metrics::{Registry, RunCounter, SignatureMeter};
use crate::observe::Tracer;

/// How long a load is the only one that begins. Most models are loaded by then.
const TURN_TIME: Duration = Duration::from_secs(1);
/// The most loads at the same time.
const LOADS_MAX: usize = 8;

/// A SavedModel that is loaded and not served yet.
pub struct Loaded {
    /// Runs the model.
    pub session: Arc<dyn Session>,
    /// The default tensors of inputs, by signature.
    pub defaults: Defaults,
}

/// Loads the SavedModel in a directory. It blocks the thread.
pub type Load = Arc<dyn Fn(&Path) -> Result<Loaded, Error> + Send + Sync>;

/// The settings and shared parts that every load needs. All models share one loader.
pub struct Loader {
    /// Where downloaded models are kept; `None` for the default directory.
    pub cache_dir: Option<PathBuf>,
    /// The environment variables that hold the credentials of stores.
    pub env: Env,
    /// Loads a SavedModel.
    pub load: Load,
    /// The limits of each signature.
    pub policy: Policy,
    /// The thread on which the models' actors run.
    pub arbiter: ArbiterHandle,
    /// The memory of all requests.
    pub ledger: Arc<Ledger>,
    /// The metrics of every version.
    pub registry: Arc<Registry>,
    /// Traces runs; `None` where traces are off.
    pub tracer: Option<Arc<Tracer>>,
    /// The cache, after the first model that needed it.
    pub cache: OnceLock<Cache>,
    /// Gives loads their turns.
    pub turns: Turns,
}

/// Lets loads begin one after another: side by side they would take the processors from the models that serve. A load that takes
/// long keeps its turn only for a second, so that one slow model does not hold up the others.
pub struct Turns {
    beginning: Semaphore,
    running: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { beginning: Semaphore::new(1), running: Arc::new(Semaphore::new(LOADS_MAX)) }
    }
}

impl Loader {
    /// The cache. The first call opens it: a server with only local models needs none.
    pub(super) fn cache(&self) -> Result<Cache, Error> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache.clone());
        }
        let cache = Cache::open(self.cache_dir.as_deref(), &self.env)?;
        Ok(self.cache.get_or_init(|| cache).clone())
    }

    /// Downloads and loads a version. If it does not load, its origin may have sent wrong bytes, so it is downloaded again, once.
    pub(super) async fn bring(&self, model: &str, origin: &Origin, version: &ListedVersion) -> Result<Arc<Version>, Error> {
        let directory = origin.download(version).await?;
        let error = match self.load(model, version.number, directory).await {
            Err(error) if !matches!(error.code, Code::Unavailable | Code::ResourceExhausted) => error,
            loaded => return loaded,
        };
        match origin.download_again(version).await {
            Ok(Some(directory)) => {
                let (number, error) = (version.number, one_line(&error.message));
                tracing::warn!("model {model:?} version {number}: {error}; a second download gave other files");
                self.load(model, version.number, directory).await
            }
            Ok(None) => Err(error),
            Err(again) => Err(Error::new(again.code, format!("{error}; it could not be downloaded again: {again}"))),
        }
    }

    /// Loads a version on a thread of its own, when it is its turn. Requests find the version only after the watcher
    /// has put it into the catalog.
    async fn load(&self, model: &str, number: u64, directory: PathBuf) -> Result<Arc<Version>, Error> {
        let closed = |error: AcquireError| Error::internal(error.to_string());
        let turn = self.turns.beginning.acquire().await.map_err(closed)?;
        let place = Arc::clone(&self.turns.running).acquire_owned().await.map_err(closed)?;
        let start = Instant::now();
        let (reply, mut loaded) = oneshot::channel();
        let load = Arc::clone(&self.load);
        let work = move || {
            let _ = reply.send(load(&directory));
            // A load cannot be interrupted. It keeps its place to its end, also if nobody waits for it any more.
            drop(place);
        };
        thread::Builder::new().name("tfweb-load".into()).spawn(work).map_err(|error| Error::internal(error.to_string()))?;
        let in_turn = timeout(TURN_TIME, &mut loaded).await;
        drop(turn);
        let loaded = match in_turn {
            Ok(loaded) => loaded,
            Err(_) => loaded.await,
        };
        let loaded = loaded.map_err(|_| Error::internal("loading panicked; this is a bug"))??;
        self.start(model, number, loaded, start.elapsed())
    }

    /// Starts the actors of a version. The load took `load_time`.
    ///
    /// # Errors
    /// `Internal` if the system cannot start more threads.
    pub fn start(&self, model: &str, number: u64, loaded: Loaded, load_time: Duration) -> Result<Arc<Version>, Error> {
        let Loaded { session, mut defaults } = loaded;
        let metrics = self.registry.version(model, number);
        metrics.set_load_time(load_time);
        let figures = |signature: &str| {
            let SignatureMeter { labels, metrics } = metrics.signature(signature);
            let tracer = self.tracer.as_ref().map(|tracer| tracer.of_signature(labels));
            let observer = Arc::new(RunCounter { figures: Arc::clone(&metrics.runs), tracer });
            SignatureFigures { gauges: Arc::clone(&metrics.gauges), observer }
        };
        let handles = start_model(&self.arbiter, &session, self.policy, &self.ledger, figures)
            .map_err(|error| Error::internal(format!("cannot start run threads: {error}")))?;
        let servable = |(index, handle): (usize, ModelHandle)| {
            let name = &handle.signature().name;
            let defaults: BTreeMap<String, Tensor> = defaults.remove(name).unwrap_or_default();
            let trial = session.trial(index);
            Servable { meter: metrics.signature(name), defaults, trial, handle }
        };
        let servables = handles.into_iter().enumerate().map(servable).collect();
        Ok(Arc::new(Version { number, servables, lacks_assets: session.lacks_assets(), _metrics: metrics }))
    }
}
