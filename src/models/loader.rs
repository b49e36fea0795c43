//! Loads a version: its session, its actors and its metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use futures::channel::oneshot;
use tfweb_actors::{start_model, ModelHandle, Policy, SignatureFigures};
use tfweb_engine::{Code, Error, Session, Tensor};
use tfweb_limits::Ledger;
use tfweb_store::{Cache, Env, Origin, Version as ListedVersion};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::defaults::Defaults;
use super::model::{Servable, Version};
use crate::observe::log::one_line;
use crate::observe::metrics::{Registry, RunCounter, SignatureMeter};
use crate::observe::Tracer;

/// How long a load keeps its turn. Most models are loaded by then.
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
    /// The most rows in one run of some signatures, by `model/signature`.
    pub chosen_rows: Arc<BTreeMap<String, usize>>,
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

/// Lets loads begin side by side, one for each core, as long as no model serves. A load that is asked for later begins alone, for it
/// would take the processors from the models that serve. A load that takes long keeps its turn only for a second, so that one slow
/// model does not hold up the others.
pub struct Turns {
    /// A load takes one turn of these, or all of them to begin alone.
    beginning: Semaphore,
    cores: u32,
    has_served: AtomicBool,
    running: Arc<Semaphore>,
}

impl Turns {
    /// Makes the turns of a machine with `cores` cores.
    #[must_use]
    pub fn new(cores: u32) -> Self {
        let (beginning, running) = (Semaphore::new(cores as usize), Arc::new(Semaphore::new(LOADS_MAX)));
        Self { beginning, cores, has_served: AtomicBool::new(false), running }
    }

    /// Waits until a load may begin. The turn ends when the permit is dropped.
    async fn begin(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        let turns = if self.has_served.load(Ordering::Relaxed) { self.cores } else { 1 };
        self.beginning.acquire_many(turns).await
    }
}

impl Default for Turns {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(LOADS_MAX));
        Self::new(u32::try_from(cores).expect("at most the most loads; this is a bug"))
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
        let turn = self.turns.begin().await.map_err(closed)?;
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
        let version = self.start(model, number, loaded, start.elapsed())?;
        self.turns.has_served.store(true, Ordering::Relaxed);
        Ok(version)
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
        let chosen = |signature: &str| self.chosen_rows.get(&format!("{model}/{signature}")).copied();
        let handles = start_model(&self.arbiter, &session, self.policy, &self.ledger, figures, chosen)
            .map_err(|error| Error::internal(format!("cannot start run threads: {error}")))?;
        for signature in self.not_chosen(model, &session) {
            tracing::warn!(
                "--batch_size names {model}/{signature}, which is no signature of that model whose requests could share runs"
            );
        }
        let servable = |(index, handle): (usize, ModelHandle)| {
            let name = &handle.signature().name;
            let defaults: BTreeMap<String, Tensor> = defaults.remove(name).unwrap_or_default();
            let trial = session.trial(index);
            Servable { meter: metrics.signature(name), defaults, trial, handle }
        };
        let servables = handles.into_iter().enumerate().map(servable).collect();
        Ok(Arc::new(Version { number, servables, lacks: session.lacks(), _metrics: metrics }))
    }

    /// The signatures of a model that are chosen by name, and that are not there or have no rows.
    fn not_chosen<'a>(&'a self, model: &'a str, session: &'a Arc<dyn Session>) -> impl Iterator<Item = &'a str> {
        let has_rows = |name: &str| session.signatures().iter().any(|signature| signature.name == name && signature.is_batchable());
        let of_model = move |name: &'a String| name.strip_prefix(model)?.strip_prefix('/');
        self.chosen_rows.keys().filter_map(of_model).filter(move |name| !has_rows(name))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// The turn of a load, if it has come.
    fn begun(turns: &Turns) -> Option<SemaphorePermit<'_>> {
        turns.begin().now_or_never().map(|turn| turn.expect("never closed"))
    }

    #[test]
    fn loads_begin_side_by_side_until_a_model_serves() {
        let turns = Turns::new(2);
        let (first, second) = (begun(&turns), begun(&turns));
        assert!(first.is_some() && second.is_some() && begun(&turns).is_none(), "one for each core");
        let mut at_start = Box::pin(turns.begin());
        assert!(at_start.as_mut().now_or_never().is_none());
        turns.has_served.store(true, Ordering::Relaxed);
        let mut alone = Box::pin(turns.begin());
        drop((first, second));
        let at_start = at_start.now_or_never().expect("it was asked for at the start");
        assert!(alone.as_mut().now_or_never().is_none(), "another load begins");
        drop(at_start);
        let alone = alone.now_or_never().expect("no other load begins");
        assert!(begun(&turns).is_none(), "nor does a further one");
        drop(alone);
        assert!(begun(&turns).is_some());
    }
}
