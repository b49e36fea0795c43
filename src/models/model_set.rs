//! Adds, changes and removes models. Each model has a watcher.

use std::sync::{Arc, Mutex, PoisonError};

use actix::Arbiter;
use actix_web::web;
use futures::channel::oneshot;
use futures::future::{abortable, join_all, AbortHandle};
use tfweb_engine::{quoted, Code, Error};
use tokio::sync::mpsc;

use super::catalog::Catalog;
use super::config_file::{self, ModelConfigFile};
use super::loader::Loader;
use super::model::Model;
use super::spec::ModelSpec;
use super::watcher::{Change, Watcher};
use crate::watched_files::WatchedFiles;

/// The most changes that wait for one watcher. A caller that finds this queue full waits for a free place.
const CHANGES_MAX: usize = 16;

/// Receives the result of a model's first update.
type FirstUpdate = oneshot::Receiver<Result<(), Error>>;

/// The models that the server serves, each with its watcher.
pub struct ModelSet {
    catalog: Arc<Catalog>,
    loader: Arc<Loader>,
    arbiter: Arbiter,
    watched: Mutex<Vec<Watched>>,
}

/// A model and the task that watches it.
struct Watched {
    name: String,
    changes: mpsc::Sender<Change>,
    task: AbortHandle,
}

