//! The models that the server serves: their versions, where they come from, and how they change.
//!
//! A [`ModelSet`] has one watcher for each model. The watcher has a supply, which lists the versions at the model's origin and lets
//! the [`Loader`] load new ones. The watcher puts them into the [`Catalog`]. Every request looks into the catalog. The
//! [`VersionPolicy`] chooses the versions to serve.

mod catalog;
pub mod config_file;
pub mod defaults;
mod followed_file;
mod incomplete;
mod loader;
mod model;
mod model_set;
pub mod spec;
mod supply;
mod supply_log;
mod version_policy;
mod versions;
pub mod warmup;
mod watcher;
mod watchers;

pub use catalog::Catalog;
pub use loader::{Load, Loaded, Loader, Turns};
pub use model::{Model, ModelSummary, Servable, State, Version, VersionStatus, Which, DEFAULT_SIGNATURE};
pub use model_set::{ModelSet, Update};
pub use spec::ModelSpec;
pub use version_policy::{labels as version_labels, VersionPolicy};
pub use watchers::Opened;
