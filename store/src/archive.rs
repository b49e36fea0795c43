//! Archives on web servers. An archive is downloaded as a whole, unpacked into the cache, and downloaded again only after it has
//! changed.
//!
//! A redirect to another host is followed without the user and password of the URL. The client ensures that (`http`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::{
    HeaderMap, HeaderName, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};
use tfweb_engine::{Code, Error};
use tokio::io::AsyncWriteExt;

use super::cache::{Lock, OriginCache, UnfinishedSnapshot};
use super::digest::{self, Md5Sum};
use super::http::{self, cause, retry_delay};
use super::layout::{layout, Content, UNPACKED};
use super::listing::{File, Fingerprint, Listing, Version};
use super::lock::{blocking, lock};
use super::manifest::{Manifest, ManifestFile};
use super::progress::Progress;
use super::unpack::{unpack, Failure, Limits};
use super::uri::{ModelUri, Packing};

/// The version in the names of an archive's snapshots. An archive may hold several versions of the model.
const SNAPSHOT: &str = "archive";
/// The file name of the archive until it is unpacked.
const DOWNLOADED: &str = "downloaded";
/// The header with the MD5 of an archive, which Azure, Google and S3 send.
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// An archive at a URL.
#[derive(Debug)]
pub(super) struct Archive {
    uri: ModelUri,
    url: Url,
    packing: Packing,
    cache: OriginCache,
    client: Client,
    limits: Limits,
    /// Whether the last archive did not unpack.
    is_broken: AtomicBool,
}

/// An archive that is downloaded and unpacked, and not published yet.
struct Unpacked {
    snapshot: UnfinishedSnapshot,
    name: String,
    manifest: Manifest,
}

/// The state of a download.
#[derive(Default)]
struct Received {
    bytes: u64,
    etag: Option<String>,
    last_modified: Option<String>,
    /// The MD5 that the server states.
    md5: Option<Md5Sum>,
}

/// The result of one attempt to download.
enum Attempt {
    Unchanged,
    Complete,
    Failed(Error),
    /// A failure that may pass.
    Retry(Error),
}

impl Archive {
    pub(super) fn new(uri: &ModelUri, url: Url, packing: Packing, cache: OriginCache) -> Result<Self, Error> {
        Ok(Self {
            uri: uri.clone(),
            url,
            packing,
            cache,
            client: http::client()?,
            limits: Limits::USUAL,
            is_broken: AtomicBool::new(false),
        })
    }

    /// Asks the server whether the archive has changed. Downloads and unpacks it if so.
    pub(super) async fn list(&self) -> Result<Listing, Error> {
        let lock = lock(&self.cache, SNAPSHOT).await?;
        let known = self.newest().await?;
        let (unpacked, _lock) = self.bring(lock, known.as_ref().map(|(_, manifest)| manifest)).await?;
        match (unpacked, known) {
            (None, Some((name, manifest))) => {
                let cache = self.cache.clone();
                blocking(move || {
                    cache.touch(&name);
                    Ok(())
                })
                .await?;
                Ok(self.content(&manifest)?.listing)
            }
            (Some(Unpacked { snapshot, name, manifest }), _) => {
                let cache = self.cache.clone();
                let listing = self.content(&manifest)?.listing;
                blocking(move || cache.publish(snapshot, &name, &manifest)).await?;
                Ok(listing)
            }
            (None, None) => Err(Error::internal("unchanged from nothing; this is a bug")),
        }
    }

    /// The directory of a version in the cache. An archive whose files were damaged there is downloaded again.
    pub(super) async fn download(&self, version: &Version) -> Result<PathBuf, Error> {
        for _ in 0..2 {
            let Some((name, directory)) = self.holder(version).await? else { break };
            let cache = self.cache.clone();
            let asked = name.clone();
            if blocking(move || Ok(cache.is_intact(&asked))).await? {
                return Ok(directory);
            }
            let damaged = self.cache.snapshot(&name);
            tracing::warn!("{}: the files in `{}` are damaged and are downloaded again", self.uri, damaged.display());
            let (cache, lock) = (self.cache.clone(), lock(&self.cache, SNAPSHOT).await?);
            blocking(move || {
                cache.discard(&name, &lock);
                Ok(())
            })
            .await?;
            self.list().await?;
        }
        Err(self.error(
            Code::Unavailable,
            format_args!("version {} is no longer in the cache, or its files have changed", version.number),
        ))
    }