impl ModelSet {
    /// Makes an empty set. Its watchers run on `arbiter` and fill `catalog`. When the set is dropped, the watchers and the
    /// arbiter stop.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, loader: Loader, arbiter: Arbiter) -> Self {
        Self { catalog, loader: Arc::new(loader), arbiter, watched: Mutex::default() }
    }

    /// Adds models. Waits until each watcher has done its first update, and gives one result for each model, in order.
    pub async fn start(&self, specs: &[ModelSpec]) -> Vec<Result<(), Error>> {
        let is_alone = specs.len() == 1;
        let updates: Vec<FirstUpdate> = specs.iter().map(|spec| self.watch(spec.clone(), is_alone)).collect();
        join_all(updates).await.into_iter().map(|updated| updated.unwrap_or_else(|_| Err(watcher_ended()))).collect()
    }

    /// Follows a file of models, whose first contents (`first`) the set already has. A model that is new in the file is added, a
    /// changed one is changed, and one that is no longer in the file is removed. If the file cannot be read, nothing changes.
    pub fn follow(self: &Arc<Self>, file: &ModelConfigFile, first: &[ModelSpec]) {
        let Some(poll) = file.poll else { return };
        let watched = Arc::new((WatchedFiles::new(vec![file.path.clone()]), file.path.clone()));
        let (models, mut wanted, mut applied) = (Arc::downgrade(self), first.to_vec(), first.to_vec());
        self.arbiter.spawn(async move {
            let mut last_error = String::new();
            loop {
                tokio::time::sleep(poll).await;
                let file = Arc::clone(&watched);
                let look = move || file.0.look()?.map(|contents| config_file::parse(&file.1, &contents)).transpose();
                let looked = web::block(look).await.unwrap_or_else(|error| Err(Error::internal(error.to_string())));
                let Some(models) = models.upgrade() else { return };
                match looked {
                    Ok(changed) => {
                        last_error.clear();
                        wanted = changed.unwrap_or(wanted);
                        models.apply(&mut applied, wanted.clone()).await;
                    }
                    // Logs the same error only once.
                    Err(error) if last_error != error.message => {
                        tracing::warn!("{error}; what was read before stays");
                        last_error = error.message;
                    }
                    Err(_) => {}
                }
            }
        });
    }

    /// Changes the models that the file named before (`applied`) into those that it names now (`wanted`).
    async fn apply(&self, applied: &mut Vec<ModelSpec>, wanted: Vec<ModelSpec>) {
        let (kept, removed): (Vec<_>, _) =
            std::mem::take(applied).into_iter().partition(|old| wanted.iter().any(|new| new.name == old.name));
        *applied = kept;
        for spec in removed {
            tracing::info!("model {:?}: no longer in the file of models", spec.name);
            let _ = self.remove(&spec.name).await;
        }
        for spec in wanted {
            match applied.iter().position(|old| old.name == spec.name) {
                Some(index) if applied[index] == spec => {}
                // If the change fails, the old model stays, and the next reading of the file tries again.
                Some(index) => {
                    if self.set(spec.clone()).await.is_ok() {
                        applied[index] = spec;
                    }
                }
                None if self.lock().iter().any(|watched| watched.name == spec.name) => {
                    tracing::warn!(
                        "model {:?} of the file of models is ignored: a flag or a request has added a model of that name",
                        spec.name
                    );
                }
                None => {
                    // If the first update fails, the watcher tries again by itself.
                    drop(self.watch(spec.clone(), false));
                    applied.push(spec);
                }
            }
        }
    }

    /// Adds a model, or changes the model of the same name. If no version of the new model can be served, nothing changes.
    ///
    /// # Errors
    /// The reason why no version can be served.
    pub async fn set(&self, spec: ModelSpec) -> Result<(), Error> {
        let name = spec.name.clone();
        let changes = self.lock().iter().find(|watched| watched.name == name).map(|watched| watched.changes.clone());
        let Some(changes) = changes else {
            let updated = self.watch(spec, false).await.unwrap_or_else(|_| Err(watcher_ended()));
            if updated.is_err() {
                let _ = self.remove(&name).await;
            }
            return updated;
        };
        let (reply, changed) = oneshot::channel();
        changes.send(Change { spec, reply }).await.map_err(|_| watcher_ended())?;
        changed.await.unwrap_or_else(|_| Err(watcher_ended()))
    }

    /// Removes a model. Its running requests finish.
    ///
    /// # Errors
    /// `NotFound` for a name that is not in the set.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let found = {
            let mut watched = self.lock();
            watched.iter().position(|watched| watched.name == name).map(|index| watched.remove(index))
        };
        let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("no model {} to remove", quoted(name))))?;
        // This ends a download too, which may have hours to go.
        found.task.abort();
        let (done, removed) = oneshot::channel();
        let (catalog, name) = (Arc::clone(&self.catalog), name.to_owned());
        // Runs on the watchers' thread, after the aborted watcher has yielded, so that the watcher cannot put the model back.
        self.arbiter.spawn(async move {
            catalog.remove(&name);
            let _ = done.send(());
        });
        removed.await.map_err(|_| watcher_ended())
    }

    /// Serves exactly these models. Models that are not in the list are removed, but only after every model in the list can be
    /// called.
    ///
    /// # Errors
    /// The error of the first model that cannot be served. The models before it in the list are served then, and no model was
    /// removed.
    pub async fn replace(&self, specs: Vec<ModelSpec>) -> Result<(), Error> {
        let kept: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        for spec in specs {
            let name = spec.name.clone();
            let named = |error: Error| Error::new(error.code, format!("model {}: {error}", quoted(&name)));
            self.set(spec).await.map_err(named)?;
        }
        let removed: Vec<String> =
            self.lock().iter().map(|watched| watched.name.clone()).filter(|name| !kept.contains(name)).collect();
        for name in removed {
            self.remove(&name).await?;
        }
        Ok(())
    }

    /// Starts to watch a model. If the model `is_alone`, a failed first update ends the process, so its error is not logged
    /// twice.
    fn watch(&self, spec: ModelSpec, is_alone: bool) -> FirstUpdate {
        // The model takes its place in the catalog's order now, before it has a version to serve.
        self.catalog.put(Model { name: spec.name.clone(), labels: spec.labels.clone(), ..Model::default() });
        let (first, updated) = oneshot::channel();
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let name = spec.name.clone();
        let watcher = Watcher::new(Arc::clone(&self.catalog), Arc::clone(&self.loader), spec, is_alone);
        let (watching, task) = abortable(watcher.run(first, changes));
        self.lock().push(Watched { name, changes: sender, task });
        self.arbiter.spawn(async move {
            let _ = watching.await;
        });
        updated
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ModelSet {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

fn watcher_ended() -> Error {
    Error::internal("the model's watcher is gone; this is a bug")
}
