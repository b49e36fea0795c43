//! A model, its versions with their states, and its signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tfweb_actors::ModelHandle;
use tfweb_engine::{quoted, Code, Error, Tensor, Trial};

use super::spec::ModelSpec;
use crate::observe::metrics::{SignatureMeter, VersionMetrics};

/// The most names that an error lists, so that the error stays readable.
const LISTED_MAX: usize = 50;

/// The warning for a model that nobody can call.
const NO_SIGNATURE: &str = "it has no signature, so it cannot be called; save it with \
    tf.saved_model.save(model, directory, signatures=model.call.get_concrete_function(tf.TensorSpec([None, 4], tf.float32))), or a \
    Keras model with model.export(directory)";

/// The signature of a request that names none (tensorflow/cc/saved_model/signature_constants.h).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// A model with all its versions, served or not.
#[derive(Clone, Default)]
pub struct Model {
    /// Its name in routes.
    pub name: String,
    /// Sorted by number, lowest first.
    pub versions: Vec<VersionStatus>,
    /// The version number that each label names.
    pub labels: BTreeMap<String, u64>,
    /// Why the model serves no version, or why it could not load a newer one.
    pub error: Option<Error>,
    /// Whether a request adds the model, and none of its versions was served yet. The server is ready without it.
    pub is_candidate: bool,
}

/// The state of a version, in TensorFlow Serving's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The version exists, and its load has not begun.
    Start,
    /// The server loads the version.
    Loading,
    /// The server serves the version.
    Available,
    /// The version finishes its last requests.
    Unloading,
    /// The version has ended, or could not be loaded.
    End,
}

impl State {
    /// The names of all states, for metrics.
    pub const NAMES: &'static [&'static str] =
        &[Self::Start.name(), Self::Loading.name(), Self::Available.name(), Self::Unloading.name(), Self::End.name()];

    /// The state's name in answers.
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
    /// Its state.
    pub state: State,
    /// The reason if the version, or a newer set of its files, could not be loaded.
    pub error: Option<String>,
    /// The loaded version, in state `Available`.
    pub served: Option<Arc<Version>>,
}

/// A loaded version. A request that holds it can finish after the version has left the catalog. The last such request ends the
/// version's session.
pub struct Version {
    /// Its number.
    pub number: u64,
    /// Sorted by name.
    pub servables: Vec<Servable>,
    /// The missing assets in words, if it was loaded without its initialiser.
    pub(super) lacks: Option<String>,
    /// Kept as long as the version lives. The registry counts a version as ended when nobody else holds its metrics.
    pub(super) _metrics: Arc<VersionMetrics>,
}

/// One signature of a loaded version.
pub struct Servable {
    /// Runs the signature.
    pub handle: ModelHandle,
    /// Its labels and metrics.
    pub meter: SignatureMeter,
    /// The default tensors of inputs, by input name.
    pub defaults: BTreeMap<String, Tensor>,
    /// How its trial at load ended.
    pub trial: Trial,
}

