//! Stores of files: lists a store, and downloads a version's files into the cache.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use opendal::Operator;
use reqwest::Client;
use tfweb_engine::{Code, Error};
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use super::cache::{Lock, OriginCache, UnfinishedSnapshot};
use super::connect::{connect, explain, for_listing, ANSWER_BYTES_MAX};
use super::digest::{self, Md5Sum, Stated};
use super::http;
use super::listing::{File, Listing, Version};
use super::lock::{blocking, lock};
use super::manifest::{Manifest, ManifestFile};
use super::operator::OperatorConfig;
use super::outage::Outage;
use super::progress::Progress;
use super::remembered;
use super::uri::ModelUri;
use super::walk::walk;

/// The time limit of a listing. One of `FILES_MAX` files takes a hundred pages, each a fraction of a second.
const LISTING_TIME_MAX: Duration = Duration::from_secs(300);
/// The most files that are read at once. It hides the latency of a store.
const FILES_AT_ONCE: usize = 8;
/// The bytes of a range. With the limits of ranges and files, at most 128 MiB are in memory.
const RANGE_BYTES: usize = 4 << 20;
/// The most ranges of a file that are read at once.
const RANGES_AT_ONCE: usize = 4;

/// A store of files: a bucket, a container, a file system, a repository.
#[derive(Debug)]
pub(super) struct Store {
    uri: ModelUri,
    config: OperatorConfig,
    cache: OriginCache,
    client: Client,
    operator: OnceCell<Operator>,
    /// Whether etags that have the form of an MD5 are the MD5 of the content, as far as is known. An S3 bucket whose objects are
    /// encrypted with KMS has others.
    are_etags_md5: AtomicBool,
    /// The last listing.
    listed: Mutex<Option<Listing>>,
    outage: Outage,
}

/// A prepared download: an unfinished snapshot with its directories, and the files that must be fetched.
struct Plan {
    snapshot: UnfinishedSnapshot,
    /// Held until the download has ended.
    _lock: Lock,
    fetched: Vec<File>,
}

impl Store {
    pub(super) fn new(uri: &ModelUri, config: OperatorConfig, cache: OriginCache) -> Result<Self, Error> {
        Ok(Self {
            uri: uri.clone(),
            config,
            cache,
            client: http::client()?,
            operator: OnceCell::new(),
            are_etags_md5: AtomicBool::new(true),
            listed: Mutex::default(),
            outage: Outage::default(),
        })
    }

    async fn operator(&self) -> Result<&Operator, Error> {
        self.operator.get_or_try_init(|| connect(&self.uri, &self.config, &self.client, &self.outage)).await
    }

    /// Lists the versions in the store.
    pub(super) async fn list(&self) -> Result<Listing, Error> {
        let operator = for_listing(self.operator().await?, &self.client);
        let found = tokio::time::timeout(LISTING_TIME_MAX, walk(&self.uri, &operator)).await.unwrap_or_else(|_| {
            let message = format!("`{}`: cannot list: it took more than {} s", self.uri, LISTING_TIME_MAX.as_secs());
            Err(Error::new(Code::Unavailable, message))
        });
        let listing = Listing::of(&self.uri.to_string(), self.uri.last_part().as_deref(), found?)?;
        self.outage.end();
        let last = self.listed.lock().unwrap_or_else(PoisonError::into_inner).replace(listing.clone());
        if last.as_ref() != Some(&listing) {
            self.remember(remembered::replace).await?;
        }
        Ok(listing)
    }

    /// The versions of the last listing that are in the cache, also of the last listing of an earlier process.
    pub(super) async fn remembered(&self) -> Result<Option<Listing>, Error> {
        let cache = self.cache.clone();
        blocking(move || {
            let Some(mut listing) = remembered::read(&cache) else { return Ok(None) };
            listing.versions.retain(|version| cache.complete(&name_of(version)).is_some());
            Ok(Some(listing).filter(|listing| !listing.versions.is_empty()))
        })
        .await
    }

    /// Downloads a complete version into the cache.
    pub(super) async fn download(&self, version: &Version) -> Result<PathBuf, Error> {
        let directory = self.bring(version).await?;
        self.remember(remembered::write).await?;
        Ok(directory)
    }

