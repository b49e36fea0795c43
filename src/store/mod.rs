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

#[cfg(feature = "http")]
mod archive;
mod cache;
mod connect;
mod download;
mod env;
mod http;
mod listing;
mod local;
mod operator;
mod progress;
#[cfg(feature = "http")]
mod unpack;
mod uri;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tfweb_engine::{Code, Error};

use cache::{Lock, Place};
use download::Store;

pub use cache::Cache;
pub use env::Env;
pub use listing::{File, Fingerprint, Listing, Version, FILES_MAX};
pub use local::look as look_at_directory;
pub use operator::{OperatorConfig, Service, Signing};
pub use uri::{ModelUri, Packing};

/// How often to see whether another process is done with a version.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// The most time to wait for it: as long as a download of terabytes takes. A process that ends lets go at once.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// A place that has a model, or versions of one.
///
/// It belongs to the runtime in which it is first asked.
#[derive(Debug)]
pub struct Origin {
    uri: ModelUri,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Local(PathBuf),
    Store(Box<Store>),
    #[cfg(feature = "http")]
    Archive(Box<archive::Archive>),
}

impl Origin {
    /// Opens a place. Nothing is asked of it yet. `cache` is called for places elsewhere: a server of local models needs none.
    ///
    /// # Errors
    /// `InvalidArgument` for an environment that says too little, `Unimplemented` for a scheme that is not built in, the cache's.
    pub fn open(uri: &ModelUri, cache: impl FnOnce() -> Result<Cache, Error>, env: &Env) -> Result<Self, Error> {
        let kind = match uri {
            ModelUri::Local(path) => Kind::Local(path.clone()),
            #[cfg(feature = "http")]
            ModelUri::Archive { url, packing } => {
                Kind::Archive(Box::new(archive::Archive::new(uri, url.clone(), *packing, cache()?.place(uri, None))?))
            }
            #[cfg(not(feature = "http"))]
            ModelUri::Archive { .. } => return Err(operator::not_built(uri, "http")),
            ModelUri::S3 { .. }
            | ModelUri::Gcs { .. }
            | ModelUri::Azure { .. }
            | ModelUri::Hdfs { .. }
            | ModelUri::WebHdfs { .. }
            | ModelUri::Hf { .. } => {
                let config = OperatorConfig::new(uri, env)?;
                connect::check_built(uri, config.service)?;
                let place = cache()?.place(uri, config.endpoint());
                Kind::Store(Box::new(Store::new(uri, config, place)?))
            }
        };
        Ok(Self { uri: uri.clone(), kind })
    }

    /// The place's URI.
    #[must_use]
    pub fn uri(&self) -> &ModelUri {
        &self.uri
    }

    /// Looks what is there now. An archive that has changed is brought whole by this: one cannot look into it elsewhere.
    ///
    /// # Errors
    /// `NotFound` where no SavedModel is; `Unavailable`, after some retries, where nobody answers.
    ///
    /// # Cancel safety
    /// What was begun is removed.
    pub async fn look(&self) -> Result<Listing, Error> {
        match &self.kind {
            Kind::Local(path) => {
                let path = path.clone();
                blocking(move || local::look(&path)).await
            }
            Kind::Store(store) => store.look().await,
            #[cfg(feature = "http")]
            Kind::Archive(archive) => archive.look().await,
        }
    }

    /// Brings a version that a look has found; gives the directory with its saved_model.pb. What is here already is not
    /// brought again, and nobody finds half a version.
    ///
    /// # Errors
    /// `Unavailable`, after some retries, where nobody answers, or where the version changed meanwhile: then look again.
    /// `FailedPrecondition` for a version that is not complete, and a cache that cannot be written.
    ///
    /// # Cancel safety
    /// What was begun is removed.
    pub async fn bring(&self, version: &Version) -> Result<PathBuf, Error> {
        if let Some(missing) = &version.missing {
            let message = format!("`{}`: version {} is not complete: {missing} is missing", self.uri, version.number);
            return Err(Error::new(Code::FailedPrecondition, message));
        }
        match &self.kind {
            Kind::Local(path) => Ok(if version.directory.is_empty() { path.clone() } else { path.join(&version.directory) }),
            Kind::Store(store) => store.bring(version).await,
            #[cfg(feature = "http")]
            Kind::Archive(archive) => archive.bring(version).await,
        }
    }
}

/// Does what blocks on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(format!("a file task failed: {error}")))?
}

/// Takes the lock on a version, or waits for it.
async fn lock(place: &Place, version: &str) -> Result<Lock, Error> {
    let start = Instant::now();
    let mut is_said = false;
    loop {
        let (asked, of) = (place.clone(), version.to_owned());
        let lock = blocking(move || {
            asked.make()?;
            asked.try_lock(&of).map_err(|error| asked.cannot_write(&error))
        });
        if let Some(lock) = lock.await? {
            return Ok(lock);
        }
        if start.elapsed() > LOCK_WAIT_MAX {
            return Err(Error::new(Code::Unavailable, "another process has been writing the same version for hours"));
        }
        if !is_said {
            tracing::info!("waiting for another process that is bringing the same model");
            is_said = true;
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_thread_may_ask() {
        fn is_for_all<T: Send + Sync>(_: &T) {}
        fn is_sent<T: Send>(_: &T) {}
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(directory.path()), &Env::of(&[])).unwrap();
        let uri = ModelUri::parse("tests/models/half_plus_two").unwrap();
        let origin = Origin::open(&uri, || Ok(cache.clone()), &Env::of(&[])).unwrap();
        is_for_all(&origin);
        let work = async {
            let listing = origin.look().await?;
            origin.bring(&listing.versions[0]).await
        };
        is_sent(&work);
        let brought = actix::System::new().block_on(work).unwrap();
        assert_eq!(brought, PathBuf::from("tests/models/half_plus_two/1"), "not by way of the cache");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
