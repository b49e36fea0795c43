//! What is served: models, their versions and states, their signatures. Read without a lock while it changes: a reader sees
//! what was there before a change or after it, never half of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::ArbiterHandle;
use arc_swap::ArcSwap;
use tfweb_actors::{start_model, ModelHandle, Policy, SignatureFigures};
use tfweb_engine::{quoted, Code, Error, Tensor};

use crate::keeping::Loaded;
use crate::metrics::{Registry, RunCounter, SignatureMetrics, VersionMetrics};
use crate::telemetry::Tracer;

/// The most names an error lists, so that it stays readable.
const LISTED_MAX: usize = 50;

/// The signature that is meant when none is named (tensorflow/cc/saved_model/signature_constants.h).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// All models, in the order they came; the first also answers at `/`.
pub struct Catalog {
    models: ArcSwap<Vec<Arc<Model>>>,
    /// Held while a change is made, so that none is lost.
    changing: Mutex<()>,
    policy: Policy,
    arbiter: ArbiterHandle,
    metrics: Registry,
    tracer: Option<Arc<Tracer>>,
}

/// A model: what is served of it, and what is not, and why.
#[derive(Clone, Default)]
pub struct Model {
    /// What routes call it.
    pub name: String,
    /// By number, lowest first.
    pub versions: Vec<VersionStatus>,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// Why there is nothing to be served, or nothing new.
    pub error: Option<String>,
}

/// Where a version is in its life, in TensorFlow Serving's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Found, and not yet to be loaded.
    Start,
    /// Being loaded.
    Loading,
    /// Served.
    Available,
    /// Finishing its requests.
    Unloading,
    /// Gone, or could not be loaded.
    End,
}

impl State {
    /// Every state, for tables.
    pub const ALL: [Self; 5] = [Self::Start, Self::Loading, Self::Available, Self::Unloading, Self::End];

    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Loading => "LOADING",
            Self::Available => "AVAILABLE",
            Self::Unloading => "UNLOADING",
            Self::End => "END",
        }
    }
}

/// A version and its state.
#[derive(Clone)]
pub struct VersionStatus {
    /// Its number.
    pub number: u64,
    /// Where it is in its life.
    pub state: State,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What runs it, in state `Available`.
    pub served: Option<Arc<Version>>,
}

/// A version that can be called. Whoever holds it may finish, though it is no longer in the catalog; with the last of them its
/// session ends.
pub struct Version {
    /// Its number.
    pub number: u64,
    /// Sorted by name.
    pub servables: Vec<Servable>,
    /// Held so that they are not taken for those of a version that has ended.
    _metrics: Arc<VersionMetrics>,
}

/// What a signature is called, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServableName {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// The signature's name.
    pub signature: String,
}

/// One signature that can be called.
pub struct Servable {
    /// What it is called.
    pub name: Arc<ServableName>,
    /// Runs it.
    pub handle: ModelHandle,
    /// What was made of it.
    pub metrics: Arc<SignatureMetrics>,
    /// What it has for inputs that a request leaves out, by their names.
    pub defaults: BTreeMap<String, Tensor>,
    /// What trying it at load found wrong.
    pub warning: Option<String>,
}

