//! Keeps one model served: looks where it comes from, loads what is new, swaps it in, and lets what is old finish.
//!
//! A version is loaded when it is complete and two looks found the same. It takes the place of others in one change of the
//! [`Catalog`], once it can be called. One that cannot be loaded replaces nothing; it is tried again when its files change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use tfweb_engine::{Code, Error, Session};
use tokio::sync::{mpsc, Semaphore};
use tokio::time::{sleep, timeout};

use crate::catalog::{Catalog, Model, State, Version, VersionStatus};
use crate::policy::VersionPolicy;
use crate::store::{self, Cache, Env, Fingerprint, Listing, ModelUri, Origin};

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
/// How many versions that have ended are still listed.
const ENDED_MAX: usize = 8;

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// What it is called in routes.
    pub name: String,
    /// Where it comes from.
    pub uri: ModelUri,
    /// Which of its versions are served.
    pub policy: VersionPolicy,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// How often to look for others; never if zero; by the kind of place if not said.
    pub poll: Option<Duration>,
}

/// Loads the SavedModel in a directory. Blocks.
pub type Load = Arc<dyn Fn(&Path) -> Result<Arc<dyn Session>, Error> + Send + Sync>;

/// What all keepers share.
pub struct Keeping {
    /// Where they put what they serve.
    pub catalog: Arc<Catalog>,
    /// Where they put what they bring from elsewhere, if said.
    pub cache_dir: Option<PathBuf>,
    /// The same, once it was needed.
    pub cache: OnceLock<Cache>,
    /// Where credentials are.
    pub env: Env,
    /// How they load.
    pub load: Load,
    /// One model is loaded at a time: side by side, they would take the machine from those that run.
    pub loading: Semaphore,
}

/// Tells a keeper to serve this from now on. If nothing of it can be, all stays as it was; the reply says so.
pub(crate) struct Set(pub(crate) ModelSpec, pub(crate) oneshot::Sender<Result<(), Error>>);

/// Where the files of a version came from, and which they were.
type Source = (ModelUri, Fingerprint);

/// What is known of a version's number.
#[derive(Default)]
struct Known {
    served: Option<(Source, Arc<Version>)>,
    failed: Option<(Source, String)>,
}

