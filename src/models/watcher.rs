//! Watches one model: updates it when that is due, makes the changes that are asked of it one after another, and publishes what
//! comes of both in the catalog.
//!
//! A change is prepared beside the model that is served, and replaces it in one step, or not at all.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use tfweb_engine::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, Instant};

use super::catalog::Catalog;
use super::model::Model;
use super::spec::ModelSpec;
use super::supply::Supply;
use crate::watched_files::LookAgain;

/// The interval of checks whether an unloading version has finished its requests.
const UNLOADING_POLL: Duration = Duration::from_millis(50);

/// Asks a watcher to serve `spec` from now on.
pub(super) struct Change {
    pub(super) spec: ModelSpec,
    /// Receives the model when it can be called. After an error the watcher goes on with the old spec.
    pub(super) reply: oneshot::Sender<Result<Model, Error>>,
    /// If it is set, the watcher serves the new model when this comes. If this is dropped, it goes on with the old spec.
    pub(super) go: Option<oneshot::Receiver<()>>,
}

/// Receives the result of a model's first update.
pub(super) type First = oneshot::Sender<Result<(), Error>>;

/// Removes a candidate that has failed, unless a change waits for it. Gives whether it is removed.
pub(super) type Leave = Box<dyn Fn(&mpsc::Receiver<Change>) -> bool + Send + Sync>;

/// Watches one model. See the [module](self).
pub(super) struct Watcher {
    catalog: Arc<Catalog>,
    supply: Supply,
    /// Set while the model is a candidate: requests add it, and none of them has succeeded yet. The watcher ends when no request is
    /// left to try.
    leave: Option<Leave>,
    look_again: LookAgain,
}

impl Watcher {
    /// Makes the watcher of a model that has no version yet.
    pub(super) fn new(catalog: Arc<Catalog>, supply: Supply, leave: Option<Leave>, look_again: LookAgain) -> Self {
        Self { catalog, supply, leave, look_again }
    }

    /// Watches the model until this future is dropped, or until the model is a candidate that has failed. `first` receives the
    /// result of the first update; without it there is none before the first change.
    pub(super) async fn run(mut self, first: Option<First>, mut changes: mpsc::Receiver<Change>) {
        if let Some(first) = first {
            let updated = self.update().await;
            self.publish();
            let _ = first.send(updated);
        }
        loop {
            let failed = match self.wait(&mut changes).await {
                Some(change) => self.change(change).await.err(),
                None => {
                    let _ = self.update().await;
                    None
                }
            };
            let ends = self.leave.as_ref().is_some_and(|leave| leave(&changes));
            if !ends {
                self.publish();
            }
            // A caller that is told of a failure finds no trace of the change.
            if let Some((reply, error)) = failed {
                let _ = reply.send(Err(error));
            }
            if ends {
                return;
            }
        }
    }

    async fn update(&mut self) -> Result<(), Error> {
        let catalog = &self.catalog;
        let updated = self.supply.update(&|supply| catalog.put(supply.model(supply.pending()))).await;
        self.supply.log_waits();
        updated
    }

    /// Makes a change.
    ///
    /// # Errors
    /// The reason why nothing has changed, and who waits for it.
    async fn change(&mut self, change: Change) -> Result<(), (oneshot::Sender<Result<Model, Error>>, Error)> {
        let Change { spec, reply, go } = change;
        let mut draft = self.supply.moved(spec);
        // Requests still find the model that is served, with the states of the versions that are to replace it.
        let updated = draft.update(&|draft| self.show(draft.pending())).await;
        if let Err(error) = updated.and_then(|()| draft.check_labels()) {
            return Err((reply, error));
        }
        let model = draft.model(&[]);
        if let Some(go) = go {
            let _ = reply.send(Ok(model));
            if go.await.is_ok() {
                self.accept(draft);
            }
        } else {
            self.accept(draft);
            self.publish();
            let _ = reply.send(Ok(model));
        }
        Ok(())
    }

    fn accept(&mut self, draft: Supply) {
        self.supply = draft;
        self.leave = None;
    }

    /// Waits for a change, or until an update is due or asked for (`None`).
    async fn wait(&mut self, changes: &mut mpsc::Receiver<Change>) -> Option<Change> {
        let is_candidate = self.leave.is_some();
        let due = self.supply.until_next_update().filter(|_| !is_candidate).map(|left| Instant::now() + left);
        loop {
            let look = self.supply.is_unloading().then(|| Instant::now() + UNLOADING_POLL);
            tokio::select! {
                received = changes.recv() => match received {
                    Some(change) => return Some(change),
                    // No sender is left, so this watcher will be dropped soon.
                    None => std::future::pending().await,
                },
                () = self.look_again.asked(), if !is_candidate => return None,
                () = until(due) => return None,
                () = until(look) => {
                    if self.supply.remove_unloaded() {
                        self.publish();
                    }
                }
            }
        }
    }

    /// Puts the served versions and the states of the others into the catalog, in one change.
    fn publish(&self) {
        self.show(&[]);
    }

    fn show(&self, pending: &[u64]) {
        self.catalog.put(Model { is_candidate: self.leave.is_some(), ..self.supply.model(pending) });
    }
}

/// Sleeps until the moment. If there is none, this never ends.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
