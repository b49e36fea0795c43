//! Keeps one model served: looks where it comes from, loads what is new, swaps it in, and lets what is old finish.
//!
//! A version is loaded when it is complete and two looks found the same. It takes the place of others in one change of the
//! catalog, once it can be called. One that cannot be loaded replaces nothing; it is tried again when its files change.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use tfweb_engine::{Code, Error};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::catalog::{Model, Version};
use crate::store::{Listing, ModelUri, Origin};

use super::versions::Versions;
use super::{Keeping, ModelSpec};

/// How long after a change, or at first, to look again whether it goes on.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The same at the first look, for which people wait: long enough to see a copy grow.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often to look for a model of which nothing is served, or whose place does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// How often to look for new versions on this machine, unless said otherwise: it costs little.
const LOCAL_POLL: Duration = Duration::from_secs(5);
/// How often to see whether a version has finished its requests.
const LEAVING_POLL: Duration = Duration::from_millis(50);

/// Tells a keeper to serve this from now on. If nothing of it can be, all stays as it was; the reply says so.
pub(super) struct Set(pub(super) ModelSpec, pub(super) oneshot::Sender<Result<(), Error>>);

/// Keeps one model. See the [module](self).
pub(super) struct Keeper {
    shared: Arc<Keeping>,
    spec: ModelSpec,
    origin: Option<Origin>,
    versions: Versions,
    error: Option<Error>,
    /// The error that was logged last; the same again is not news.
    said: Option<Error>,
    /// Errors of the first round of a model that is alone. The process ends with one of them if nothing can be served.
    held: Option<Vec<Error>>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Keeping>, spec: ModelSpec, is_alone: bool) -> Self {
        let held = is_alone.then(Vec::new);
        Self { shared, spec, origin: None, versions: Versions::default(), error: None, said: None, held }
    }

    /// Keeps the model, for ever; `first` hears how the first round went.
    ///
    /// # Cancel safety
    /// Dropped, what it has put into the catalog stays there.
    pub(super) async fn keep(mut self, first: oneshot::Sender<Result<(), Error>>, mut commands: mpsc::Receiver<Set>) {
        let round = self.round().await;
        self.log_held(round.as_ref().err());
        self.publish();
        let _ = first.send(round);
        loop {
            match self.wait(&mut commands).await {
                None => drop(self.round().await),
                Some(Set(spec, reply)) => {
                    let round = self.set(spec).await;
                    self.publish();
                    let _ = reply.send(round);
                }
            }
            self.publish();
        }
    }

    async fn set(&mut self, spec: ModelSpec) -> Result<(), Error> {
        let before = (std::mem::replace(&mut self.spec, spec), self.origin.take(), self.error.take());
        let round = self.round().await;
        if round.is_err() {
            (self.spec, self.origin, self.error) = before;
            self.versions.forget_looks();
        }
        round
    }

    /// Waits for a command, or until it is time for a round.
    async fn wait(&mut self, commands: &mut mpsc::Receiver<Set>) -> Option<Set> {
        let mut left = self.until_next_round();
        loop {
            let pause =
                if self.versions.are_leaving() { Some(left.map_or(LEAVING_POLL, |left| left.min(LEAVING_POLL))) } else { left };
            let received = match pause {
                Some(pause) => timeout(pause, commands.recv()).await,
                None => Ok(commands.recv().await),
            };
            match received {
                Ok(Some(command)) => return Some(command),
                // Nobody is left who could say anything: this keeper is about to be dropped.
                Ok(None) => return futures::future::pending().await,
                Err(_) => self.see_off(),
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

    /// Looks, loads what is wanted and new, and retires what is wanted no more.
    ///
    /// # Errors
    /// If nothing from the model's place is served after it.
    async fn round(&mut self) -> Result<(), Error> {
        let looked = self.look().await;
        let listing = match looked {
            Ok(listing) => listing,
            Err(error) => {
                // What is served goes on: a place that does not answer says nothing about its versions.
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
                self.said = None;
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

    /// Looks; the first time twice, so that what is being copied is not taken for whole.
    async fn look(&mut self) -> Result<Listing, Error> {
        let is_first = self.origin.is_none();
        if is_first {
            self.versions.forget_looks();
            self.origin = Some(Origin::open(&self.spec.uri, || self.shared.cache(), &self.shared.env)?);
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

    /// Loads a version. What is broken is noted and is no error; that nobody answers is one.
    async fn load(&mut self, listing: &Listing, number: u64) -> Result<(), Error> {
        let version = listing.version(number).expect("wanted from this listing; this is a bug");
        let source = (self.spec.uri.clone(), version.fingerprint());
        let origin = self.origin.as_ref().expect("looked at before; this is a bug");
        let loaded = match origin.bring(version).await {
            Ok(directory) => self.shared.load(&self.spec.name, number, directory).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(version) => {
                announce(&self.spec.name, &version);
                self.versions.serve(source, version);
            }
            Err(error) => {
                self.note(&error);
                // Files that are damaged stay so; what did not answer, or changed meanwhile, may do better next time.
                if error.code == Code::Unavailable {
                    return Err(error);
                }
                self.versions.fail(source, number, error.message);
            }
        }
        Ok(())
    }

    /// Logs an error, once as long as it stays the same.
    fn note(&mut self, error: &Error) {
        if self.said.as_ref() != Some(error) {
            self.said = Some(error.clone());
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
    fn see_off(&mut self) {
        let gone = self.versions.see_off();
        for number in &gone {
            tracing::info!("model {:?} version {number} unloaded", self.spec.name);
        }
        if !gone.is_empty() {
            self.publish();
        }
    }

    /// Puts what is served, and the states of the rest, into the catalog: one change.
    fn publish(&self) {
        self.shared.catalog.put(Model {
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
