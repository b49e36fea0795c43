//! The contents of one metrics page. The protocol that serves the page gathers them, because this module knows neither models nor
//! the fetcher.

use std::sync::Arc;

use tfweb_actors::fetcher::FetchObservation;
use tfweb_limits::Ledger;

use super::registry::VersionMetrics;
use crate::observe::requests::RequestFigures;

/// All metrics at one moment.
pub struct Scrape {
    /// The metrics of all served versions, and of the last ones that ended.
    pub versions: Vec<Arc<VersionMetrics>>,
    /// The metrics of requests that belong to no signature.
    pub requests: Arc<RequestFigures>,
    /// Counts the memory of all requests.
    pub ledger: Arc<Ledger>,
    /// All models.
    pub models: Vec<ModelState>,
    /// The names of all states of versions.
    pub states: &'static [&'static str],
    /// The metrics of fetches; `None` where URL inputs are off.
    pub fetches: Option<FetchObservation>,
    /// The version of the TensorFlow library.
    pub tensorflow: String,
}

/// A model and the states of its versions.
pub struct ModelState {
    /// Its name.
    pub name: String,
    /// Whether the model can be called.
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
