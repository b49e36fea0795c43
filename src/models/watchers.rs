//! The watchers of all models: adds and removes them, and passes changes on to them.
//!
//! Each change is made on one thread, which also runs the watchers. So no watcher runs while a model is added or removed, and a
//! watcher that was removed publishes nothing any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::ArbiterHandle;
use futures::channel::oneshot;
use futures::future::{abortable, AbortHandle, BoxFuture, Shared};
use futures::FutureExt;
use tfweb_engine::{quoted, Code, Error};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, Mutex as AsyncMutex};

use super::catalog::Catalog;
use super::loader::Loader;
use super::model::Model;
use super::spec::ModelSpec;
use super::supply::Supply;
use super::watcher::{Change, First, Leave, Watcher};
use crate::watched_files::LookAgain;

/// The most changes that wait for one watcher. A further one is refused.
const CHANGES_MAX: usize = 16;

/// Comes when the ports of the server are open. It is cancelled if they cannot be opened.
pub type Opened = Shared<oneshot::Receiver<()>>;

/// Receives the result of a model's first update.
pub(super) type FirstUpdate = oneshot::Receiver<Result<(), Error>>;

/// All watchers. See the [module](self).
pub(super) struct Watchers {
    pub(super) catalog: Arc<Catalog>,
    loader: Arc<Loader>,
    /// The thread of the watchers.
    thread: ArbiterHandle,
    watched: Mutex<Vec<Watched>>,
    /// Held by the change of all models that is being made.
    replacing: AsyncMutex<()>,
    pub(super) look_again: LookAgain,
}

/// A model and the task that watches it.
struct Watched {
    name: String,
    changes: mpsc::Sender<Change>,
    task: AbortHandle,
}

/// A change that a watcher makes.
pub(super) struct Pending {
    name: String,
    /// Receives the model when it can be called. It is cancelled if the model was removed meanwhile.
    pub(super) ready: oneshot::Receiver<Result<Model, Error>>,
    task: AbortHandle,
}

impl Watchers {
    pub(super) fn new(catalog: Arc<Catalog>, loader: Loader, thread: ArbiterHandle, look_again: LookAgain) -> Self {
        let (loader, watched) = (Arc::new(loader), Mutex::default());
        Self { catalog, loader, thread, watched, replacing: AsyncMutex::default(), look_again }
    }

