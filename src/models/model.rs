//! A model, its versions and their states, and the signatures that can be called.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tfweb_actors::ModelHandle;
use tfweb_engine::{quoted, Code, Error, Tensor};

use crate::observe::metrics::VersionMetrics;
use crate::observe::SignatureMeter;

/// The most names that an error lists, so that it stays readable.
const LISTED_MAX: usize = 50;

/// The signature that is meant when none is named (tensorflow/cc/saved_model/signature_constants.h).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// A model: its versions that are served, and those that are not, and why.
#[derive(Clone, Default)]
pub struct Model {
    /// Its name in routes.
    pub name: String,
    /// By number, lowest first.
    pub versions: Vec<VersionStatus>,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// Why none of its versions is served, or no newer one.
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
    /// Ended, or it could not be loaded.
    End,
}

impl State {
    /// The names of all states, for tables.
    pub const NAMES: &'static [&'static str] =
        &[Self::Start.name(), Self::Loading.name(), Self::Available.name(), Self::Unloading.name(), Self::End.name()];

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
    /// The version, in state `Available`.
    pub served: Option<Arc<Version>>,
}

/// A version that can be called. A request that holds it may finish after it has left the catalog. Its session ends with the last
/// of those.
pub struct Version {
    /// Its number.
    pub number: u64,
    /// Sorted by name.
    pub servables: Vec<Servable>,
    /// Held for as long as the version lives: figures that nobody else holds are those of a version that has ended.
    pub(super) _metrics: Arc<VersionMetrics>,
}

/// One signature that can be called.
pub struct Servable {
    /// Runs it.
    pub handle: ModelHandle,
    /// Its labels and figures.
    pub meter: SignatureMeter,
    /// The tensors of inputs that a request leaves out, by their names.
    pub defaults: BTreeMap<String, Tensor>,
    /// What was wrong when it was tried at load.
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

/// A model in one line: its newest version that is served, or else why there is none.
#[derive(Serialize)]
pub struct ModelSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// Null where none is served.
    pub version: Option<u64>,
    /// The state of that version, or of the last one.
    pub state: &'static str,
    /// What is wrong with the model or its newest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

impl Model {
    /// The versions that are served, lowest first.
    pub fn served(&self) -> impl DoubleEndedIterator<Item = &Arc<Version>> {
        self.versions.iter().filter_map(|version| version.served.as_ref())
    }

    /// The model in one line.
    #[must_use]
    pub fn summary(&self) -> ModelSummary<'_> {
        let newest = self.served().next_back();
        let last = self.versions.last();
        let state = if newest.is_some() { State::Available } else { last.map_or(State::Start, |version| version.state) };
        let error = self.error.as_deref().or_else(|| self.versions.iter().rev().find_map(|version| version.error.as_deref()));
        ModelSummary { name: &self.name, version: newest.map(|version| version.number), state: state.name(), error }
    }

    /// Finds a version that is served.
    ///
    /// # Errors
    /// `NotFound` naming the known ones; `Unavailable` where none is served yet.
    pub fn version(&self, which: Which<'_>) -> Result<&Arc<Version>, Error> {
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
    /// Finds a signature: `serving_default` or the only one where none is named.
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

/// Names in quotes, at most 50 of them, or `none`.
pub(super) fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut listed: Vec<String> = names.map(quoted).collect();
    if listed.is_empty() {
        return "none".to_owned();
    }
    let more = listed.len().saturating_sub(LISTED_MAX);
    listed.truncate(LISTED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    listed.join(", ") + &rest
}
