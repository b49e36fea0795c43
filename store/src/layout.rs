//! Finds the versions in the files of an archive. Pure.

use std::path::PathBuf;

use tfweb_engine::Error;

use super::listing::{File, Listing};
use super::uri::ModelUri;

/// The directory of the unpacked files in a snapshot.
pub(super) const UNPACKED: &str = "unpacked";

/// The contents of a snapshot: the directory that holds the versions, and the versions.
pub(super) struct Content {
    /// The directory below the unpacked files; empty for these files themselves.
    pub(super) top: String,
    pub(super) listing: Listing,
}

impl Content {
    /// The directory of a version below the snapshot.
    pub(super) fn directory(&self, number: u64) -> Option<PathBuf> {
        let version = self.listing.version(number)?;
        Some([UNPACKED, &self.top, &version.directory].iter().filter(|part| !part.is_empty()).collect())
    }
}

/// Finds the versions: at the root, or in the only top directory that has some.
pub(super) fn layout(uri: &ModelUri, files: Vec<File>) -> Result<Content, Error> {
    let origin = uri.to_string();
    let at_root = match Listing::new(&origin, uri.last_part().as_deref(), files.clone()) {
        Ok(listing) => return Ok(Content { top: String::new(), listing }),
        Err(error) => error,
    };
    let mut tops: Vec<&str> = files.iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    tops.sort_unstable();
    tops.dedup();
    let below = |top: &str| {
        let strip = |file: &File| {
            let path = file.path.strip_prefix(top)?.strip_prefix('/')?.to_owned();
            Some(File { path, ..file.clone() })
        };
        Listing::new(&origin, Some(top), files.iter().filter_map(strip).collect()).ok()
    };
    let mut found = tops.into_iter().filter_map(|top| Some(Content { top: top.to_owned(), listing: below(top)? }));
    match (found.next(), found.next()) {
        (Some(content), None) => Ok(content),
        (Some(one), Some(two)) => {
            let message = format!("`{origin}`: expected one model, found them in {:?} and {:?}", one.top, two.top);
            Err(Error::invalid(message))
        }
        (None, _) => Err(at_root),
    }
}
