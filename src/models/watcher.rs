//! Watches one model. The watcher lists the versions at the model's origin, loads new ones, publishes them in the catalog, and
//! unloads old ones.
//!
//! It loads a version that is complete and did not change between two listings. The new version replaces others in one change of
//! the catalog, after it can be called. A version that cannot be loaded replaces nothing. The watcher tries it again when its
//! files change.

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
use super::versions::{Source, Versions};

/// The pause before the next listing, after a listing that found changed files.
const RELIST_AFTER: Duration = Duration::from_millis(500);
/// The pause between the first two listings. It is short, because somebody waits for the model, and long enough to see that a
/// copy still grows.
const FIRST_RELIST_AFTER: Duration = Duration::from_millis(50);
/// The pause before the next listing of a model that serves no version, or whose origin does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// The default interval of listings of a local directory, which cost little.
const LOCAL_POLL: Duration = Duration::from_secs(5);
/// The interval of checks whether an unloading version has finished its requests.
const UNLOADING_POLL: Duration = Duration::from_millis(50);

/// Asks a watcher to serve `spec` from now on.
pub(super) struct Change {
    pub(super) spec: ModelSpec,
    /// Receives the result. After an error the watcher goes on with the old spec.
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
    /// The last error in the log. It is not logged again while it stays the same.
    logged: Option<Error>,
    /// Errors of the first update of a model that is alone. If no version can be served, the process ends with one of them, and
    /// the log has the others.
    held_back: Option<Vec<Error>>,
}

impl Watcher {
    /// Makes the watcher of a model. If the model `is_alone`, a failed first update ends the process, so its error is not logged
    /// here.
    pub(super) fn new(catalog: Arc<Catalog>, loader: Arc<Loader>, spec: ModelSpec, is_alone: bool) -> Self {
        let (versions, held_back) = (Versions::default(), is_alone.then(Vec::new));
        Self { catalog, loader, spec, origin: None, versions, error: None, logged: None, held_back }
    }

    /// Watches the model until this future is dropped. `first` receives the result of the first update.
    ///
    /// # Cancel safety
    /// Versions that are in the catalog stay there.
    pub(super) async fn run(mut self, first: oneshot::Sender<Result<(), Error>>, mut changes: mpsc::Receiver<Change>) {
        let updated = self.update().await;
        self.log_held_back(updated.as_ref().err());
        self.publish();
        let _ = first.send(updated);
        loop {
            match self.wait(&mut changes).await {
                None => drop(self.update().await),
                Some(Change { spec, reply }) => {
                    let updated = self.change(spec).await;
                    self.publish();
                    let _ = reply.send(updated);
                }
            }
            self.publish();
        }
    }

    async fn change(&mut self, spec: ModelSpec) -> Result<(), Error> {
        let before = (std::mem::replace(&mut self.spec, spec), self.origin.take(), self.error.take());
        let updated = self.update().await;
        if updated.is_err() {
            (self.spec, self.origin, self.error) = before;
            self.versions.forget_listings();
        }
        updated
    }

