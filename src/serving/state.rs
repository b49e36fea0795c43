//! The state of the server that all protocols share.

use std::sync::Arc;
use std::time::Duration;

use tfweb_actors::fetcher::FetcherHandle;
use tfweb_limits::Ledger;

use super::health::Health;
use crate::models::{Catalog, ModelSet};
use crate::observe::metrics::Registry;
use crate::observe::RequestFigures;

/// The state of the server that all protocols share.
pub struct State {
    /// The models that are served.
    pub catalog: Arc<Catalog>,
    /// Adds, changes and removes models; `None` where the models cannot change.
    pub models: Option<Arc<ModelSet>>,
    /// Fetches URLs; `None` where URL inputs are off.
    pub fetcher: Option<FetcherHandle>,
    /// The time limit of one request.
    pub request_timeout: Duration,
    /// Counts predictions.
    pub requests: Arc<RequestFigures>,
    /// Counts the memory of all requests.
    pub ledger: Arc<Ledger>,
    /// The metrics of every version.
    pub registry: Arc<Registry>,
    /// Knows the state of the server.
    pub health: Health,
}