    /// Downloads the archive of a version that does not load once more. Gives `None` if that gave the same bytes, now or earlier.
    pub(super) async fn download_again(&self, version: &Version) -> Result<Option<PathBuf>, Error> {
        let lock = lock(&self.cache, SNAPSHOT).await?;
        if let Some((name, _)) = self.holder(version).await? {
            let cache = self.cache.clone();
            if blocking(move || Ok(cache.is_confirmed(&name))).await? {
                return Ok(None);
            }
        }
        let (Some(Unpacked { snapshot, name, manifest }), _lock) = self.bring(lock, None).await? else { return Ok(None) };
        let (cache, content) = (self.cache.clone(), self.content(&manifest)?);
        let published = blocking(move || cache.publish_again(snapshot, &name, &manifest)).await?;
        Ok(published.zip(content.directory(version.number)).map(|(snapshot, directory)| snapshot.join(directory)))
    }

    /// Downloads and unpacks the archive; `None` if it has not changed. One that does not unpack may have come damaged, so it is
    /// downloaded once more. One that then does not unpack either is broken at its server, and costs one download from there on.
    async fn bring(&self, mut lock: Lock, known: Option<&Manifest>) -> Result<(Option<Unpacked>, Lock), Error> {
        loop {
            let cache = self.cache.clone();
            let (snapshot, held) = blocking(move || {
                cache.remove_unfinished(SNAPSHOT, &lock);
                Ok((cache.begin_snapshot(SNAPSHOT)?, lock))
            })
            .await?;
            let Some(received) = self.receive_all(known, &snapshot).await? else { return Ok((None, held)) };
            match self.unpack(snapshot, received).await? {
                Ok(unpacked) => {
                    self.is_broken.store(false, Ordering::Relaxed);
                    return Ok((Some(unpacked), held));
                }
                Err(error) if self.is_broken.swap(true, Ordering::Relaxed) => return Err(error),
                Err(error) => tracing::warn!("{error}; the archive is downloaded again"),
            }
            lock = held;
        }
    }

    /// The snapshot that has a version with these files, and the version's directory.
    async fn holder(&self, version: &Version) -> Result<Option<(String, PathBuf)>, Error> {
        let (cache, number, fingerprint) = (self.cache.clone(), version.number, version.fingerprint());
        let snapshots = blocking(move || Ok(cache.snapshots(SNAPSHOT))).await?;
        // This does not touch the snapshot. Only the newest one is touched, and this may be an older one.
        let holds = |(name, manifest): (String, Manifest)| {
            let directory = self.holds(&manifest, number, fingerprint)?;
            let path = self.cache.snapshot(&name).join(directory);
            Some((name, path))
        };
        Ok(snapshots.into_iter().find_map(holds))
    }

    /// The directory of a version in a snapshot, if the snapshot has this version with these files.
    fn holds(&self, manifest: &Manifest, number: u64, fingerprint: Fingerprint) -> Option<PathBuf> {
        let content = self.content(manifest).ok()?;
        content.listing.version(number).filter(|version| version.fingerprint() == fingerprint)?;
        content.directory(number)
    }

    /// The contents of a snapshot.
    fn content(&self, manifest: &Manifest) -> Result<Content, Error> {
        let strip = |file: &ManifestFile| {
            let path = file.path.strip_prefix(UNPACKED)?.strip_prefix('/')?;
            Some(File { path: path.to_owned(), size: file.size, stamp: file.stamp.clone() })
        };
        layout(&self.uri, manifest.files.iter().filter_map(strip).collect())
    }

    /// The snapshot that was made or confirmed last.
    async fn newest(&self) -> Result<Option<(String, Manifest)>, Error> {
        let cache = self.cache.clone();
        blocking(move || Ok(cache.newest(SNAPSHOT).and_then(|name| cache.complete(&name).map(|manifest| (name, manifest))))).await
    }

