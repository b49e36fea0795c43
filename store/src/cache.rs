//! The cache directory: its layout, its locks, and which snapshots are complete.
//!
//! Each origin has a directory in the cache, and each snapshot of a version has a directory in that. A snapshot is written under
//! a temporary name, and renamed when it is complete and on the disk, so a snapshot with its final name is complete. Its
//! [`Manifest`] is next to it, with a checksum of each file. Before a snapshot is used, its files are read and compared. Processes may share
//! a cache. A process that writes a version holds a lock on it, which the system releases when the process ends. So an unfinished snapshot without a lock was left by a crash, and is removed.
//!
//! Everything here blocks. Callers run it on a thread that may block.

use std::fs::{self, File as OsFile, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::digest::{digest, SHA256};
use serde::Serialize;
use tfweb_engine::{regular_file, Code, Error};

use super::env::Env;
use super::manifest::{has_bytes, sync, Manifest, Published};
use super::uri::ModelUri;

/// The file extension of unfinished snapshots.
const PART: &str = "part";
/// The file extension of locks.
const LOCK: &str = ".lock";
/// How long a snapshot stays after its version has changed. Any process that found it has loaded it by then.
const SUPERSEDED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a snapshot stays after its last use.
const UNUSED_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most characters of a model's name in the name of its directory. File systems allow 255 for the whole name.
const NAME_CHARS_MAX: usize = 64;

/// The most bytes of a manifest. It describes at most `FILES_MAX` files.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// The digits of the hash in the name of an origin's directory.
const DIRECTORY_HASH_DIGITS: usize = 16;

/// The directory of downloaded models.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    /// Whether nothing can be written. Models that the cache has are served, and nothing is downloaded.
    is_read_only: bool,
}

impl Cache {
    /// Opens the directory, or by default `$XDG_CACHE_HOME/tfweb` or `~/.cache/tfweb`. Makes it if it does not exist, and removes
    /// what crashed processes left. A directory that can only be read may have the models already.
    ///
    /// # Errors
    /// `FailedPrecondition` that names the directory and `--cache_dir`, if there is none and none can be made.
    pub fn open(directory: Option<&Path>, env: &Env) -> Result<Self, Error> {
        let directory = match directory {
            Some(directory) => directory.to_path_buf(),
            None => usual_directory(env)?,
        };
        let mut cache = Self { directory, is_read_only: false };
        match cache.writable() {
            Ok(()) => cache.sweep(),
            Err(error) if cache.directory.is_dir() => {
                tracing::warn!("{}; only the models that it has can be served", cache.cannot_write(&error));
                cache.is_read_only = true;
            }
            Err(error) => return Err(cache.cannot_write(&error)),
        }
        Ok(cache)
    }

    /// The path of the directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn writable(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let trial = self.directory.join(unique(".trial"));
        OsFile::create_new(&trial)?;
        fs::remove_file(trial)
    }

    /// The error for a failed write, with a hint for the user.
    pub(super) fn cannot_write(&self, error: &io::Error) -> Error {
        let directory = self.directory.display();
        let message = if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            format!("no space is left in the cache directory `{directory}`; free some, or name another directory with --cache_dir")
        } else {
            format!("cannot write to the cache directory `{directory}`: {error}; name another with --cache_dir")
        };
        Error::new(Code::FailedPrecondition, message)
    }

    /// The directory of one origin. `endpoint` separates stores that have the same URI.
    pub(super) fn origin(&self, uri: &ModelUri, endpoint: Option<&str>) -> OriginCache {
        let identity = format!("{} {}", uri.identity(), endpoint.unwrap_or_default());
        // The hash also hides what is secret in a URI.
        let hash = digest(&SHA256, identity.as_bytes());
        let identity: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name: String = uri.name().chars().take(NAME_CHARS_MAX).map(|c| if is_plain(c) { c } else { '_' }).collect();
        let directory = self.directory.join(format!("{}-{}", name.trim_start_matches('.'), &identity[..DIRECTORY_HASH_DIGITS]));
        OriginCache { cache: self.clone(), directory, identity }
    }

    /// Removes unfinished snapshots, and those that were not used for a long time. A file that cannot be removed is no error.
    fn sweep(&self) {
        for directory in entries(&self.directory).filter(|path| path.is_dir()) {
            let origin = OriginCache { cache: self.clone(), directory, identity: String::new() };
            let unfinished_paths: Vec<PathBuf> =
                entries(&origin.directory).filter(|path| unfinished_version(path).is_some()).collect();
            for unfinished in unfinished_paths {
                let Some(version) = unfinished_version(&unfinished) else { continue };
                if let Ok(Some(_lock)) = origin.try_lock(version) {
                    remove(&unfinished);
                }
            }
            origin.prune(None);
        }
    }
}

