//! The last listing of a store, kept beside its snapshots. A process that starts while the store does not answer finds there which
//! versions the store had. The snapshots alone do not tell: an older one may be of a version that was taken back since.
//!
//! Everything here blocks. A listing that cannot be written is no error: only a later start lacks it.

use serde::{Deserialize, Serialize};
use tfweb_engine::regular_file;

use super::cache::{OriginCache, MANIFEST_BYTES_MAX};
use super::listing::{File, Listing, Version};
use super::manifest::ManifestFile;

/// The name of the file. No snapshot has this name.
const NAME: &str = "listing";

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// The hash of the origin's identity, as manifests have it.
    identity: String,
    is_versioned: bool,
    versions: Vec<RememberedVersion>,
}

#[derive(Serialize, Deserialize)]
struct RememberedVersion {
    number: u64,
    directory: String,
    files: Vec<ManifestFile>,
}

/// Writes a listing in place of an earlier one. Where there is none, nothing was downloaded yet, and there is nothing to serve.
pub(super) fn replace(cache: &OriginCache, listing: &Listing) {
    if cache.path(NAME).exists() {
        write(cache, listing);
    }
}

/// Writes a listing. Versions that are not complete are left out.
pub(super) fn write(cache: &OriginCache, listing: &Listing) {
    let complete = listing.versions.iter().filter(|version| version.is_complete());
    let versions = complete.map(|version| RememberedVersion {
        number: version.number,
        directory: version.directory.clone(),
        files: version.files.iter().map(ManifestFile::from).collect(),
    });
    let identity = cache.identity().to_owned();
    let content = Remembered { identity, is_versioned: listing.is_versioned, versions: versions.collect() };
    if let Err(error) = cache.write_json(NAME, NAME, &content) {
        tracing::debug!("cannot write `{}`: {error}", cache.path(NAME).display());
    }
}

/// Reads the listing. It may have versions that are not in the cache.
pub(super) fn read(cache: &OriginCache) -> Option<Listing> {
    let text = regular_file::read(&cache.path(NAME), MANIFEST_BYTES_MAX).ok()?;
    let content: Remembered = serde_json::from_slice(&text).ok()?;
    let file = |file: ManifestFile| File { path: file.path, size: file.size, stamp: file.stamp };
    let version = |version: RememberedVersion| Version {
        number: version.number,
        directory: version.directory,
        files: version.files.into_iter().map(file).collect(),
        fault: None,
    };
    let versions: Vec<Version> = content.versions.into_iter().map(version).collect();
    let is_ours = content.identity == cache.identity() && !versions.is_empty();
    is_ours.then_some(Listing { versions, is_versioned: content.is_versioned, passed_over: Vec::new() })
}