/// Which version of a model is meant.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The highest that is served.
    Newest,
    /// The one of this number, as it was written.
    Number(&'a str),
    /// The one this label names.
    Label(&'a str),
}

impl Catalog {
    /// Makes an empty catalog whose models' actors run in `arbiter`; their runs are traced if there is a tracer.
    #[must_use]
    pub fn new(policy: Policy, arbiter: ArbiterHandle, tracer: Option<Arc<Tracer>>) -> Self {
        Self { models: ArcSwap::default(), changing: Mutex::new(()), policy, arbiter, metrics: Registry::default(), tracer }
    }

    /// Starts the actors of a version, which took `load_time` to load. Nobody finds it until it is [put](Self::put) into the
    /// catalog.
    ///
    /// # Errors
    /// `Internal` if the system has no more threads to give.
    pub fn start(&self, (model, number): (&str, u64), loaded: Loaded, load_time: Duration) -> Result<Arc<Version>, Error> {
        let Loaded { session, mut defaults } = loaded;
        let metrics = self.metrics.version(model, number);
        metrics.set_load_time(load_time);
        let name = |signature: &str| ServableName { model: model.to_owned(), version: number, signature: signature.to_owned() };
        let figures = |signature: &str| {
            let metrics = metrics.signature(signature);
            let tracer = self.tracer.as_ref().map(|tracer| tracer.of_signature(name(signature)));
            let observer = Arc::new(RunCounter { figures: Arc::clone(&metrics.runs), tracer });
            SignatureFigures { gauges: Arc::clone(&metrics.gauges), observer }
        };
        let handles = start_model(&self.arbiter, &session, self.policy, figures)
            .map_err(|error| Error::internal(format!("no run threads: {error}")))?;
        let warning = |index| session.warning(index).map(str::to_owned);
        let servable = |(index, handle): (usize, ModelHandle)| Servable {
            name: Arc::new(name(&handle.signature().name)),
            metrics: metrics.signature(&handle.signature().name),
            defaults: defaults.remove(&handle.signature().name).unwrap_or_default(),
            warning: warning(index),
            handle,
        };
        let servables = handles.into_iter().enumerate().map(servable).collect();
        Ok(Arc::new(Version { number, servables, _metrics: metrics }))
    }

    /// Figures of all versions, also of some that have ended.
    #[must_use]
    pub fn metrics(&self) -> Vec<Arc<VersionMetrics>> {
        self.metrics.all()
    }

    /// Puts a model in the place of the one of its name, or behind the others.
    pub fn put(&self, model: Model) {
        self.change(|models| match models.iter_mut().find(|known| known.name == model.name) {
            Some(known) => *known = Arc::new(model),
            None => models.push(Arc::new(model)),
        });
    }

    /// Takes a model out. Who is at it may finish.
    pub fn remove(&self, name: &str) {
        self.change(|models| models.retain(|model| model.name != name));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Model>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = Vec::clone(&self.models.load());
        change(&mut models);
        self.models.store(Arc::new(models));
    }

    /// All models, as they are now.
    #[must_use]
    pub fn models(&self) -> Arc<Vec<Arc<Model>>> {
        self.models.load_full()
    }

    /// Finds a version of a model; of the first where none is named.
    ///
    /// # Errors
    /// `NotFound` naming the known ones; `Unavailable` for a model of which nothing is served yet.
    pub fn version(&self, name: Option<&str>, which: Which<'_>) -> Result<Arc<Version>, Error> {
        let models = self.models.load();
        let found = match name {
            None => models.first(),
            Some(name) => models.iter().find(|model| model.name == name),
        };
        let model = found.ok_or_else(|| {
            let known = quoted_list(models.iter().map(|model| model.name.as_str()));
            let wanted = name.map_or_else(|| "no model".to_owned(), |name| format!("no model {}", quoted(name)));
            Error::new(Code::NotFound, format!("{wanted}; this server has {known}"))
        })?;
        model.version(which).cloned()
    }
}

impl Model {
    /// The versions that are served, lowest first.
    pub fn served(&self) -> impl DoubleEndedIterator<Item = &Arc<Version>> {
        self.versions.iter().filter_map(|version| version.served.as_ref())
    }

    fn version(&self, which: Which<'_>) -> Result<&Arc<Version>, Error> {
        let number = match which {
            Which::Newest => return self.served().next_back().ok_or_else(|| self.nothing_served()),
            Which::Number(text) => text.parse().ok(),
            Which::Label(label) => {
                let number = self.labels.get(label).ok_or_else(|| {
                    let known = quoted_list(self.labels.keys().map(String::as_str));
                    let text = format!("no label {} of model {}; it has {known}", quoted(label), quoted(&self.name));
                    Error::new(Code::NotFound, text)
                })?;
                Some(*number)
            }
        };
        let found = self.served().find(|version| Some(version.number) == number);
        found.ok_or_else(|| {
            let wanted = match which {
                Which::Label(label) => format!("{}, which label {} names,", number.unwrap_or_default(), quoted(label)),
                Which::Number(text) => quoted(text),
                Which::Newest => String::new(),
            };
            if self.served().next().is_none() {
                return self.nothing_served();
            }
            let known: Vec<String> = self.served().take(LISTED_MAX).map(|version| version.number.to_string()).collect();
            let text = format!("no version {wanted} of model {}; it has {}", quoted(&self.name), known.join(", "));
            Error::new(Code::NotFound, text)
        })
    }

    fn nothing_served(&self) -> Error {
        let why = self.error.as_ref().or_else(|| self.versions.iter().rev().find_map(|version| version.error.as_ref()));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Error::new(Code::Unavailable, format!("model {} is not loaded yet{why}", quoted(&self.name)))
    }
}

impl Version {
    /// Finds a signature; where none is named, `serving_default` or the only one.
    ///
    /// # Errors
    /// `NotFound` naming the known ones.
    pub fn servable(&self, name: Option<&str>) -> Result<&Servable, Error> {
        if let (None, [only]) = (name, self.servables.as_slice()) {
            return Ok(only);
        }
        let wanted = name.unwrap_or(DEFAULT_SIGNATURE);
        self.servables.iter().find(|servable| servable.handle.signature().name == wanted).ok_or_else(|| {
            let known = quoted_list(self.servables.iter().map(|servable| servable.handle.signature().name.as_str()));
            Error::new(Code::NotFound, format!("no signature {}; this model has {known}", quoted(wanted)))
        })
    }
}

fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut listed: Vec<String> = names.map(quoted).collect();
    if listed.is_empty() {
        return "none".to_owned();
    }
    let more = listed.len().saturating_sub(LISTED_MAX);
    listed.truncate(LISTED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    listed.join(", ") + &rest
}
