//! The models that the server serves: their versions, where they come from, and how they change.
//!
//! A [`ModelSet`] has one watcher for each model. The watcher lists the versions at the model's origin, lets the [`Loader`] load
//! new ones, and puts them into the [`Catalog`]. Every request looks into the catalog. The [`VersionPolicy`] chooses the versions
//! to serve.

mod catalog;
pub mod config_file;
pub mod defaults;
mod loader;
mod model;
mod model_set;
mod spec;
mod version_policy;
mod versions;
pub mod warmup;
mod watcher;

pub use catalog::Catalog;
pub use loader::{Load, Loaded, Loader};
pub use model::{Model, ModelSummary, Servable, State, Version, VersionStatus, Which, DEFAULT_SIGNATURE};
pub use model_set::ModelSet;
pub use spec::ModelSpec;
pub use version_policy::{labels as version_labels, VersionPolicy};
