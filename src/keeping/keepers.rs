//! All keepers: one for each model, by name.

use std::sync::{Arc, Mutex, PoisonError};

use actix::Arbiter;
use futures::channel::oneshot;
use futures::future::{abortable, join_all, AbortHandle};
use tfweb_engine::{quoted, Code, Error};
use tokio::sync::mpsc;

use crate::catalog::Model;
use crate::config::ModelConfigFile;

use super::keeper::{Keeper, Set};
use super::{model_config, Keeping, ModelSpec};

/// Commands that wait for one keeper; whoever finds it full waits too.
const COMMANDS_MAX: usize = 16;

type Round = oneshot::Receiver<Result<(), Error>>;

/// Starts, changes and stops keepers.
pub struct Keepers {
    shared: Arc<Keeping>,
    arbiter: Arbiter,
    known: Mutex<Vec<Known>>,
}

/// A keeper at work.
struct Known {
    name: String,
    commands: mpsc::Sender<Set>,
    task: AbortHandle,
}

impl Keepers {
    /// Makes keepers that work in `arbiter`, of which there are none yet. Dropped, they and the arbiter stop.
    #[must_use]
    pub fn new(shared: Keeping, arbiter: Arbiter) -> Self {
        Self { shared: Arc::new(shared), arbiter, known: Mutex::default() }
    }

    /// Starts keeping models; ends when each has been looked for once, with what went wrong by model.
    pub async fn start(&self, specs: &[ModelSpec]) -> Vec<Result<(), Error>> {
        let is_alone = specs.len() == 1;
        let rounds: Vec<Round> = specs.iter().map(|spec| self.begin(spec.clone(), is_alone)).collect();
        join_all(rounds).await.into_iter().map(|round| round.unwrap_or_else(|_| Err(gone()))).collect()
    }

    /// Follows a file of models, of which those it has had at first are kept already: what is added to it is kept too, what is
    /// changed is moved, and what is no longer in it is removed. A file that cannot be read changes nothing.
    pub fn follow(self: &Arc<Self>, file: &ModelConfigFile, first: &[ModelSpec]) {
        let Some(poll) = file.poll else { return };
        let (keepers, path, mut applied) = (Arc::downgrade(self), file.path.clone(), first.to_vec());
        self.arbiter.spawn(async move {
            let mut said = String::new();
            loop {
                tokio::time::sleep(poll).await;
                let Some(keepers) = keepers.upgrade() else { return };
                match model_config::read(&path) {
                    Ok(wanted) => {
                        said.clear();
                        keepers.apply(&mut applied, wanted).await;
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

    /// Makes what a file has had into what it has.
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
                // Tried again at the next look, if it fails: what is served goes on until then.
                Some(index) => {
                    if self.set(spec.clone()).await.is_ok() {
                        applied[index] = spec;
                    }
                }
                None if self.lock().iter().any(|known| known.name == spec.name) => {
                    tracing::warn!("model {:?} of the file of models is served from elsewhere already", spec.name);
                }
                None => {
                    // Its keeper goes on trying by itself.
                    drop(self.begin(spec.clone(), false));
                    applied.push(spec);
                }
            }
        }
    }

    /// Adds a model, or serves another under its name. If nothing of it can be served, all is as it was.
    ///
    /// # Errors
    /// Why nothing can be.
    pub async fn set(&self, spec: ModelSpec) -> Result<(), Error> {
        let name = spec.name.clone();
        let commands = self.lock().iter().find(|known| known.name == name).map(|known| known.commands.clone());
        let Some(commands) = commands else {
            let round = self.begin(spec, false).await.unwrap_or_else(|_| Err(gone()));
            if round.is_err() {
                let _ = self.remove(&name).await;
            }
            return round;
        };
        let (reply, round) = oneshot::channel();
        commands.send(Set(spec, reply)).await.map_err(|_| gone())?;
        round.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Serves a model no longer. Who is at it may finish.
    ///
    /// # Errors
    /// `NotFound` if it is not kept.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let found = {
            let mut known = self.lock();
            known.iter().position(|known| known.name == name).map(|index| known.remove(index))
        };
        let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("no model {} to remove", quoted(name))))?;
        // Whatever it is at, such as a download of hours, ends here.
        found.task.abort();
        let (done, removed) = oneshot::channel();
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        // On the keepers' own thread: the keeper, if it was just at work, can put nothing into the catalog after this.
        self.arbiter.spawn(async move {
            shared.catalog.remove(&name);
            let _ = done.send(());
        });
        removed.await.map_err(|_| gone())
    }

    /// Serves these models and no others. What is served now goes only after all of them can be called.
    ///
    /// # Errors
    /// Why one of them cannot be; those before it are served then, and nothing was removed.
    pub async fn replace(&self, specs: Vec<ModelSpec>) -> Result<(), Error> {
        let kept: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        for spec in specs {
            let name = spec.name.clone();
            let named = |error: Error| Error::new(error.code, format!("model {}: {error}", quoted(&name)));
            self.set(spec).await.map_err(named)?;
        }
        let gone: Vec<String> = self.lock().iter().map(|known| known.name.clone()).filter(|name| !kept.contains(name)).collect();
        for name in gone {
            self.remove(&name).await?;
        }
        Ok(())
    }

    /// Starts to keep a model. If it `is_alone`, the process ends when its first round fails, and says why.
    fn begin(&self, spec: ModelSpec, is_alone: bool) -> Round {
        // Known from now on, in this order, though nothing of it is served yet.
        self.shared.catalog.put(Model { name: spec.name.clone(), labels: spec.labels.clone(), ..Model::default() });
        let (first, round) = oneshot::channel();
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let name = spec.name.clone();
        let (keeping, task) = abortable(Keeper::new(Arc::clone(&self.shared), spec, is_alone).keep(first, commands));
        self.lock().push(Known { name, commands: sender, task });
        self.arbiter.spawn(async move {
            let _ = keeping.await;
        });
        round
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

fn gone() -> Error {
    Error::internal("the model's keeper is gone; this is a bug")
}
