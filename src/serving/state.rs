//! What every protocol may look at.

use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::fetcher::FetcherHandle;

use super::health::Health;
use crate::models::{Catalog, ModelSet};
use crate::observe::metrics::Registry;
use crate::observe::RequestFigures;

/// What every protocol may look at.
pub struct State {
    /// The models that are served.
    pub catalog: Arc<Catalog>,
    /// Changes which models are served; none where they cannot change.
    pub models: Option<Arc<ModelSet>>,
    /// Fetches what URLs name; none where URL inputs are switched off.
    pub fetcher: Option<FetcherHandle>,
    /// The most time for one request.
    pub request_timeout: Duration,
    /// Where predictions are counted.
    pub requests: Arc<RequestFigures>,
    /// The figures of every version.
    pub registry: Arc<Registry>,
    /// How the server is.
    pub health: Health,
}
