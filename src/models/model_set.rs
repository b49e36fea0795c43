//! Adds, changes and removes models while the server runs.

use std::future::Future;
use std::sync::Arc;

use actix::Arbiter;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use tfweb_engine::{Code, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::catalog::Catalog;
use super::config_file::ModelConfigFile;
use super::followed_file;
use super::loader::Loader;
use super::spec::ModelSpec;
use super::watchers::{Opened, Watchers};
use crate::watched_files::LookAgain;

/// The most changes at the same time, those that wait for others included. A further one is refused. It bounds the memory of
/// changes whose callers have gone away.
const CHANGES_MAX: usize = 64;

/// Gives the result of a model's first update; `None` if the model was removed before.
pub type Update = BoxFuture<'static, Option<Result<(), Error>>>;

/// The models that the server serves, each with its watcher.
///
/// A change that has begun ends, whether or not its caller waits for it. Changes of one model are made one after another. So are
/// changes of all models.
pub struct ModelSet {
    watchers: Arc<Watchers>,
    arbiter: Arbiter,
    places: Arc<Semaphore>,
}

impl ModelSet {
    /// Makes an empty set. Its watchers run on `arbiter` and fill `catalog`. They look for changes at once when `look_again` says
    /// so. When the set is dropped, the watchers and the arbiter stop.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, loader: Loader, arbiter: Arbiter, look_again: LookAgain) -> Self {
        let watchers = Arc::new(Watchers::new(catalog, loader, arbiter.handle(), look_again));
        Self { watchers, arbiter, places: Arc::new(Semaphore::new(CHANGES_MAX)) }
    }

    /// Adds models. From now on they are known, and not loaded yet. They are loaded when the ports are `opened`. Gives the result of
    /// the first update of each, in order. A model whose first update fails is tried again.
    pub fn start(&self, specs: &[ModelSpec], opened: &Opened) -> Vec<Update> {
        let is_alone = specs.len() == 1;
        let start = |spec: &ModelSpec| {
            let updated = self.watchers.add_after(opened.clone(), spec.clone(), is_alone);
            let update: Update = Box::pin(async { updated.await.ok() });
            update
        };
        specs.iter().map(start).collect()
    }

    /// Follows a file of models, whose first contents (`first`) the set already has.
    pub fn follow(&self, file: &ModelConfigFile, first: &[ModelSpec]) {
        self.arbiter.spawn(followed_file::follow(&self.watchers, file.clone(), first.to_vec()));
    }

    /// Adds a model, or changes the model of the same name. If no version of the new model can be served, nothing changes.
    ///
    /// # Errors
    /// The reason why no version can be served; `Unavailable` if the model was removed meanwhile, or if too many changes wait.
    pub async fn set(&self, spec: ModelSpec) -> Result<(), Error> {
        let (watchers, place) = (Arc::clone(&self.watchers), self.place()?);
        self.carry_out(async move {
            let _place = place;
            watchers.set(spec).await
        })
        .await
    }

    /// Removes a model. Its running requests finish. Changes of the model that are not made yet fail.
    ///
    /// # Errors
    /// `NotFound` for a name that is not in the set.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let (watchers, name) = (Arc::clone(&self.watchers), name.to_owned());
        self.carry_out(async move { watchers.remove(&name) }).await
    }

    /// Serves exactly these models. They replace the others in one step, after each of them can be called.
    ///
    /// # Errors
    /// The error of the first model that cannot be served. Nothing has changed then.
    pub async fn replace(&self, specs: Vec<ModelSpec>) -> Result<(), Error> {
        let (watchers, place) = (Arc::clone(&self.watchers), self.place()?);
        self.carry_out(async move {
            let _place = place;
            watchers.replace(specs).await
        })
        .await
    }

    /// Takes a place for a change that may wait.
    fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Error::new(Code::Unavailable, format!("{CHANGES_MAX} changes of models are under way; try again when some are made"))
        })
    }

    /// Makes a change on the watchers' thread, where it ends whether or not the caller waits for it.
    async fn carry_out(&self, change: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
        let (done, made) = oneshot::channel();
        self.arbiter.spawn(async move {
            // A caller that has left, such as one that got a 202, can learn of the failure only from the log.
            if let Err(Err(error)) = done.send(change.await) {
                tracing::warn!("a change of models failed after its caller had left, and nothing has changed: {error}");
            }
        });
        made.await.unwrap_or_else(|_| Err(Error::new(Code::Unavailable, "the server is stopping")))
    }
}

impl Drop for ModelSet {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}
