//! Stores of files: lists a store, and downloads a version's files into the cache.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use opendal::Operator;
use reqwest::Client;
use tfweb_engine::{Code, Error};
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use super::cache::{Lock, Manifest, ManifestFile, OriginCache, UnfinishedSnapshot};
use super::connect::{connect, explain, for_listing, ANSWER_BYTES_MAX};
use super::http;
use super::listing::{File, Listing, Version, FILES_MAX};
use super::lock::{blocking, lock};
use super::operator::OperatorConfig;
use super::progress::Progress;
use super::uri::ModelUri;

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
}

/// A prepared download: an unfinished snapshot with its directories, and the files that must be fetched.
struct Plan {
    snapshot: UnfinishedSnapshot,
    /// Held until the download has ended.
    _lock: Lock,
    fetched: Vec<File>,
    linked: usize,
}

impl Store {
    pub(super) fn new(uri: &ModelUri, config: OperatorConfig, cache: OriginCache) -> Result<Self, Error> {
        Ok(Self { uri: uri.clone(), config, cache, client: http::client()?, operator: OnceCell::new() })
    }

    async fn operator(&self) -> Result<&Operator, Error> {
        self.operator.get_or_try_init(|| connect(&self.uri, &self.config, &self.client)).await
    }

    /// Lists the versions in the store.
    pub(super) async fn list(&self) -> Result<Listing, Error> {
        let files = tokio::time::timeout(LISTING_TIME_MAX, self.files()).await.unwrap_or_else(|_| {
            let message = format!("`{}`: cannot list: it took more than {} s", self.uri, LISTING_TIME_MAX.as_secs());
            Err(Error::new(Code::Unavailable, message))
        });
        Listing::new(&self.uri.to_string(), self.uri.last_part().as_deref(), files?)
    }

    /// Lists the files in the store.
    async fn files(&self) -> Result<Vec<File>, Error> {
        let operator = for_listing(self.operator().await?, &self.client);
        let failed = |error: opendal::Error| explain(&self.uri, "cannot list", &error);
        let mut entries = operator.lister_with("/").recursive(true).await.map_err(failed)?;
        let (mut files, mut count) = (Vec::new(), 0);
        while let Some(entry) = entries.try_next().await.map_err(failed)? {
            // Directories count too. A store may repeat one without end.
            count += 1;
            if count > FILES_MAX {
                let message = format!("`{}`: more than {FILES_MAX} files; is it the place of one model?", self.uri);
                return Err(Error::invalid(message));
            }
            let metadata = entry.metadata();
            if metadata.is_file() {
                let modified = || metadata.last_modified().map(|time| time.to_string());
                let stamp = metadata.etag().map(str::to_owned).or_else(modified).unwrap_or_default();
                files.push(File { path: entry.path().to_owned(), size: metadata.content_length(), stamp });
            }
        }
        Ok(files)
    }

    /// Downloads a complete version into the cache.
    pub(super) async fn download(&self, version: &Version) -> Result<PathBuf, Error> {
        let name = format!("{}-{}", version.number, version.fingerprint());
        if let Some(found) = self.found(&name).await? {
            return Ok(found);
        }
        let number = version.number.to_string();
        let lock = lock(&self.cache, &number).await?;
        // The process that held the lock may have downloaded the version.
        if let Some(found) = self.found(&name).await? {
            return Ok(found);
        }
        let Plan { snapshot, _lock, fetched, linked } = self.plan(version, lock).await?;
        let bytes = fetched.iter().map(|file| file.size).fold(0, u64::saturating_add);
        let progress = Progress::new(format!("{} version {number}", self.uri), bytes);
        progress.during(self.fetch_all(&version.directory, &fetched, snapshot.path(), &progress)).await?;
        if !fetched.is_empty() {
            self.check_unchanged(version).await?;
        }
        let manifest = Manifest {
            identity: self.cache.identity().to_owned(),
            version: number.clone(),
            etag: None,
            last_modified: None,
            files: version.files.iter().map(ManifestFile::from).collect(),
        };
        let cache = self.cache.clone();
        let directory = blocking(move || cache.publish(snapshot, &name, &manifest)).await?;
        tracing::debug!("{} version {number}: fetched {} files ({bytes} bytes), kept {linked}", self.uri, fetched.len());
        Ok(directory)
    }

    /// The complete snapshot of this name, if there is one.
    async fn found(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        let (cache, name) = (self.cache.clone(), name.to_owned());
        blocking(move || {
            let is_complete = cache.complete(&name).is_some();
            cache.touch(&name);
            Ok(is_complete.then(|| cache.snapshot(&name)))
        })
        .await
    }

