//! The description of a model to serve.

use std::collections::BTreeMap;
use std::time::Duration;

use tfweb_store::ModelUri;

use super::version_policy::VersionPolicy;

/// A model to serve, as flags, a file or a request describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Its name in routes.
    pub name: String,
    /// Where it comes from.
    pub uri: ModelUri,
    /// Chooses the versions to serve.
    pub policy: VersionPolicy,
    /// The version number that each label names.
    pub labels: BTreeMap<String, u64>,
    /// How often the watcher lists the versions; zero for never. `None` takes the default for the kind of origin.
    pub poll: Option<Duration>,
}