fn usual_directory(env: &Env) -> Result<PathBuf, Error> {
    // The XDG Base Directory Specification says to ignore relative paths.
    let xdg = env.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = xdg.or_else(|| env.home().map(|home| home.join(".cache")));
    let message = "no directory for downloaded models: neither XDG_CACHE_HOME nor HOME is set; name one with --cache_dir";
    caches.map(|caches| caches.join("tfweb")).ok_or_else(|| Error::new(Code::FailedPrecondition, message))
}

/// The cache directory of one origin.
#[derive(Clone, Debug)]
pub(super) struct OriginCache {
    cache: Cache,
    directory: PathBuf,
    identity: String,
}

impl OriginCache {
    /// Makes the directory.
    pub(super) fn make_directory(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.directory).map_err(|error| self.cannot_write(&error))
    }

    pub(super) fn cannot_write(&self, error: &io::Error) -> Error {
        self.cache.cannot_write(error)
    }

    /// Whether nothing can be written into the cache.
    #[cfg(feature = "http")]
    pub(super) fn is_read_only(&self) -> bool {
        self.cache.is_read_only
    }

    /// The identity of the origin, as its manifests have it.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Locks a version; `None` if somebody else holds the lock.
    ///
    /// On a file system without locks, all processes may write at once. Their temporary names differ, and the last rename finds
    /// the snapshot already there.
    pub(super) fn try_lock(&self, version: &str) -> io::Result<Option<Lock>> {
        let path = self.directory.join(format!("{version}{LOCK}"));
        let file = regular_file::open_with(OsFile::options().create(true).append(true), &path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Lock { _file: file })),
        }
    }

    /// Removes the unfinished snapshots of a version. The caller must hold its lock.
    pub(super) fn remove_unfinished(&self, version: &str, _lock: &Lock) {
        entries(&self.directory)
            .filter(|path| unfinished_version(path) == Some(version))
            .for_each(|unfinished| remove(&unfinished));
    }

    /// Begins a snapshot.
    pub(super) fn begin_snapshot(&self, version: &str) -> Result<UnfinishedSnapshot, Error> {
        let path = self.directory.join(format!("{}.{PART}", unique(version)));
        fs::create_dir(&path).map_err(|error| self.cannot_write(&error))?;
        Ok(UnfinishedSnapshot { path })
    }

    /// The path of a file or a directory in the origin's directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The path of a complete snapshot.
    pub(super) fn snapshot(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// The manifest of a snapshot, if the snapshot is complete: each file exists and has its size.
    pub(super) fn complete(&self, name: &str) -> Option<Manifest> {
        self.published(name).filter(|published| published.is_complete(&self.snapshot(name))).map(|published| published.manifest)
    }

    /// Whether a snapshot is complete and each file has the bytes that were downloaded. This reads all of them.
    pub(super) fn is_intact(&self, name: &str) -> bool {
        self.published(name).is_some_and(|published| published.is_intact(&self.snapshot(name)))
    }

    /// The path of a file in a snapshot, if it has the bytes that were downloaded.
    pub(super) fn intact_file(&self, name: &str, path: &str) -> Option<PathBuf> {
        let (published, directory) = (self.published(name)?, self.snapshot(name));
        let (file, crc32) = published.files().find(|(file, _)| file.path == path)?;
        has_bytes(&directory, file, crc32).then(|| directory.join(path))
    }

    /// Whether two downloads of a snapshot gave the same bytes.
    pub(super) fn is_confirmed(&self, name: &str) -> bool {
        self.published(name).is_some_and(|published| published.is_confirmed)
    }

    /// Removes a snapshot with its manifest. The caller must hold the version's lock.
    #[cfg(feature = "http")]
    pub(super) fn discard(&self, name: &str, _lock: &Lock) {
        remove(&self.manifest_path(name));
        remove(&self.snapshot(name));
    }

    fn published(&self, name: &str) -> Option<Published> {
        let text = regular_file::read(&self.manifest_path(name), MANIFEST_BYTES_MAX).ok()?;
        serde_json::from_slice::<Published>(&text).ok().filter(|published| published.manifest.identity == self.identity)
    }

    /// Marks a snapshot as used now.
    pub(super) fn touch(&self, name: &str) {
        if let Ok(file) = regular_file::open_with(OsFile::options().append(true), &self.manifest_path(name)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// All snapshots of a version, with their names.
    pub(super) fn snapshots(&self, version: &str) -> Vec<(String, Manifest)> {
        let names = entries(&self.directory).filter_map(|path| Some(path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned()));
        let manifests = names.filter_map(|name| self.published(&name).map(|published| (name, published.manifest)));
        manifests.filter(|(name, manifest)| manifest.version == version && self.snapshot(name).is_dir()).collect()
    }

    /// The name of the version's snapshot that was published or touched last.
    #[cfg(feature = "http")]
    pub(super) fn newest(&self, version: &str) -> Option<String> {
        let modified = |name: &str| fs::metadata(self.manifest_path(name)).and_then(|metadata| metadata.modified()).ok();
        self.snapshots(version).into_iter().map(|(name, _)| name).max_by_key(|name| modified(name))
    }

    /// Renames a complete snapshot to its final name. The snapshots that it replaces stay for a day.
    pub(super) fn publish(&self, unfinished: UnfinishedSnapshot, name: &str, manifest: &Manifest) -> Result<PathBuf, Error> {
        let sealed = Published::seal(unfinished.path(), manifest).map_err(|error| self.cannot_write(&error))?;
        self.publish_sealed(unfinished, name, &sealed)
    }

    /// Publishes a snapshot that was downloaded once more, in place of the one of that name. If both have the same bytes, this
    /// notes it and gives `None`.
    pub(super) fn publish_again(
        &self,
        unfinished: UnfinishedSnapshot,
        name: &str,
        manifest: &Manifest,
    ) -> Result<Option<PathBuf>, Error> {
        let mut sealed = Published::seal(unfinished.path(), manifest).map_err(|error| self.cannot_write(&error))?;
        let known = self.published(name).filter(|known| known.is_intact(&self.snapshot(name)));
        if known.is_some_and(|known| known.crc32 == sealed.crc32) {
            sealed.is_confirmed = true;
            self.write_manifest(name, &sealed).map_err(|error| self.cannot_write(&error))?;
            return Ok(None);
        }
        remove(&self.manifest_path(name));
        self.publish_sealed(unfinished, name, &sealed).map(Some)
    }

    fn publish_sealed(&self, unfinished: UnfinishedSnapshot, name: &str, sealed: &Published) -> Result<PathBuf, Error> {
        let publish = || {
            let directory = self.snapshot(name);
            if self.is_intact(name) {
                // The same content came under another etag. Other processes may be reading the existing snapshot.
                self.write_manifest(name, sealed)?;
                return Ok(directory);
            }
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            // The manifest comes first: a manifest without a snapshot is ignored, but a snapshot without a manifest would have no
            // description.
            self.write_manifest(name, sealed)?;
            unfinished.rename(&directory)?;
            sync(&self.directory)?;
            Ok(directory)
        };
        let directory = publish().map_err(|error: io::Error| self.cannot_write(&error))?;
        self.prune(Some((name, &sealed.manifest.version)));
        Ok(directory)
    }

    fn write_manifest(&self, name: &str, published: &Published) -> io::Result<()> {
        self.write_json(&format!("{name}.json"), &published.manifest.version, published)
    }

    /// Writes a file under a temporary name, and renames it when it is on the disk. `version` is the lock that guards it.
    pub(super) fn write_json(&self, file: &str, version: &str, content: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(content).map_err(io::Error::other)?;
        let beside = self.path(&format!("{}.json.{PART}", unique(version)));
        let written = fs::write(&beside, text).and_then(|()| sync(&beside)).and_then(|()| fs::rename(&beside, self.path(file)));
        if written.is_err() {
            remove(&beside);
        }
        written.and_then(|()| sync(&self.directory))
    }

    /// Removes snapshots that `current` replaced a day ago or more, and those that were not used for a month.
    fn prune(&self, current: Option<(&str, &str)>) {
        let manifests: Vec<PathBuf> = entries(&self.directory).filter(|path| path.extension() == Some("json".as_ref())).collect();
        for path in manifests {
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
            let age = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
            let is_superseded = current.is_some_and(|(current, version)| {
                name != current && self.published(name).is_some_and(|published| published.manifest.version == version)
            });
            let kept = if is_superseded { SUPERSEDED_KEPT } else { UNUSED_KEPT };
            if age.is_some_and(|age| age > kept) {
                remove(&self.snapshot(name));
                remove(&path);
            }
        }
    }
}

/// A lock on a version. The system releases it when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: OsFile,
}

/// An unfinished snapshot. When it is dropped, it is removed.
#[derive(Debug)]
pub(super) struct UnfinishedSnapshot {
    path: PathBuf,
}

impl UnfinishedSnapshot {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        // The drop has nothing to remove now.
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for UnfinishedSnapshot {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            remove(&self.path);
        }
    }
}

/// A name that no other process or thread uses.
fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    format!("{name}.{}-{}-{nanos}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The version of an unfinished file or directory; `None` for other paths.
fn unfinished_version(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.ends_with(&format!(".{PART}")).then(|| name.split('.').next()).flatten()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }) {
        tracing::warn!("cannot remove `{}`: {error}", path.display());
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
