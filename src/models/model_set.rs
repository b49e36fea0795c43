//! The models that are served, by name, and the watcher of each.

use std::sync::{Arc, Mutex, PoisonError};

use actix::Arbiter;
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

/// Changes that wait for one watcher. Whoever finds its queue full waits too.
const CHANGES_MAX: usize = 16;

/// Hears how the first look for a model ended.
type FirstLook = oneshot::Receiver<Result<(), Error>>;

/// Adds, changes and removes models.
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
    /// Makes an empty set whose watchers run in `arbiter` and fill `catalog`. Dropped, they and the arbiter stop.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, loader: Loader, arbiter: Arbiter) -> Self {
        Self { catalog, loader: Arc::new(loader), arbiter, watched: Mutex::default() }
    }

    /// Adds models. Ends when each has been looked for once, with what went wrong by model.
    pub async fn start(&self, specs: &[ModelSpec]) -> Vec<Result<(), Error>> {
        let is_alone = specs.len() == 1;
        let looks: Vec<FirstLook> = specs.iter().map(|spec| self.watch(spec.clone(), is_alone)).collect();
        join_all(looks).await.into_iter().map(|look| look.unwrap_or_else(|_| Err(gone()))).collect()
    }

    /// Follows a file of models; the set has those of its first reading already. A model that is added to the file is added here,
    /// one that is changed there is changed, and one that is no longer in it is removed. A file that cannot be read changes
    /// nothing.
    pub fn follow(self: &Arc<Self>, file: &ModelConfigFile, first: &[ModelSpec]) {
        let Some(poll) = file.poll else { return };
        let (models, path, mut applied) = (Arc::downgrade(self), file.path.clone(), first.to_vec());
        self.arbiter.spawn(async move {
            let mut said = String::new();
            loop {
                tokio::time::sleep(poll).await;
                let Some(models) = models.upgrade() else { return };
                match config_file::read(&path) {
                    Ok(wanted) => {
                        said.clear();
                        models.apply(&mut applied, wanted).await;
                    }
                    // Said once for as long as it stays so.
                    Err(error) if said != error.message => {
                        tracing::warn!("{error}; what was read before stays");
                        said = error.message;
                    }
                    Err(_) => {}
                }
            }
        });
    }

    /// Changes the models that a file has named into those that it names now.
    async fn apply(&self, applied: &mut Vec<ModelSpec>, wanted: Vec<ModelSpec>) {
        let (stay, gone): (Vec<_>, _) =
            std::mem::take(applied).into_iter().partition(|old| wanted.iter().any(|new| new.name == old.name));
        *applied = stay;
        for spec in gone {
            tracing::info!("model {:?}: no longer in the file of models", spec.name);
            let _ = self.remove(&spec.name).await;
        }
        for spec in wanted {
            match applied.iter().position(|old| old.name == spec.name) {
                Some(index) if applied[index] == spec => {}
                // If it fails, the old one is served on, and the next reading tries again.
                Some(index) => {
                    if self.set(spec.clone()).await.is_ok() {
                        applied[index] = spec;
                    }
                }
                None if self.lock().iter().any(|watched| watched.name == spec.name) => {
                    tracing::warn!("model {:?} of the file of models is served from elsewhere already", spec.name);
                }
                None => {
                    // Its watcher goes on trying by itself.
                    drop(self.watch(spec.clone(), false));
                    applied.push(spec);
                }
            }
        }
    }

    /// Adds a model, or serves another under its name. If no version of it can be served, nothing changes.
    ///
    /// # Errors
    /// Why nothing can be.
    pub async fn set(&self, spec: ModelSpec) -> Result<(), Error> {
        let name = spec.name.clone();
        let changes = self.lock().iter().find(|watched| watched.name == name).map(|watched| watched.changes.clone());
        let Some(changes) = changes else {
            let looked = self.watch(spec, false).await.unwrap_or_else(|_| Err(gone()));
            if looked.is_err() {
                let _ = self.remove(&name).await;
            }
            return looked;
        };
        let (reply, changed) = oneshot::channel();
        changes.send(Change { spec, reply }).await.map_err(|_| gone())?;
        changed.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Removes a model. Requests that run on it finish.
    ///
    /// # Errors
    /// `NotFound` if it is not there.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let found = {
            let mut watched = self.lock();
            watched.iter().position(|watched| watched.name == name).map(|index| watched.remove(index))
        };
        let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("no model {} to remove", quoted(name))))?;
        // A download, which may take hours, ends here.
        found.task.abort();
        let (done, removed) = oneshot::channel();
        let (catalog, name) = (Arc::clone(&self.catalog), name.to_owned());
        // On the watchers' own thread: a watcher that was just at work can put nothing into the catalog after this.
        self.arbiter.spawn(async move {
            catalog.remove(&name);
            let _ = done.send(());
        });
        removed.await.map_err(|_| gone())
    }

    /// Serves these models and no others. A model that is served now is removed only after all of these can be called.
    ///
    /// # Errors
    /// Why one of them cannot be called. Those before it are served then, and none was removed.
    pub async fn replace(&self, specs: Vec<ModelSpec>) -> Result<(), Error> {
        let kept: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        for spec in specs {
            let name = spec.name.clone();
            let named = |error: Error| Error::new(error.code, format!("model {}: {error}", quoted(&name)));
            self.set(spec).await.map_err(named)?;
        }
        let gone: Vec<String> =
            self.lock().iter().map(|watched| watched.name.clone()).filter(|name| !kept.contains(name)).collect();
        for name in gone {
            self.remove(&name).await?;
        }
        Ok(())
    }

    /// Starts to watch a model. If the model `is_alone`, the process ends when the first look fails, and says why.
    fn watch(&self, spec: ModelSpec, is_alone: bool) -> FirstLook {
        // The catalog has it from now on, in this order, though no version of it is served yet.
        self.catalog.put(Model { name: spec.name.clone(), labels: spec.labels.clone(), ..Model::default() });
        let (first, looked) = oneshot::channel();
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let name = spec.name.clone();
        let watcher = Watcher::new(Arc::clone(&self.catalog), Arc::clone(&self.loader), spec, is_alone);
        let (watching, task) = abortable(watcher.run(first, changes));
        self.lock().push(Watched { name, changes: sender, task });
        self.arbiter.spawn(async move {
            let _ = watching.await;
        });
        looked
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

fn gone() -> Error {
    Error::internal("the model's watcher is gone; this is a bug")
}