/// Keeps one model. See the [module](self).
pub(crate) struct Keeper {
    shared: Arc<Keeping>,
    spec: ModelSpec,
    origin: Option<Origin>,
    listing: Option<Listing>,
    /// What the look before the last one found.
    before: BTreeMap<u64, Fingerprint>,
    known: BTreeMap<u64, Known>,
    loading: Option<u64>,
    leaving: Vec<(u64, Weak<Version>)>,
    ended: Vec<u64>,
    error: Option<Error>,
    /// The error that was logged last; the same again is not news.
    said: Option<Error>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Keeping>, spec: ModelSpec) -> Self {
        Self {
            shared,
            spec,
            origin: None,
            listing: None,
            before: BTreeMap::new(),
            known: BTreeMap::new(),
            loading: None,
            leaving: Vec::new(),
            ended: Vec::new(),
            error: None,
            said: None,
        }
    }

    /// Keeps the model, for ever; `first` hears how the first round went.
    ///
    /// # Cancel safety
    /// Dropped, what it has put into the catalog stays there.
    pub(crate) async fn keep(mut self, first: oneshot::Sender<Result<(), Error>>, mut commands: mpsc::Receiver<Set>) {
        let round = self.round().await;
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
            self.forget_looks();
        }
        round
    }

    /// Waits for a command, or until it is time for a round.
    async fn wait(&mut self, commands: &mut mpsc::Receiver<Set>) -> Option<Set> {
        let mut left = self.until_next_round();
        loop {
            let pause = if self.leaving.is_empty() { left } else { Some(left.map_or(LEAVING_POLL, |left| left.min(LEAVING_POLL))) };
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
        let listing = self.listing.as_ref();
        let is_changing = listing.is_some_and(|listing| {
            listing
                .versions
                .iter()
                .any(|version| version.is_complete() && self.before.get(&version.number) != Some(&version.fingerprint()))
        });
        let poll = self.spec.poll.unwrap_or_else(|| {
            let by_itself = matches!(self.spec.uri, ModelUri::Local(_)) && listing.is_some_and(|listing| listing.is_versioned);
            if by_itself {
                LOCAL_POLL
            } else {
                Duration::ZERO
            }
        });
        let poll = (!poll.is_zero()).then_some(poll);
        if is_changing {
            return Some(poll.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
        }
        let has_trouble = self.error.is_some() || self.known.values().all(|known| known.served.is_none());
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
            let wanted = self.wanted(&listing);
            let Some(&number) = wanted.iter().find(|&&number| !self.is_served(&listing, number)) else {
                self.retire(&wanted);
                self.said = None;
                break;
            };
            self.loading = Some(number);
            self.publish();
            let loaded = self.load(&listing, number).await;
            self.loading = None;
            if let Err(error) = loaded {
                self.error = Some(error);
                break;
            }
        }
        let is_ours = |known: &Known| known.served.as_ref().is_some_and(|((uri, _), _)| *uri == self.spec.uri);
        if self.known.values().any(is_ours) {
            return Ok(());
        }
        Err(self.why_nothing(&listing))
    }

    fn why_nothing(&self, listing: &Listing) -> Error {
        if let Some(error) = &self.error {
            return error.clone();
        }
        let failed = self.known.values().rev().find_map(|known| known.failed.as_ref());
        if let Some((_, error)) = failed {
            return Error::new(Code::FailedPrecondition, error.clone());
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
            self.forget_looks();
            self.origin = Some(Origin::open(&self.spec.uri, || self.shared.cache(), &self.shared.env)?);
        }
        let origin = self.origin.as_ref().expect("opened just above; this is a bug");
        let mut listing = origin.look().await?;
        if is_first {
            self.before = fingerprints(&listing);
            sleep(FIRST_LOOK_AGAIN).await;
            listing = origin.look().await?;
        } else if let Some(last) = &self.listing {
            self.before = fingerprints(last);
        }
        self.listing = Some(listing.clone());
        Ok(listing)
    }

    fn forget_looks(&mut self) {
        self.listing = None;
        self.before.clear();
    }

    /// The versions to be served, of those that are complete, stable, and not known to be broken.
    fn wanted(&self, listing: &Listing) -> Vec<u64> {
        let is_candidate = |version: &&store::Version| {
            let fingerprint = version.fingerprint();
            let source = (self.spec.uri.clone(), fingerprint);
            let known = self.known.get(&version.number);
            let is_broken = known.is_some_and(|known| known.failed.as_ref().is_some_and(|(failed, _)| *failed == source));
            let is_here = known.is_some_and(|known| known.served.as_ref().is_some_and(|((uri, _), _)| *uri == self.spec.uri));
            // What is served stays wanted while its files change, or when they have become worse.
            is_here || (version.is_complete() && self.before.get(&version.number) == Some(&fingerprint) && !is_broken)
        };
        self.spec.policy.wanted(listing.versions.iter().filter(is_candidate).map(|version| version.number))
    }

    /// Whether a version is served as it is now, or cannot be: its new files are broken, incomplete or still changing.
    fn is_served(&self, listing: &Listing, number: u64) -> bool {
        let (Some(version), Some(known)) = (listing.version(number), self.known.get(&number)) else { return false };
        let source = (self.spec.uri.clone(), version.fingerprint());
        let is = |of: &Source| *of == source;
        let Some((served, _)) = &known.served else { return false };
        let may_be_loaded = version.is_complete() && self.before.get(&number) == Some(&source.1);
        is(served) || (served.0 == source.0 && (!may_be_loaded || known.failed.as_ref().is_some_and(|(failed, _)| is(failed))))
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
        let known = self.known.entry(number).or_default();
        match loaded {
            Ok(version) => {
                announce(&self.spec.name, &version);
                known.failed = None;
                if let Some((_, old)) = known.served.replace((source, version)) {
                    self.leaving.push((number, Arc::downgrade(&old)));
                }
                Ok(())
            }
            Err(error) => {
                self.note(&error);
                // Files that are damaged stay so; what did not answer, or changed meanwhile, may do better next time.
                if error.code == Code::Unavailable {
                    return Err(error);
                }
                self.known.entry(number).or_default().failed = Some((source, error.message));
                Ok(())
            }
        }
    }

    /// Logs an error, once as long as it stays the same.
    fn note(&mut self, error: &Error) {
        if self.said.as_ref() != Some(error) {
            tracing::warn!("model {:?}: {error}", self.spec.name);
            self.said = Some(error.clone());
        }
    }

    /// Lets go of versions that are wanted no more. With nothing to take their place, they stay.
    fn retire(&mut self, wanted: &[u64]) {
        if wanted.is_empty() {
            return;
        }
        let listing = self.listing.as_ref();
        for (&number, known) in &mut self.known {
            if !wanted.contains(&number) {
                self.leaving.extend(known.served.take().map(|(_, version)| (number, Arc::downgrade(&version))));
            }
        }
        self.known.retain(|&number, known| {
            known.served.is_some() || listing.is_some_and(|listing| listing.version(number).is_some() && known.failed.is_some())
        });
    }

    /// Notes which versions have finished their requests.
    fn see_off(&mut self) {
        let (gone, leaving): (Vec<_>, _) =
            std::mem::take(&mut self.leaving).into_iter().partition(|(_, version)| version.strong_count() == 0);
        self.leaving = leaving;
        if gone.is_empty() {
            return;
        }
        for (number, _) in gone {
            tracing::info!("model {:?} version {number} unloaded", self.spec.name);
            self.ended.retain(|&ended| ended != number);
            self.ended.push(number);
        }
        let excess = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..excess);
        self.publish();
    }

    /// Puts what is served, and the states of the rest, into the catalog: one change.
    fn publish(&self) {
        let mut versions: BTreeMap<u64, VersionStatus> = BTreeMap::new();
        let mut put = |number: u64, state: State, error: Option<&String>, served: Option<&Arc<Version>>| {
            versions.insert(number, VersionStatus { number, state, error: error.cloned(), served: served.cloned() });
        };
        self.ended.iter().for_each(|&number| put(number, State::End, None, None));
        self.leaving.iter().for_each(|&(number, _)| put(number, State::Unloading, None, None));
        for version in self.listing.iter().flat_map(|listing| &listing.versions) {
            if let Some(missing) = &version.missing {
                put(version.number, State::Start, Some(&format!("not complete: {missing} is missing")), None);
            }
        }
        self.loading.iter().for_each(|&number| put(number, State::Loading, None, None));
        for (&number, known) in &self.known {
            let error = known.failed.as_ref().map(|(_, error)| error);
            match &known.served {
                Some((_, version)) => put(number, State::Available, error, Some(version)),
                None if error.is_some() && self.loading != Some(number) => put(number, State::End, error, None),
                None => {}
            }
        }
        self.shared.catalog.put(Model {
            name: self.spec.name.clone(),
            versions: versions.into_values().collect(),
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

fn fingerprints(listing: &Listing) -> BTreeMap<u64, Fingerprint> {
    listing.versions.iter().map(|version| (version.number, version.fingerprint())).collect()
}

impl Keeping {
    /// The cache; opened when it is first asked for, since local models do without.
    fn cache(&self) -> Result<Cache, Error> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache.clone());
        }
        let cache = Cache::open(self.cache_dir.as_deref(), &self.env)?;
        Ok(self.cache.get_or_init(|| cache).clone())
    }

    /// Loads a version on a thread of its own, one at a time.
    async fn load(&self, model: &str, number: u64, directory: PathBuf) -> Result<Arc<Version>, Error> {
        let _turn = self.loading.acquire().await.map_err(|error| Error::internal(error.to_string()))?;
        let start = Instant::now();
        let (reply, loaded) = oneshot::channel();
        let load = Arc::clone(&self.load);
        let work = move || drop(reply.send(load(&directory)));
        thread::Builder::new().name("tfweb-load".into()).spawn(work).map_err(|error| Error::internal(error.to_string()))?;
        let session = loaded.await.map_err(|_| Error::internal("loading panicked; this is a bug"))??;
        self.catalog.start(model, number, &session, start.elapsed())
    }
}
