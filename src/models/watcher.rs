//! Watches one model: looks where it comes from, loads new versions, swaps them in, and lets old ones finish.
//!
//! A version is loaded when it is complete and two looks found the same. It takes the place of others in one change of the
//! catalog, once it can be called. A version that cannot be loaded replaces nothing; it is tried again when its files change.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use tfweb_engine::{Code, Error};
use tfweb_store::{Listing, ModelUri, Origin};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::catalog::Catalog;
use super::loader::Loader;
use super::model::{Model, Version};
use super::spec::ModelSpec;
use super::versions::Versions;

/// How long after a look that found a change to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long after the first look, for which people wait: long enough to see a copy grow.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often to look for a model that has no version served, or whose place does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// How often to look for new versions on this machine, unless said otherwise: it costs little.
const LOCAL_POLL: Duration = Duration::from_secs(5);
/// How often to see whether a version has finished its requests.
const UNLOADING_POLL: Duration = Duration::from_millis(50);

/// Tells a watcher to serve `spec` from now on.
pub(super) struct Change {
    pub(super) spec: ModelSpec,
    /// Hears why it cannot be served; then all stays as it was.
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
}

/// Watches one model. See the [module](self).
pub(super) struct Watcher {
    catalog: Arc<Catalog>,
    loader: Arc<Loader>,
    spec: ModelSpec,
    origin: Option<Origin>,
    versions: Versions,
    error: Option<Error>,
    /// The error that was logged last. The same again is not logged.
    logged: Option<Error>,
    /// Errors of the first round of a model that is alone. The process ends with one of them if no version can be served.
    held: Option<Vec<Error>>,
}

impl Watcher {
    /// Makes the watcher of a model. If the model `is_alone`, the process ends when its first round fails, and says why.
    pub(super) fn new(catalog: Arc<Catalog>, loader: Arc<Loader>, spec: ModelSpec, is_alone: bool) -> Self {
        let (versions, held) = (Versions::default(), is_alone.then(Vec::new));
        Self { catalog, loader, spec, origin: None, versions, error: None, logged: None, held }
    }

    /// Watches the model until it is dropped. `first` hears how the first round ended.
    ///
    /// # Cancel safety
    /// Dropped, what it has put into the catalog stays there.
    pub(super) async fn run(mut self, first: oneshot::Sender<Result<(), Error>>, mut changes: mpsc::Receiver<Change>) {
        let round = self.round().await;
        self.log_held(round.as_ref().err());
        self.publish();
        let _ = first.send(round);
        loop {
            match self.wait(&mut changes).await {
                None => drop(self.round().await),
                Some(Change { spec, reply }) => {
                    let round = self.change(spec).await;
                    self.publish();
                    let _ = reply.send(round);
                }
            }
            self.publish();
        }
    }

    async fn change(&mut self, spec: ModelSpec) -> Result<(), Error> {
        let before = (std::mem::replace(&mut self.spec, spec), self.origin.take(), self.error.take());
        let round = self.round().await;
        if round.is_err() {
            (self.spec, self.origin, self.error) = before;
            self.versions.forget_looks();
        }
        round
    }

    /// Waits for a change, or until it is time for a round.
    async fn wait(&mut self, changes: &mut mpsc::Receiver<Change>) -> Option<Change> {
        let mut left = self.until_next_round();
        loop {
            let pause = if self.versions.are_unloading() {
                Some(left.map_or(UNLOADING_POLL, |left| left.min(UNLOADING_POLL)))
            } else {
                left
            };
            let received = match pause {
                Some(pause) => timeout(pause, changes.recv()).await,
                None => Ok(changes.recv().await),
            };
            match received {
                Ok(Some(change)) => return Some(change),
                // No sender is left: this watcher is about to be dropped.
                Ok(None) => return futures::future::pending().await,
                Err(_) => self.note_unloaded(),
            }
            left = match left.map(|left| left.saturating_sub(pause.unwrap_or_default())) {
                Some(Duration::ZERO) => return None,
                left => left,
            };
        }
    }