    /// Downloads the archive into a snapshot, and shows the progress; `None` if it has not changed.
    async fn receive_all(&self, known: Option<&Manifest>, snapshot: &UnfinishedSnapshot) -> Result<Option<Received>, Error> {
        let progress = Progress::new(self.uri.to_string(), 0);
        progress.during(self.fetch(known, &snapshot.path().join(DOWNLOADED), &progress)).await
    }

    /// Downloads the archive, with retries; `None` if it has not changed.
    async fn fetch(&self, known: Option<&Manifest>, into: &Path, progress: &Progress) -> Result<Option<Received>, Error> {
        let mut received = Received::default();
        for retry in 0.. {
            let error = match self.attempt(known, &mut received, into, progress).await {
                Attempt::Unchanged => return Ok(None),
                Attempt::Complete if self.has_stated_md5(&received, into).await? => return Ok(Some(received)),
                Attempt::Complete if retry < http::RETRIES => {
                    received = Received::default();
                    self.error(Code::Unavailable, "the archive came with another MD5 than the server states")
                }
                Attempt::Complete => {
                    return Err(self.error(Code::Unavailable, "the archive always comes with another MD5 than the server states"));
                }
                Attempt::Retry(error) if retry < http::RETRIES => error,
                Attempt::Retry(error) | Attempt::Failed(error) => return Err(error),
            };
            let delay = retry_delay(retry);
            tracing::warn!("{error}; trying again in {} ms", delay.as_millis());
            tokio::time::sleep(delay).await;
        }
        Err(Error::internal("more retries than numbers; this is a bug"))
    }

    /// Whether the archive has the MD5 that the server states, if it states one.
    async fn has_stated_md5(&self, received: &Received, path: &Path) -> Result<bool, Error> {
        let Some(stated) = received.md5 else { return Ok(true) };
        let (path, cache) = (path.to_path_buf(), self.cache.clone());
        blocking(move || digest::md5(&path).map(|found| found == stated).map_err(|error| cache.cannot_write(&error))).await
    }