/// The version that a request asks for.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The highest version that is served.
    Newest,
    /// The version with this number, as the request wrote it.
    Number(&'a str),
    /// The version that this label names.
    Label(&'a str),
}

/// A summary of a model: its newest served version, or the reason why there is none.
#[derive(Serialize)]
pub struct ModelSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// Null where no version is served.
    pub version: Option<u64>,
    /// The state of that version, or else of the last version.
    pub state: &'static str,
    /// The error of the model or of its newest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

impl Model {
    /// A model that a spec describes, before anything is known about its versions.
    pub(super) fn expected(spec: &ModelSpec) -> Self {
        Self { name: spec.name.clone(), labels: spec.labels.clone(), ..Self::default() }
    }

    /// The served versions, lowest first.
    pub fn served(&self) -> impl DoubleEndedIterator<Item = &Arc<Version>> {
        self.versions.iter().filter_map(|version| version.served.as_ref())
    }

    /// Summarizes the model.
    #[must_use]
    pub fn summary(&self) -> ModelSummary<'_> {
        let newest = self.served().next_back();
        let last = self.versions.last();
        let state = if newest.is_some() { State::Available } else { last.map_or(State::Start, |version| version.state) };
        let error = self.error.as_ref().map(|error| error.message.as_str());
        let error = error.or_else(|| self.versions.iter().rev().find_map(|version| version.error.as_deref()));
        ModelSummary { name: &self.name, version: newest.map(|version| version.number), state: state.name(), error }
    }

    /// Says in a few words why the model, or a newer version of it, is not served. The words name no path and no bucket, so that
    /// anybody may read them.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        if let Some(error) = &self.error {
            return Some(match error.code {
                Code::NotFound => "there is no model at its place",
                Code::Unauthenticated | Code::PermissionDenied => "its place denies access",
                Code::Aborted | Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => "its place does not answer",
                Code::InvalidArgument
                | Code::OutOfRange
                | Code::FailedPrecondition
                | Code::ResourceExhausted
                | Code::Unimplemented
                | Code::DataLoss
                | Code::Internal => "it cannot be loaded",
            });
        }
        let failed = self.versions.iter().rev().find(|version| version.error.is_some())?;
        Some(if failed.state == State::Start { "a version is not complete" } else { "a version cannot be loaded" })
    }

    /// Finds a served version.
    ///
    /// # Errors
    /// `NotFound` that lists the known versions or labels; `Unavailable` if the version is not loaded yet.
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
            let waits = |version: &&VersionStatus| matches!(version.state, State::Start | State::Loading);
            if let Some(version) = self.versions.iter().filter(waits).find(|version| Some(version.number) == number) {
                return not_loaded(&format!("version {} of model {}", version.number, quoted(&self.name)), self.reason());
            }
            let known: Vec<String> = self.served().take(LISTED_MAX).map(|version| version.number.to_string()).collect();
            let text = format!("no version {wanted} of model {}; it has {}", quoted(&self.name), known.join(", "));
            Error::new(Code::NotFound, text)
        })
    }

    fn nothing_served(&self) -> Error {
        not_loaded(&format!("model {}", quoted(&self.name)), self.reason())
    }
}

fn not_loaded(what: &str, why: Option<&str>) -> Error {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Error::new(Code::Unavailable, format!("{what} is not loaded yet{why}"))
}

impl Version {
    /// The faults that the owner of the model should know: those that the trials at load have found, the tensors that are not served, and
    /// the signatures whose requests share no runs although they have rows.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        if self.servables.is_empty() {
            return vec![NO_SIGNATURE.to_owned()];
        }
        let of_servable = |servable: &Servable| {
            let signature = servable.handle.signature();
            let unserved = signature.unserved.iter().map(ToString::to_string);
            let alone = servable.handle.runs_alone().map(|why| {
                let flag = format!("--batch_size MODEL/{}=ROWS", signature.name);
                format!("each request runs alone and whole, because its rows depend on each other: {why}; {flag} batches it all the same")
            });
            let of_whole = servable.trial.warning().into_iter().chain(signature.fault()).map(str::to_owned);
            let all = of_whole.chain(unserved).chain(alone);
            all.map(|warning| format!("signature {:?}: {warning}", signature.name)).collect::<Vec<_>>()
        };
        self.servables.iter().flat_map(of_servable).collect()
    }

    /// The signatures whose requests share runs although nobody knows whether their rows are independent, and why.
    #[must_use]
    pub fn unproven(&self) -> BTreeMap<&str, &str> {
        let handles = self.servables.iter().map(|servable| &servable.handle);
        handles.filter_map(|handle| Some((handle.signature().name.as_str(), handle.shares_unproven()?))).collect()
    }

    /// Finds a signature. Without a name it takes `serving_default`, or the only signature.
    ///
    /// # Errors
    /// `NotFound` that lists the known signatures.
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

/// Lists names in quotes, at most 50 of them; `none` for an empty list.
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