    async fn remember(&self, write: fn(&OriginCache, &Listing)) -> Result<(), Error> {
        let Some(listing) = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return Ok(()) };
        let cache = self.cache.clone();
        blocking(move || {
            write(&cache, &listing);
            Ok(())
        })
        .await
    }

    async fn bring(&self, version: &Version) -> Result<PathBuf, Error> {
        let name = name_of(version);
        if let Some(found) = self.found(&name).await? {
            return Ok(found);
        }
        let lock = lock(&self.cache, &version.number.to_string()).await?;
        // The process that held the lock may have downloaded the version.
        if let Some(found) = self.found(&name).await? {
            return Ok(found);
        }
        let plan = self.plan(version, lock, true).await?;
        self.complete(version, &plan).await?;
        let (cache, manifest) = (self.cache.clone(), self.manifest(version));
        blocking(move || cache.publish(plan.snapshot, &name, &manifest)).await
    }

    /// Downloads a version that does not load once more, with all its files. Gives `None` if that gave the same bytes, now or
    /// earlier.
    pub(super) async fn download_again(&self, version: &Version) -> Result<Option<PathBuf>, Error> {
        let name = name_of(version);
        let lock = lock(&self.cache, &version.number.to_string()).await?;
        let (cache, asked) = (self.cache.clone(), name.clone());
        if blocking(move || Ok(cache.is_confirmed(&asked))).await? {
            return Ok(None);
        }
        let plan = self.plan(version, lock, false).await?;
        self.complete(version, &plan).await?;
        let (cache, manifest) = (self.cache.clone(), self.manifest(version));
        blocking(move || cache.publish_again(plan.snapshot, &name, &manifest)).await
    }

    fn manifest(&self, version: &Version) -> Manifest {
        Manifest {
            identity: self.cache.identity().to_owned(),
            version: version.number.to_string(),
            etag: None,
            last_modified: None,
            files: version.files.iter().map(ManifestFile::from).collect(),
        }
    }

    /// The intact snapshot of this name, if there is one. This reads its files.
    async fn found(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        let (cache, name, uri) = (self.cache.clone(), name.to_owned(), self.uri.clone());
        blocking(move || {
            if cache.is_intact(&name) {
                cache.touch(&name);
                return Ok(Some(cache.snapshot(&name)));
            }
            if cache.complete(&name).is_some() {
                tracing::warn!("{uri}: the files in `{}` are damaged and are downloaded again", cache.snapshot(&name).display());
            }
            Ok(None)
        })
        .await
    }

    /// Makes the directories of a snapshot. If it may, it links the unchanged files from earlier snapshots of the version.
    async fn plan(&self, version: &Version, lock: Lock, may_link: bool) -> Result<Plan, Error> {
        let (cache, version) = (self.cache.clone(), version.clone());
        blocking(move || {
            let number = version.number.to_string();
            cache.remove_unfinished(&number, &lock);
            let snapshot = cache.begin_snapshot(&number)?;
            let directories: BTreeSet<&Path> = version.files.iter().filter_map(|file| Path::new(&file.path).parent()).collect();
            for directory in directories {
                fs::create_dir_all(snapshot.path().join(directory)).map_err(|error| cache.cannot_write(&error))?;
            }
            let earlier = if may_link { cache.snapshots(&number) } else { Vec::new() };
            let fetched: Vec<File> =
                version.files.into_iter().filter(|file| !link_unchanged(&cache, &earlier, file, snapshot.path())).collect();
            Ok(Plan { snapshot, _lock: lock, fetched })
        })
        .await
    }

    /// Fetches the files that a snapshot lacks.
    async fn complete(&self, version: &Version, plan: &Plan) -> Result<(), Error> {
        let bytes = plan.fetched.iter().map(|file| file.size).fold(0, u64::saturating_add);
        let progress = Progress::new(format!("{} version {}", self.uri, version.number), bytes);
        progress.during(self.fetch_all(&version.directory, &plan.fetched, plan.snapshot.path(), &progress)).await?;
        if !plan.fetched.is_empty() {
            self.check_unchanged(version).await?;
        }
        let (count, linked) = (plan.fetched.len(), version.files.len() - plan.fetched.len());
        tracing::debug!("{} version {}: fetched {count} files ({bytes} bytes), kept {linked}", self.uri, version.number);
        Ok(())
    }

    async fn fetch_all(&self, directory: &str, files: &[File], into: &Path, progress: &Progress) -> Result<(), Error> {
        // The futures are collected first, because the compiler cannot prove that a stream of them may move between threads.
        let fetches: Vec<_> = files.iter().map(|file| self.fetch(directory, file, into, progress)).collect();
        futures::stream::iter(fetches).buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    /// Reads a file, and reads it once more if its MD5 is not the one that the store states.
    async fn fetch(&self, directory: &str, file: &File, into: &Path, progress: &Progress) -> Result<(), Error> {
        let path = if directory.is_empty() { file.path.clone() } else { format!("{directory}/{}", file.path) };
        let target = into.join(&file.path);
        self.read(&path, file.size, &target, progress).await?;
        let Some(Stated { md5, is_etag }) = digest::stated(&file.stamp) else { return Ok(()) };
        let are_etags_md5 = || !is_etag || self.are_etags_md5.load(Ordering::Relaxed);
        if !are_etags_md5() {
            return Ok(());
        }
        let first = self.md5(&target).await?;
        if first == md5 || !are_etags_md5() {
            return Ok(());
        }
        tracing::warn!("{}: {path:?} was read with another MD5 than the store states; reading it again", self.uri);
        tokio::fs::remove_file(&target).await.map_err(|error| self.cache.cannot_write(&error))?;
        self.read(&path, file.size, &target, progress).await?;
        let second = self.md5(&target).await?;
        if second == first && is_etag {
            // The same bytes came twice, so this store's etags are something else.
            self.are_etags_md5.store(false, Ordering::Relaxed);
        } else if second != md5 {
            let message = format!("`{}`: {path:?} was read twice, and its MD5 was not the one that the store states", self.uri);
            return Err(Error::new(Code::Unavailable, message));
        }
        Ok(())
    }

    async fn md5(&self, path: &Path) -> Result<Md5Sum, Error> {
        let (path, cache) = (path.to_path_buf(), self.cache.clone());
        blocking(move || digest::md5(&path).map_err(|error| cache.cannot_write(&error))).await
    }

    async fn read(&self, path: &str, size: u64, target: &Path, progress: &Progress) -> Result<(), Error> {
        let failed = |error: opendal::Error| explain(&self.uri, &format!("cannot read {path:?}"), &error);
        let unwritable = |error: std::io::Error| self.cache.cannot_write(&error);
        let operator = self.operator().await?;
        let mut written = 0;
        let mut output = tokio::fs::File::create_new(target).await.map_err(unwritable)?;
        if size > 0 {
            let reader = operator.reader_with(path);
            let reader = if size > ANSWER_BYTES_MAX { reader.chunk(RANGE_BYTES).concurrent(RANGES_AT_ONCE) } else { reader };
            let mut stream = reader.await.map_err(failed)?.into_stream(0..size).await.map_err(failed)?;
            // A store that sends more than the file has is not read to its end.
            while let Some(buffer) = stream.try_next().await.map_err(failed)?.filter(|_| written <= size) {
                for bytes in buffer {
                    output.write_all(&bytes).await.map_err(unwritable)?;
                    written += bytes.len() as u64;
                    progress.add(bytes.len() as u64);
                }
            }
        }
        // An earlier write may report its error only here.
        output.flush().await.map_err(unwritable)?;
        if written == size {
            return Ok(());
        }
        let message = format!("`{}`: {path:?} has {written} bytes instead of {size}", self.uri);
        Err(Error::new(Code::Unavailable, message))
    }

    /// Lists again. If somebody replaced files during the download, they belong to two versions, even if their sizes are right.
    async fn check_unchanged(&self, version: &Version) -> Result<(), Error> {
        let now = self.list().await?;
        if now.version(version.number).is_some_and(|now| now.fingerprint() == version.fingerprint()) {
            return Ok(());
        }
        // Files that changed are no proof that etags are no MD5.
        self.are_etags_md5.store(true, Ordering::Relaxed);
        let message = format!("`{}`: version {} was changed while it was being read", self.uri, version.number);
        Err(Error::new(Code::Unavailable, message))
    }
}

/// The name of a version's snapshot.
fn name_of(version: &Version) -> String {
    format!("{}-{}", version.number, version.fingerprint())
}

/// Links or copies a file from an earlier snapshot that has it with the same size and stamp, and undamaged.
fn link_unchanged(cache: &OriginCache, earlier: &[(String, Manifest)], file: &File, into: &Path) -> bool {
    if file.stamp.is_empty() {
        return false;
    }
    let is_same = |known: &ManifestFile| known.path == file.path && known.size == file.size && known.stamp == file.stamp;
    let holders = earlier.iter().filter(|(_, manifest)| manifest.files.iter().any(is_same));
    let mut sources = holders.filter_map(|(name, _)| cache.intact_file(name, &file.path));
    let target = into.join(&file.path);
    sources
        .any(|source| fs::hard_link(&source, &target).is_ok() || fs::copy(&source, &target).is_ok_and(|bytes| bytes == file.size))
}
