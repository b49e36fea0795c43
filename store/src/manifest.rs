//! The description of a snapshot: what its origin said of the files, and the checksums by which they are known again.
//!
//! Everything here blocks.

use std::collections::BTreeSet;
use std::fs::{self, File as OsFile};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest;
use super::listing::File;

/// The description of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The hash of the origin's identity. Names of directories are shorter hashes, which may be equal. The identity itself may
    /// hold a secret, such as a signed query.
    pub(super) identity: String,
    /// The version's number, or `archive`.
    pub(super) version: String,
    /// The headers that an archive came with. Sent with the next request, they let the server answer that nothing has changed.
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Its files.
    pub(super) files: Vec<ManifestFile>,
}

/// A file of a snapshot with the size and the stamp that it had in the listing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) stamp: String,
}

impl From<&File> for ManifestFile {
    fn from(file: &File) -> Self {
        Self { path: file.path.clone(), size: file.size, stamp: file.stamp.clone() }
    }
}

/// A manifest as it is kept beside its snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Published {
    #[serde(flatten)]
    pub(super) manifest: Manifest,
    /// The CRC-32 of each file, in the order of the files. It shows what a disk or a power cut has damaged.
    pub(super) crc32: Vec<u32>,
    /// Whether a second download gave the same bytes. A third would not help then, whatever is wrong with them.
    pub(super) is_confirmed: bool,
}

impl Published {
    /// Computes the checksums of the files in a snapshot's directory, and writes files and directories to the disk. A rename that
    /// comes later cannot reach the disk before them.
    pub(super) fn seal(directory: &Path, manifest: &Manifest) -> io::Result<Self> {
        let mut directories = BTreeSet::from([directory.to_path_buf()]);
        let mut crc32 = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            let path = directory.join(&file.path);
            crc32.push(digest::crc32(&path)?);
            sync(&path)?;
            let within = path.ancestors().skip(1).take_while(|parent| *parent != directory);
            directories.extend(within.map(Path::to_path_buf));
        }
        directories.iter().try_for_each(|directory| sync(directory))?;
        Ok(Self { manifest: manifest.clone(), crc32, is_confirmed: false })
    }

    /// The files with their checksums.
    pub(super) fn files(&self) -> impl Iterator<Item = (&ManifestFile, u32)> {
        self.manifest.files.iter().zip(self.crc32.iter().copied())
    }

    /// Whether each file is there with its size.
    pub(super) fn is_complete(&self, directory: &Path) -> bool {
        directory.is_dir()
            && self.crc32.len() == self.manifest.files.len()
            && self.files().all(|(file, _)| has_size(directory, file))
    }

    /// Whether each file is there with its bytes. This reads all of them.
    pub(super) fn is_intact(&self, directory: &Path) -> bool {
        self.is_complete(directory) && self.files().all(|(file, crc32)| has_bytes(directory, file, crc32))
    }
}

fn has_size(directory: &Path, file: &ManifestFile) -> bool {
    fs::metadata(directory.join(&file.path)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size)
}

/// Whether a file of a snapshot has its size and its bytes.
pub(super) fn has_bytes(directory: &Path, file: &ManifestFile, crc32: u32) -> bool {
    has_size(directory, file) && digest::crc32(&directory.join(&file.path)).is_ok_and(|found| found == crc32)
}

/// Writes a file or a directory to the disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    OsFile::open(path)?.sync_all()
}