    /// Whether there is a model of this name, or one that is being added.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lock().iter().any(|watched| watched.name == name)
    }

    /// Adds a model that stays, whatever its first update gives.
    pub(super) fn add(self: &Arc<Self>, spec: ModelSpec) {
        let (first, _) = oneshot::channel();
        let mut watched = self.lock();
        let (new, watching) = self.watcher(spec, false, Some(first));
        watched.push(new);
        self.thread.spawn(watching);
    }

    /// Adds a model in the same way, and loads it when the ports are `opened`. If the model `is_alone`, a failed first update ends the
    /// process, so its error is not logged twice.
    pub(super) fn add_after(self: &Arc<Self>, opened: Opened, spec: ModelSpec, is_alone: bool) -> FirstUpdate {
        let (first, updated) = oneshot::channel();
        let mut watched = self.lock();
        let (new, watching) = self.watcher(spec, is_alone, Some(first));
        watched.push(new);
        self.thread.spawn(async move {
            if opened.await.is_ok() {
                watching.await;
            }
        });
        updated
    }

    /// Adds a model, or changes the model of the same name. If no version of the new model can be served, nothing changes.
    ///
    /// # Errors
    /// The reason why no version can be served; `Unavailable` if the model was removed meanwhile.
    pub(super) async fn set(self: &Arc<Self>, spec: ModelSpec) -> Result<(), Error> {
        let Pending { name, ready, .. } = self.pass(spec, None)?;
        ready.await.unwrap_or_else(|_| Err(removed_meanwhile(&name))).map(drop)
    }

    /// Removes a model. Its running requests finish. Changes of the model that are not made yet fail.
    ///
    /// # Errors
    /// `NotFound` for a name that has no model.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let mut watched = self.lock();
        let found = watched.iter().position(|watched| watched.name == name);
        let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("no model {} to remove", quoted(name))))?;
        // This ends a download too, which may have hours to go.
        watched.remove(found).task.abort();
        self.catalog.remove(name);
        Ok(())
    }

    /// Serves exactly these models. They replace the others in one step, after each of them can be called.
    ///
    /// # Errors
    /// The error of the first model that cannot be served. Nothing has changed then.
    pub(super) async fn replace(self: &Arc<Self>, specs: Vec<ModelSpec>) -> Result<(), Error> {
        let _turn = self.replacing.lock().await;
        let passed = specs.into_iter().map(|spec| {
            let (go, gone) = oneshot::channel();
            Ok((go, self.pass(spec, Some(gone))?))
        });
        // A `go` that is dropped on the way out tells its watcher that nothing changes.
        let mut prepared = Vec::new();
        for (go, Pending { name, ready, task }) in passed.collect::<Result<Vec<_>, Error>>()? {
            let ready = ready.await.unwrap_or_else(|_| Err(removed_meanwhile(&name)));
            let model = ready.map_err(|error| Error::new(error.code, format!("model {}: {error}", quoted(&name))))?;
            prepared.push((go, model, task));
        }
        if let Some((_, model, _)) = prepared.iter().find(|(_, _, task)| task.is_aborted()) {
            return Err(removed_meanwhile(&model.name));
        }
        // Nothing below waits, so no watcher and no other change comes between.
        self.lock().retain(|watched| {
            let stays = prepared.iter().any(|(_, model, _)| model.name == watched.name);
            if !stays {
                watched.task.abort();
            }
            stays
        });
        let (goes, models): (Vec<_>, Vec<_>) = prepared.into_iter().map(|(go, model, _)| (go, model)).unzip();
        self.catalog.exchange(models);
        for go in goes {
            let _ = go.send(());
        }
        Ok(())
    }

    /// Passes a change to the watcher of its model. A model that is new gets a watcher for as long as one of its changes may
    /// succeed. With `go` the watcher waits for it before it serves the new model.
    ///
    /// # Errors
    /// `Unavailable` if too many changes of the model wait.
    pub(super) fn pass(self: &Arc<Self>, spec: ModelSpec, go: Option<oneshot::Receiver<()>>) -> Result<Pending, Error> {
        let mut watched = self.lock();
        let known = watched.iter().position(|watched| watched.name == spec.name);
        let index = known.unwrap_or_else(|| {
            let (new, watching) = self.watcher(spec.clone(), false, None);
            watched.push(new);
            self.thread.spawn(watching);
            watched.len() - 1
        });
        let Watched { name, changes, task } = &watched[index];
        let (name, task) = (name.clone(), task.clone());
        let (reply, ready) = oneshot::channel();
        changes.try_send(Change { spec, reply, go }).map_err(|error| match error {
            TrySendError::Full(_) => {
                let text = format!("{CHANGES_MAX} changes of model {} wait already; try again later", quoted(&name));
                Error::new(Code::Unavailable, text)
            }
            TrySendError::Closed(_) => Error::internal("the model's watcher has panicked; this is a bug"),
        })?;
        Ok(Pending { name, ready, task })
    }

    /// Makes a watcher, and what it does. Without `first` the model is a candidate.
    fn watcher(self: &Arc<Self>, spec: ModelSpec, is_alone: bool, first: Option<First>) -> (Watched, BoxFuture<'static, ()>) {
        let is_candidate = first.is_none();
        // The model takes its place in the catalog's order now, before it has a version to serve.
        self.catalog.put(Model { is_candidate, ..Model::expected(&spec) });
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let name = spec.name.clone();
        let supply = Supply::new(Arc::clone(&self.loader), spec, is_alone);
        let leave = is_candidate.then(|| Arc::clone(self).leaving(name.clone()));
        let watcher = Watcher::new(Arc::clone(&self.catalog), supply, leave, self.look_again.clone());
        let (watching, task) = abortable(watcher.run(first, changes));
        (Watched { name, changes: sender, task }, Box::pin(watching.map(drop)))
    }

    /// Makes what removes the watcher of a candidate that has failed.
    fn leaving(self: Arc<Self>, name: String) -> Leave {
        Box::new(move |changes| {
            let mut watched = self.lock();
            let leaves = changes.is_empty();
            if leaves {
                watched.retain(|watched| watched.name != name);
                self.catalog.remove(&name);
            }
            leaves
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn removed_meanwhile(name: &str) -> Error {
    let text = format!("model {} was removed before this change of it was made; send it again if you still want it", quoted(name));
    Error::new(Code::Unavailable, text)
}