    async fn attempt(&self, known: Option<&Manifest>, received: &mut Received, into: &Path, progress: &Progress) -> Attempt {
        let sent = self.client.get(self.url.clone()).headers(conditions(known, received)).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) if error.is_redirect() => return Attempt::Failed(self.error(Code::FailedPrecondition, cause(&error))),
            Err(error) => return Attempt::Retry(self.error(Code::Unavailable, cause(&error))),
        };
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && known.is_some() {
            return Attempt::Unchanged;
        }
        if !status.is_success() {
            if status == StatusCode::RANGE_NOT_SATISFIABLE {
                *received = Received::default();
            }
            let error = self.error(code_of(status), format_args!("the server answers {status}"));
            let is_passing = error.code == Code::Unavailable || status == StatusCode::RANGE_NOT_SATISFIABLE;
            return if is_passing { Attempt::Retry(error) } else { Attempt::Failed(error) };
        }
        if !continues(&response, received) {
            if status == StatusCode::PARTIAL_CONTENT {
                *received = Received::default();
                return Attempt::Retry(self.error(Code::Unavailable, "the server sent a range that was not asked for"));
            }
            let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let md5 = text(CONTENT_MD5).and_then(|md5| digest::from_base64(&md5));
            *received = Received { bytes: 0, etag: text(ETAG), last_modified: text(LAST_MODIFIED), md5 };
        }
        self.receive(response, received, into, progress).await
    }

    /// Appends what the server sends to what has come before.
    async fn receive(&self, mut response: Response, received: &mut Received, into: &Path, progress: &Progress) -> Attempt {
        let unwritable = |error: std::io::Error| Attempt::Failed(self.cache.cannot_write(&error));
        let limit = self.limits.archive_bytes;
        let too_large = || Attempt::Failed(self.error(Code::OutOfRange, format_args!("the archive has more than {limit} bytes")));
        let rest = response.content_length();
        if rest.is_some_and(|rest| rest.saturating_add(received.bytes) > limit) {
            return too_large();
        }
        progress.restart(rest.map_or(0, |rest| rest + received.bytes), received.bytes);
        let mut options = tokio::fs::OpenOptions::new();
        let options = if received.bytes == 0 { options.write(true).truncate(true) } else { options.append(true) };
        let mut output = match options.create(true).open(into).await {
            Ok(output) => output,
            Err(error) => return unwritable(error),
        };
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    return match output.flush().await {
                        Ok(()) => Attempt::Retry(self.error(Code::Unavailable, cause(&error))),
                        Err(error) => unwritable(error),
                    };
                }
            };
            if received.bytes + chunk.len() as u64 > limit {
                return too_large();
            }
            if let Err(error) = output.write_all(&chunk).await {
                return unwritable(error);
            }
            received.bytes += chunk.len() as u64;
            progress.add(chunk.len() as u64);
        }
        match output.flush().await {
            Ok(()) => Attempt::Complete,
            Err(error) => unwritable(error),
        }
    }

    /// Unpacks the archive in a snapshot. The inner error is the fault of the archive.
    async fn unpack(&self, snapshot: UnfinishedSnapshot, received: Received) -> Result<Result<Unpacked, Error>, Error> {
        let (uri, packing, limits, cache) = (self.uri.clone(), self.packing, self.limits, self.cache.clone());
        blocking(move || {
            let unwritable = |error: std::io::Error| cache.cannot_write(&error);
            let (downloaded, unpacked) = (snapshot.path().join(DOWNLOADED), snapshot.path().join(UNPACKED));
            std::fs::create_dir(&unpacked).map_err(unwritable)?;
            let mut files = match unpack(&uri.to_string(), packing, &downloaded, &unpacked, &limits) {
                Ok(files) => files,
                Err(Failure::Refused(error)) => return Ok(Err(error)),
                Err(Failure::Unwritable(error)) => return Err(unwritable(error)),
            };
            // The order of members in the archive must not change the fingerprint.
            files.sort();
            std::fs::remove_file(&downloaded).map_err(unwritable)?;
            if let Err(error) = layout(&uri, files.clone()) {
                return Ok(Err(error));
            }
            let whole = Version { number: 0, directory: String::new(), files, missing: None };
            let name = format!("{SNAPSHOT}-{}", whole.fingerprint());
            let listed = |file: &File| ManifestFile { path: format!("{UNPACKED}/{}", file.path), ..ManifestFile::from(file) };
            let manifest = Manifest {
                identity: cache.identity().to_owned(),
                version: SNAPSHOT.to_owned(),
                etag: received.etag,
                last_modified: received.last_modified,
                files: whole.files.iter().map(listed).collect(),
            };
            Ok(Ok(Unpacked { snapshot, name, manifest }))
        })
        .await
    }

    fn error(&self, code: Code, what: impl std::fmt::Display) -> Error {
        Error::new(code, format!("`{}`: {what}", self.uri))
    }
}

/// The headers that ask only for new bytes: for the rest of a download that has begun, or for an archive that differs from the
/// known one.
fn conditions(known: Option<&Manifest>, received: &Received) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name, value: Option<&String>| {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    };
    // A weak etag stands for the same content, but the bytes may differ.
    if let Some(etag) = received.etag.as_ref().filter(|etag| received.bytes > 0 && !etag.starts_with("W/")) {
        add(RANGE, Some(&format!("bytes={}-", received.bytes)));
        add(IF_RANGE, Some(etag));
    } else if let Some(known) = known {
        add(IF_NONE_MATCH, known.etag.as_ref());
        add(IF_MODIFIED_SINCE, known.last_modified.as_ref());
    }
    headers
}

/// Whether an answer is the rest of the download that has begun.
fn continues(response: &Response, received: &Received) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {}-", received.bytes))
}

/// The code of a status that is not a success.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        404 | 410 => Code::NotFound,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        408 | 429 | 500..=599 => Code::Unavailable,
        _ => Code::FailedPrecondition,
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
