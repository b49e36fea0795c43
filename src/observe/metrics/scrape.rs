//! What one page of figures is made of. Who asks for the page gathers it, for this room knows neither models nor fetches by itself.

use std::sync::Arc;

use tfweb_actors::fetcher::FetchObservation;

use super::registry::VersionMetrics;
use crate::observe::requests::RequestFigures;

/// All figures at one moment.
pub struct Scrape {
    /// Figures of every version that is served, and of some that have ended.
    pub versions: Vec<Arc<VersionMetrics>>,
    /// Figures of requests that belong to no signature.
    pub requests: Arc<RequestFigures>,
    /// Every model.
    pub models: Vec<ModelState>,
    /// The names of all states that a version may be in.
    pub states: &'static [&'static str],
    /// Figures of fetches; none where URL inputs are switched off.
    pub fetches: Option<FetchObservation>,
    /// The version of TensorFlow that runs.
    pub tensorflow: String,
}

/// A model and the states of its versions.
pub struct ModelState {
    /// Its name.
    pub name: String,
    /// Whether it can be called.
    pub is_ready: bool,
    /// Its versions.
    pub versions: Vec<VersionState>,
}

/// A version and its state.
pub struct VersionState {
    /// Its number.
    pub number: u64,
    /// One of [`Scrape::states`].
    pub state: &'static str,
}
