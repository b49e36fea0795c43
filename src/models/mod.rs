//! The models that are served: which there are, which of their versions, where they come from, and when they change.
//!
//! A [`ModelSet`] has a watcher for each model. The watcher looks where the model comes from, has the [`Loader`] load what is new,
//! and puts it into the [`Catalog`], where every request looks. Which versions are wanted is up to the [`VersionPolicy`].

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