    /// Waits for a change, or until the next update is due (`None`).
    async fn wait(&mut self, changes: &mut mpsc::Receiver<Change>) -> Option<Change> {
        let mut left = self.until_next_update();
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
                // No sender is left, so this watcher will be dropped soon.
                Ok(None) => return futures::future::pending().await,
                Err(_) => self.publish_unloaded(),
            }
            left = match left.map(|left| left.saturating_sub(pause.unwrap_or_default())) {
                Some(Duration::ZERO) => return None,
                left => left,
            };
        }
    }

    fn until_next_update(&self) -> Option<Duration> {
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
        if self.versions.has_unstable() {
            return Some(poll.unwrap_or(RELIST_AFTER).min(RELIST_AFTER));
        }
        let has_trouble = self.error.is_some() || self.versions.serves_none();
        if has_trouble {
            Some(poll.unwrap_or(RETRY_EVERY).min(RETRY_EVERY))
        } else {
            poll
        }
    }

    /// Lists the versions, loads those that are wanted and new, and unloads those that are no longer wanted.
    ///
    /// # Errors
    /// The reason why no version from the model's origin is served afterwards.
    async fn update(&mut self) -> Result<(), Error> {
        let listed = self.list().await;
        let listing = match listed {
            Ok(listing) => listing,
            Err(error) => {
                // The served versions stay: an origin that does not answer says nothing about them.
                self.log_once(&error);
                self.error = Some(error.clone());
                return Err(error);
            }
        };
        self.error = None;
        loop {
            let wanted = self.versions.wanted(&self.spec.uri, &self.spec.policy);
            let Some(&number) = wanted.iter().find(|&&number| !self.versions.is_up_to_date(&self.spec.uri, number)) else {
                self.versions.unload_all_but(&wanted);
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
        Err(self.why_none_is_served(&listing))
    }

    fn why_none_is_served(&self, listing: &Listing) -> Error {
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
        let text = missing.unwrap_or_else(|| "no version matches the version policy, or all are still changing".to_owned());
        Error::new(Code::NotFound, format!("`{}`: {text}", self.spec.uri))
    }

    /// Lists the versions. The first time it lists twice, so that it does not load a copy that is not finished.
    async fn list(&mut self) -> Result<Listing, Error> {
        let is_first = self.origin.is_none();
        if is_first {
            self.versions.forget_listings();
            self.origin = Some(Origin::open(&self.spec.uri, || self.loader.cache(), &self.loader.env)?);
        }
        let origin = self.origin.as_ref().expect("opened just above; this is a bug");
        let mut listing = origin.list().await?;
        if is_first {
            self.versions.set_listing(listing);
            sleep(FIRST_RELIST_AFTER).await;
            listing = origin.list().await?;
        }
        self.versions.set_listing(listing.clone());
        Ok(listing)
    }

    /// Loads a version. If the version is broken, this notes it and gives no error. An origin that does not answer is an error.
    async fn load(&mut self, listing: &Listing, number: u64) -> Result<(), Error> {
        let version = listing.version(number).expect("wanted from this listing; this is a bug");
        let source = Source { uri: self.spec.uri.clone(), fingerprint: version.fingerprint() };
        let origin = self.origin.as_ref().expect("looked at before; this is a bug");
        match self.loader.bring(&self.spec.name, origin, version).await {
            Ok(version) => {
                log_loaded(&self.spec.name, &version);
                self.versions.mark_served(source, version);
            }
            Err(error) => {
                self.log_once(&error);
                // Broken files stay broken. An origin that did not answer, or files that changed meanwhile, may work the next
                // time.
                if error.code == Code::Unavailable {
                    return Err(error);
                }
                self.versions.mark_failed(source, number, error.message);
            }
        }
        Ok(())
    }

    /// Logs an error, but not the same one twice in a row.
    fn log_once(&mut self, error: &Error) {
        if self.logged.as_ref() != Some(error) {
            self.logged = Some(error.clone());
            match &mut self.held_back {
                Some(held_back) => held_back.push(error.clone()),
                None => tracing::warn!("model {:?}: {error}", self.spec.name),
            }
        }
    }

    /// Logs the errors of the first update, except the one that ends the process.
    fn log_held_back(&mut self, end: Option<&Error>) {
        for error in self.held_back.take().unwrap_or_default() {
            if end.is_none_or(|end| end.message != error.message) {
                tracing::warn!("model {:?}: {error}", self.spec.name);
            }
        }
    }

    /// Publishes that versions have finished their last requests.
    fn publish_unloaded(&mut self) {
        let unloaded = self.versions.remove_unloaded();
        for number in &unloaded {
            tracing::info!("model {:?} version {number} unloaded", self.spec.name);
        }
        if !unloaded.is_empty() {
            self.publish();
        }
    }

    /// Puts the served versions and the states of the others into the catalog, in one change.
    fn publish(&self) {
        self.catalog.put(Model {
            name: self.spec.name.clone(),
            versions: self.versions.statuses(),
            labels: self.spec.labels.clone(),
            error: self.error.as_ref().map(|error| error.message.clone()),
        });
    }
}

/// Logs that a version was loaded, with the problems that its trial runs found.
fn log_loaded(model: &str, version: &Version) {
    tracing::info!("model {model:?} version {} loaded", version.number);
    for servable in &version.servables {
        let name = &servable.handle.signature().name;
        match &servable.warning {
            Some(warning) => tracing::warn!("model {model:?}, signature {name:?}: {}", warning.replace("\n\t", " ")),
            None => tracing::debug!("model {model:?}, signature {name:?}"),
        }
    }
}