    fn until_next_round(&self) -> Option<Duration> {
        let poll = self.spec.poll.unwrap_or_else(|| {
            let is_versioned = self.versions.listing().is_some_and(|listing| listing.is_versioned);
            let by_itself = matches!(self.spec.uri, ModelUri::Local(_)) && is_versioned;
            if by_itself {
                LOCAL_POLL
            } else {
                Duration::ZERO
            }
        });
        let poll = (!poll.is_zero()).then_some(poll);
        if self.versions.is_settling() {
            return Some(poll.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
        }
        let has_trouble = self.error.is_some() || self.versions.is_bare();
        if has_trouble {
            Some(poll.unwrap_or(RETRY_EVERY).min(RETRY_EVERY))
        } else {
            poll
        }
    }

    /// Looks, loads the versions that are wanted and new, and retires those that are wanted no more.
    ///
    /// # Errors
    /// If no version from the model's place is served after it.
    async fn round(&mut self) -> Result<(), Error> {
        let looked = self.look().await;
        let listing = match looked {
            Ok(listing) => listing,
            Err(error) => {
                // The versions that are served stay: a place that does not answer says nothing about them.
                self.note(&error);
                self.error = Some(error.clone());
                return Err(error);
            }
        };
        self.error = None;
        loop {
            let wanted = self.versions.wanted(&self.spec.uri, &self.spec.policy);
            let Some(&number) = wanted.iter().find(|&&number| !self.versions.is_served(&self.spec.uri, number)) else {
                self.versions.retire(&wanted);
                self.logged = None;
                break;
            };
            self.versions.loading = Some(number);
            self.publish();
            let loaded = self.load(&listing, number).await;
            self.versions.loading = None;
            if let Err(error) = loaded {
                self.error = Some(error);
                break;
            }
        }
        if self.versions.serves(&self.spec.uri) {
            return Ok(());
        }
        Err(self.why_nothing(&listing))
    }

    fn why_nothing(&self, listing: &Listing) -> Error {
        if let Some(error) = &self.error {
            return error.clone();
        }
        if let Some(failure) = self.versions.failure() {
            return Error::new(Code::FailedPrecondition, failure.clone());
        }
        let missing = listing.versions.iter().rev().find_map(|version| {
            let missing = version.missing.as_ref()?;
            Some(format!("version {} is not complete: {missing} is missing", version.number))
        });
        let text = missing.unwrap_or_else(|| "none of its versions is one to be served, or they are still changing".to_owned());
        Error::new(Code::NotFound, format!("`{}`: {text}", self.spec.uri))
    }

    /// Looks. The first time it looks twice, so that it does not take a copy that is under way for whole.
    async fn look(&mut self) -> Result<Listing, Error> {
        let is_first = self.origin.is_none();
        if is_first {
            self.versions.forget_looks();
            self.origin = Some(Origin::open(&self.spec.uri, || self.loader.cache(), &self.loader.env)?);
        }
        let origin = self.origin.as_ref().expect("opened just above; this is a bug");
        let mut listing = origin.look().await?;
        if is_first {
            self.versions.found(listing);
            sleep(FIRST_LOOK_AGAIN).await;
            listing = origin.look().await?;
        }
        self.versions.found(listing.clone());
        Ok(listing)
    }

    /// Loads a version. A broken version is noted and is no error; a place that does not answer is one.
    async fn load(&mut self, listing: &Listing, number: u64) -> Result<(), Error> {
        let version = listing.version(number).expect("wanted from this listing; this is a bug");
        let source = (self.spec.uri.clone(), version.fingerprint());
        let origin = self.origin.as_ref().expect("looked at before; this is a bug");
        let loaded = match origin.bring(version).await {
            Ok(directory) => self.loader.load(&self.spec.name, number, directory).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(version) => {
                announce(&self.spec.name, &version);
                self.versions.serve(source, version);
            }
            Err(error) => {
                self.note(&error);
                // Damaged files stay damaged; a place that did not answer, or files that changed meanwhile, may do better next time.
                if error.code == Code::Unavailable {
                    return Err(error);
                }
                self.versions.fail(source, number, error.message);
            }
        }
        Ok(())
    }

    /// Logs an error once for as long as it stays the same.
    fn note(&mut self, error: &Error) {
        if self.logged.as_ref() != Some(error) {
            self.logged = Some(error.clone());
            match &mut self.held {
                Some(held) => held.push(error.clone()),
                None => tracing::warn!("model {:?}: {error}", self.spec.name),
            }
        }
    }

    /// Logs the errors that were held back, but not the one that the process ends with.
    fn log_held(&mut self, end: Option<&Error>) {
        for error in self.held.take().unwrap_or_default() {
            if end.is_none_or(|end| end.message != error.message) {
                tracing::warn!("model {:?}: {error}", self.spec.name);
            }
        }
    }

    /// Notes which versions have finished their requests.
    fn note_unloaded(&mut self) {
        let gone = self.versions.remove_unloaded();
        for number in &gone {
            tracing::info!("model {:?} version {number} unloaded", self.spec.name);
        }
        if !gone.is_empty() {
            self.publish();
        }
    }

    /// Puts the versions that are served, and the states of the others, into the catalog in one change.
    fn publish(&self) {
        self.catalog.put(Model {
            name: self.spec.name.clone(),
            versions: self.versions.statuses(),
            labels: self.spec.labels.clone(),
            error: self.error.as_ref().map(|error| error.message.clone()),
        });
    }
}

/// Logs that a version was loaded, and what was found wrong with it.
fn announce(model: &str, version: &Version) {
    tracing::info!("model {model:?} version {} loaded", version.number);
    for servable in &version.servables {
        let name = &servable.handle.signature().name;
        match &servable.warning {
            Some(warning) => tracing::warn!("model {model:?}, signature {name:?}: {}", warning.replace("\n\t", " ")),
            None => tracing::debug!("model {model:?}, signature {name:?}"),
        }
    }
}
