//! What to serve.

use std::collections::BTreeMap;
use std::time::Duration;

use tfweb_store::ModelUri;

use super::version_policy::VersionPolicy;

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Its name in routes.
    pub name: String,
    /// Where it comes from.
    pub uri: ModelUri,
    /// Which of its versions are served.
    pub policy: VersionPolicy,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// How often to look for other versions: never if zero. None: as often as fits the kind of place.
    pub poll: Option<Duration>,
}