    /// Makes the directories of a snapshot, and links the unchanged files from earlier snapshots of the version.
    async fn plan(&self, version: &Version, lock: Lock) -> Result<Plan, Error> {
        let (cache, version) = (self.cache.clone(), version.clone());
        blocking(move || {
            let number = version.number.to_string();
            cache.remove_unfinished(&number, &lock);
            let snapshot = cache.begin_snapshot(&number)?;
            let directories: BTreeSet<&Path> = version.files.iter().filter_map(|file| Path::new(&file.path).parent()).collect();
            for directory in directories {
                fs::create_dir_all(snapshot.path().join(directory)).map_err(|error| cache.cannot_write(&error))?;
            }
            let earlier = cache.snapshots(&number);
            let count = version.files.len();
            let fetched: Vec<File> =
                version.files.into_iter().filter(|file| !link_unchanged(&cache, &earlier, file, snapshot.path())).collect();
            Ok(Plan { snapshot, _lock: lock, linked: count - fetched.len(), fetched })
        })
        .await
    }

    async fn fetch_all(&self, directory: &str, files: &[File], into: &Path, progress: &Progress) -> Result<(), Error> {
        // The futures are collected first, because the compiler cannot prove that a stream of them may move between threads.
        let fetches: Vec<_> = files.iter().map(|file| self.fetch(directory, file, into, progress)).collect();
        futures::stream::iter(fetches).buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    async fn fetch(&self, directory: &str, file: &File, into: &Path, progress: &Progress) -> Result<(), Error> {
        let path = if directory.is_empty() { file.path.clone() } else { format!("{directory}/{}", file.path) };
        let failed = |error: opendal::Error| explain(&self.uri, &format!("cannot read {path:?}"), &error);
        let unwritable = |error: std::io::Error| self.cache.cannot_write(&error);
        let operator = self.operator().await?;
        let mut written = 0;
        let mut output = tokio::fs::File::create_new(into.join(&file.path)).await.map_err(unwritable)?;
        if file.size > 0 {
            let reader = operator.reader_with(&path);
            let reader = if file.size > ANSWER_BYTES_MAX { reader.chunk(RANGE_BYTES).concurrent(RANGES_AT_ONCE) } else { reader };
            let mut stream = reader.await.map_err(failed)?.into_stream(0..file.size).await.map_err(failed)?;
            // A store that sends more than the file has is not read to its end.
            while let Some(buffer) = stream.try_next().await.map_err(failed)?.filter(|_| written <= file.size) {
                for bytes in buffer {
                    output.write_all(&bytes).await.map_err(unwritable)?;
                    written += bytes.len() as u64;
                    progress.add(bytes.len() as u64);
                }
            }
        }
        // An earlier write may report its error only here.
        output.flush().await.map_err(unwritable)?;
        if written == file.size {
            return Ok(());
        }
        let message = format!("`{}`: {path:?} has {written} bytes instead of {}", self.uri, file.size);
        Err(Error::new(Code::Unavailable, message))
    }

    /// Lists again. If somebody replaced files during the download, they belong to two versions, even if their sizes are right.
    async fn check_unchanged(&self, version: &Version) -> Result<(), Error> {
        let now = self.list().await?;
        if now.version(version.number).is_some_and(|now| now.fingerprint() == version.fingerprint()) {
            return Ok(());
        }
        let message = format!("`{}`: version {} was changed while it was being read", self.uri, version.number);
        Err(Error::new(Code::Unavailable, message))
    }
}

/// Links or copies a file from an earlier snapshot that has it with the same size and stamp.
fn link_unchanged(cache: &OriginCache, earlier: &[(String, Manifest)], file: &File, into: &Path) -> bool {
    if file.stamp.is_empty() {
        return false;
    }
    let is_same = |known: &ManifestFile| known.path == file.path && known.size == file.size && known.stamp == file.stamp;
    let holders = earlier.iter().filter(|(_, manifest)| manifest.files.iter().any(is_same));
    let mut sources = holders.map(|(name, _)| cache.snapshot(name).join(&file.path));
    let target = into.join(&file.path);
    sources.any(|source| {
        let is_complete = fs::metadata(&source).is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size);
        is_complete && (fs::hard_link(&source, &target).is_ok() || fs::copy(&source, &target).is_ok_and(|bytes| bytes == file.size))
    })
}
