//! Gets a model from any URI into a local directory with the files of one version.
//!
//! An [`Origin`] is the place that a [`ModelUri`] names. [`Origin::list`] gives its versions and says which are complete.
//! [`Origin::download`] puts a version into the [`Cache`] and returns its directory. A local directory is listed in the same way
//! and used where it is. This crate loads no model, watches no origin, and knows no model names.
//!
//! - `uri`, `env`, `operator`, `listing`, `layout`: read URIs, variables and lists of files. They are pure.
//! - `http`, `limited`, `connect`, `outage`: make the clients of stores, and log their failures.
//! - `download`, `walk`, `archive`, `unpack`, `local`: stores, archives and local directories.
//! - `cache`, `manifest`, `remembered`, `digest`, `lock`, `progress`: write files into the cache, know them again, and log the
//!   progress.

#![forbid(unsafe_code)]

#[cfg(feature = "http")]
mod archive;
mod cache;
mod connect;
mod digest;
mod download;
mod env;
#[cfg(feature = "http")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
#[cfg(feature = "http")]
mod layout;
mod limited;
mod listing;
mod local;
mod lock;
mod manifest;
mod operator;
mod origin;
mod outage;
mod progress;
mod remembered;
#[cfg(feature = "http")]
mod unpack;
mod uri;
mod walk;

pub use cache::Cache;
pub use env::Env;
pub use listing::{File, Fingerprint, Listing, Version, FILES_MAX};
pub use local::list as list_directory;
pub use operator::{OperatorConfig, Service, Signing};
pub use origin::Origin;
pub use uri::{ModelUri, Packing};
