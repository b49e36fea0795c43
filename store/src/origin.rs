//! The origin of a model: lists its versions, and downloads a version to this machine.

use std::path::PathBuf;

use tfweb_engine::{Code, Error};

#[cfg(feature = "http")]
use super::archive::Archive;
use super::cache::Cache;
use super::download::Store;
use super::env::Env;
use super::listing::{Listing, Version};
use super::lock::blocking;
#[cfg(not(feature = "http"))]
use super::operator::not_built;
use super::operator::OperatorConfig;
use super::uri::ModelUri;
use super::{connect, local};

/// The place of a model or of its versions.
///
/// An origin belongs to the runtime that asks it first.
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
    Archive(Box<Archive>),
}

impl Origin {
    /// Opens an origin. This asks nothing of it yet. `cache` is called only for origins that are not local: a server with local
    /// models needs no cache.
    ///
    /// # Errors
    /// `InvalidArgument` if a variable is missing or wrong; `Unimplemented` for a scheme that is not built in; those of the
    /// cache.
    pub fn open(uri: &ModelUri, cache: impl FnOnce() -> Result<Cache, Error>, env: &Env) -> Result<Self, Error> {
        let kind = match uri {
            ModelUri::Local(path) => Kind::Local(path.clone()),
            #[cfg(feature = "http")]
            ModelUri::Archive { url, packing } => {
                Kind::Archive(Box::new(Archive::new(uri, url.clone(), *packing, cache()?.origin(uri, None))?))
            }
            #[cfg(not(feature = "http"))]
            ModelUri::Archive { .. } => return Err(not_built(uri, "http")),
            ModelUri::S3 { .. }
            | ModelUri::Gcs { .. }
            | ModelUri::Azure { .. }
            | ModelUri::Hdfs { .. }
            | ModelUri::WebHdfs { .. }
            | ModelUri::Hf { .. } => {
                let config = OperatorConfig::new(uri, env)?;
                connect::check_built(uri, config.service)?;
                let cache = cache()?.origin(uri, config.endpoint());
                Kind::Store(Box::new(Store::new(uri, config, cache)?))
            }
        };
        Ok(Self { uri: uri.clone(), kind })
    }

    /// The URI of the origin.
    #[must_use]
    pub fn uri(&self) -> &ModelUri {
        &self.uri
    }

    /// Lists the versions. If an archive has changed, this downloads it, because its files can only be listed here.
    ///
    /// # Errors
    /// `NotFound` without a SavedModel; `Unavailable`, after some retries, if the origin does not answer.
    ///
    /// # Cancel safety
    /// An unfinished download is removed.
    pub async fn list(&self) -> Result<Listing, Error> {
        match &self.kind {
            Kind::Local(path) => {
                let path = path.clone();
                blocking(move || local::list(&path)).await
            }
            Kind::Store(store) => store.list().await,
            #[cfg(feature = "http")]
            Kind::Archive(archive) => archive.list().await,
        }
    }

    /// The versions of the last listing that the cache has, to be served while the origin does not answer. `None` for a local
    /// directory, and if nothing was downloaded. The versions can be downloaded as usual, which then asks nothing of the origin.
    ///
    /// # Errors
    /// `Internal` if the task ended.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn remembered(&self) -> Result<Option<Listing>, Error> {
        match &self.kind {
            Kind::Local(_) => Ok(None),
            Kind::Store(store) => store.remembered().await,
            #[cfg(feature = "http")]
            Kind::Archive(archive) => archive.remembered().await,
        }
    }

    /// Downloads a listed version. Returns the directory of its saved_model.pb. Files that the cache has already are not
    /// downloaded again, and nobody finds an unfinished version.
    ///
    /// # Errors
    /// `Unavailable`, after some retries, if the origin does not answer, or if the version changed during the download; then list
    /// again. `FailedPrecondition` for an incomplete version, and for a cache that cannot be written.
    ///
    /// # Cancel safety
    /// An unfinished download is removed.
    pub async fn download(&self, version: &Version) -> Result<PathBuf, Error> {
        if let Some(fault) = &version.fault {
            let message = format!("`{}`: version {} is {fault}", self.uri, version.number);
            return Err(Error::new(Code::FailedPrecondition, message));
        }
        match &self.kind {
            Kind::Local(path) => {
                let directory = if version.directory.is_empty() { path.clone() } else { path.join(&version.directory) };
                blocking(move || local::check_regular(&directory).map(|()| directory)).await
            }
            Kind::Store(store) => store.download(version).await,
            #[cfg(feature = "http")]
            Kind::Archive(archive) => archive.download(version).await,
        }
    }

    /// Downloads a version once more that was downloaded and does not load, because its origin may have sent wrong bytes. Gives
    /// the directory, or `None` if the bytes are the same, now or in an earlier second download. Local files are not downloaded.
    ///
    /// # Errors
    /// Those of [`Self::download`].
    ///
    /// # Cancel safety
    /// An unfinished download is removed, and the earlier one stays.
    pub async fn download_again(&self, version: &Version) -> Result<Option<PathBuf>, Error> {
        match &self.kind {
            Kind::Local(_) => Ok(None),
            Kind::Store(store) => store.download_again(version).await,
            #[cfg(feature = "http")]
            Kind::Archive(archive) => archive.download_again(version).await,
        }
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
        let uri = ModelUri::parse("../tests/models/half_plus_two").unwrap();
        let origin = Origin::open(&uri, || Ok(cache.clone()), &Env::of(&[])).unwrap();
        is_for_all(&origin);
        let work = async {
            let listing = origin.list().await?;
            origin.download(&listing.versions[0]).await
        };
        is_sent(&work);
        let brought = actix::System::new().block_on(work).unwrap();
        assert_eq!(brought, PathBuf::from("../tests/models/half_plus_two/1"), "not by way of the cache");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
