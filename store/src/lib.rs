//! Where models come from: any URI → a local directory with one version's files.
//!
//! [`Origin`] is one place, opened by its [`ModelUri`]; [`Origin::look`] says which versions are there and whether each is
//! complete, [`Origin::bring`] puts one into the [`Cache`] and gives its directory. Directories of this machine are looked at
//! in the same way, and are used where they are. Nothing here loads a model, watches a place, or knows of models by name.
//!
//! - `uri`, `env`, `operator`, `listing`: what is meant, pure.
//! - `http`, `connect`: how stores are asked.
//! - `download`, `archive`, `unpack`, `local`: the three kinds of places.
//! - `cache`, `progress`: where files go, and what is said meanwhile.

#![forbid(unsafe_code)]

#[cfg(feature = "http")]
mod archive;
mod cache;
mod connect;
mod download;
mod env;
mod http;
mod listing;
mod local;
mod lock;
mod operator;
mod origin;
mod progress;
#[cfg(feature = "http")]
mod unpack;
mod uri;

pub use cache::Cache;
pub use env::Env;
pub use listing::{File, Fingerprint, Listing, Version, FILES_MAX};
pub use local::look as look_at_directory;
pub use operator::{OperatorConfig, Service, Signing};
pub use origin::Origin;
pub use uri::{ModelUri, Packing};
