//! Sorts a list of files into versions, and says whether each version is complete. Pure. It treats directories, buckets and
//! archives alike, so that two listings of any of them can be compared.
//!
//! A place may have anything beside its versions. Names that can be no part of a version are passed over before anybody judges
//! them. A fault within a version concerns that version alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;

use tfweb_engine::{Code, Error};

/// The most files of all versions of an origin: far more than any directory of versions has.
pub const FILES_MAX: usize = 100_000;
/// The most entries that a listing looks at, with those that it passes over. The limit ends the listing of a whole bucket.
pub(super) const ENTRIES_MAX: usize = 1_000_000;
/// The highest number of a version. TensorFlow's messages have 63 bits for it.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// The files of a SavedModel. Other files, such as notes or the same model in another format, are neither downloaded nor watched.
pub(super) const PART_FILES: [&str; 5] =
    ["saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "fingerprint.pb", "keras_metadata.pb"];
/// The directories of a SavedModel.
pub(super) const PART_DIRECTORIES: [&str; 3] = ["variables", "assets", "assets.extra"];

/// A file of an origin or of a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Its path with `/` between the parts. In a [`Version`] it begins below the version's directory.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// A text that changes with the content: the etag, or else the time of the last change. A local file has its device, its inode
    /// and both its times. Empty if the origin gives nothing.
    pub stamp: String,
}

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number; 1 if its directory's name is not a number.
    pub number: u64,
    /// The name of its directory, such as `00000123`; empty if the origin itself is the version.
    pub directory: String,
    /// Its files, sorted by path.
    pub files: Vec<File>,
    /// Why the version cannot be loaded, such as "not complete: saved_model.pb is missing"; `None` if it is complete. `NotFound`
    /// means that a file is missing. Other codes mean that the files cannot be read.
    pub fault: Option<Error>,
}

impl Version {
    fn new(number: u64, directory: &str, Parts { mut files, fault }: Parts) -> Self {
        files.sort();
        let unreadable = fault.map(|error| Error::new(error.code, format!("not readable: {}", error.message)));
        let lacks = |file: String| Error::new(Code::NotFound, format!("not complete: {file} is missing"));
        let fault = unreadable.or_else(|| missing(&files).map(lacks));
        Self { number, directory: directory.to_owned(), files, fault }
    }

    /// Whether all files are there that it needs to be loaded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.fault.is_none()
    }

    /// The size of all its files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// A number that stays the same between two listings if no file was added, removed or changed.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Hash::new();
        for File { path, size, stamp } in &self.files {
            for part in [path.as_str(), &size.to_string(), stamp] {
                hash.write(part.as_bytes());
                // Separates the parts. No text has a zero byte.
                hash.write(&[0]);
            }
        }
        Fingerprint(hash.value())
    }
}

/// The hash of the names, sizes and stamps of a version's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The versions of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by number, without duplicates, complete or not. Never empty.
    pub versions: Vec<Version>,
    /// Whether the origin is a directory of versions, to which more may come. Otherwise it is the only version itself.
    pub is_versioned: bool,
    /// The directories of versions that are not served: those in an origin that is a version itself, and those whose number another
    /// directory has.
    pub passed_over: Vec<String>,
}

/// The files that a walk through an origin has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<File>,
    /// Directories that could not be read, and why.
    pub(super) faults: Vec<(String, Error)>,
    /// The number of entries that the walk passed over.
    pub(super) others: usize,
}

/// The parts of one version.
#[derive(Default)]
struct Parts {
    files: Vec<File>,
    fault: Option<Error>,
}

impl Listing {
    /// Sorts the files of an origin into versions.
    ///
    /// Errors name the origin by `origin`. `own_name` is the name of the origin's directory, which may be the number of a single
    /// version.
    ///
    /// # Errors
    /// `NotFound` without a SavedModel.
    pub fn new(origin: &str, own_name: Option<&str>, files: Vec<File>) -> Result<Self, Error> {
        Self::of(origin, own_name, Found { files, ..Found::default() })
    }

    /// Does the same with what a walk has found.
    ///
    /// # Errors
    /// Those of [`Self::new`], or why the origin itself could not be read.
    pub(super) fn of(origin: &str, own_name: Option<&str>, mut found: Found) -> Result<Self, Error> {
        let mut directories = sorted(origin, &mut found);
        let own = directories.remove("").unwrap_or_default();
        let is_version = |parts: &Parts| parts.files.iter().any(|file| is_model(&file.path));
        if is_version(&own) {
            let number = own_name.and_then(number).unwrap_or(1);
            let passed_over = directories.into_iter().filter(|(_, parts)| is_version(parts)).map(|(name, _)| name).collect();
            return Ok(Self { versions: vec![Version::new(number, "", own)], is_versioned: false, passed_over });
        }
        let version = |(name, parts): (String, Parts)| Some(Version::new(number(&name)?, &name, parts));
        let mut versions: Vec<Version> = directories.into_iter().filter_map(version).collect();
        // Of `7` and `007` the plain name counts, and else the first by name. Whether a directory is complete does not matter: the
        // other's files would be served under the same number while somebody copies.
        versions.sort_by_key(|version| (version.number, version.directory != version.number.to_string()));
        let mut passed_over = Vec::new();
        versions.dedup_by(|version, first| {
            let is_same = version.number == first.number;
            if is_same {
                passed_over.push(mem::take(&mut version.directory));
            }
            is_same
        });
        if versions.is_empty() {
            let unreadable = own.fault.map(|error| Error::new(error.code, format!("`{origin}`: {}", error.message)));
            return Err(unreadable.unwrap_or_else(|| no_model(origin, found.others + own.files.len())));
        }
        Ok(Self { versions, is_versioned: true, passed_over })
    }

    /// The version of this number.
    #[must_use]
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The highest complete version.
    #[must_use]
    pub fn newest(&self) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.is_complete())
    }
}

/// Whether a directory of an origin can have files of a version. Nobody needs to walk through others.
pub(super) fn is_walked(directory: &str) -> bool {
    let directory = directory.strip_suffix('/').unwrap_or(directory);
    let (_, within) = split(directory);
    number(directory).is_some()
        || (PART_DIRECTORIES.contains(&within.split('/').next().unwrap_or_default()) && can_be_written(within))
}

/// Whether a file of an origin can be a part of a version.
pub(super) fn is_part(path: &str) -> bool {
    belongs(split(path).1)
}

/// Refuses a path in a listing or an archive that would lead out of the directory to which it is written.
///
/// # Errors
/// `InvalidArgument` that names the origin and the path.
pub(super) fn check_path(origin: &str, path: &str) -> Result<(), Error> {
    let refuse = |what: &str| {
        let path: String = path.chars().take(200).collect();
        Err(Error::invalid(format!("`{origin}`: {path:?} is refused: {what}")))
    };
    if path.starts_with('/') {
        return refuse("an absolute path");
    }
    if path.contains(['\\', '\0']) {
        return refuse("a backslash or a zero byte in a name");
    }
    for part in path.split('/') {
        match part {
            "" => return refuse("an empty name"),
            "." | ".." => return refuse("a name `.` or `..`"),
            _ => {}
        }
    }
    Ok(())
}

/// The version number of a directory's name, which must have only digits; `00000123` is 123. A number above 2^63-1 is none.
pub(super) fn number(name: &str) -> Option<u64> {
    digits(name).filter(|number| *number <= NUMBER_MAX)
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Sorts what was found by the directory of its version, which is empty for the origin itself.
fn sorted(origin: &str, found: &mut Found) -> BTreeMap<String, Parts> {
    let mut directories: BTreeMap<String, Parts> = BTreeMap::new();
    for file in without_directory_marks(mem::take(&mut found.files)) {
        let (directory, path) = split(&file.path);
        if !belongs(path) {
            found.others += 1;
            continue;
        }
        let parts = directories.entry(directory.to_owned()).or_default();
        match check_path(origin, &file.path) {
            Ok(()) => parts.files.push(File { path: path.to_owned(), size: file.size, stamp: file.stamp }),
            Err(error) => parts.fault = parts.fault.take().or(Some(error)),
        }
    }
    for (path, error) in found.faults.drain(..) {
        let parts = directories.entry(split(&path).0.to_owned()).or_default();
        parts.fault = parts.fault.take().or(Some(error));
    }
    directories
}

/// Splits a path into the directory of a version and the path within it. The directory is empty if the path begins with none.
fn split(path: &str) -> (&str, &str) {
    path.split_once('/').filter(|(directory, _)| number(directory).is_some()).unwrap_or(("", path))
}

fn no_model(origin: &str, others: usize) -> Error {
    let found = if others == 0 { "there is nothing".to_owned() } else { format!("there are {others} other files") };
    Error::new(
        Code::NotFound,
        format!(
            "`{origin}` is no SavedModel: expected saved_model.pb (or .pbtxt) in it, or numbered version directories that hold \
             one; {found}"
        ),
    )
}

fn is_model(path: &str) -> bool {
    matches!(path, "saved_model.pb" | "saved_model.pbtxt")
}

fn belongs(path: &str) -> bool {
    match path.split_once('/') {
        Some((directory, _)) => PART_DIRECTORIES.contains(&directory) && can_be_written(path),
        None => PART_FILES.contains(&path),
    }
}

/// Whether a file of a SavedModel can have this path. A store's keys may have names between slashes that no directory allows.
fn can_be_written(path: &str) -> bool {
    path.split('/').all(|name| !matches!(name, "" | "." | "..")) && !path.contains('\0')
}

/// Removes the empty files that some stores keep for directories.
fn without_directory_marks(files: Vec<File>) -> Vec<File> {
    let directories: BTreeSet<String> = files
        .iter()
        .flat_map(|file| file.path.match_indices('/').map(|(end, _)| file.path[..end].to_owned()).collect::<Vec<_>>())
        .collect();
    files.into_iter().filter(|file| file.size > 0 || !directories.contains(&file.path)).collect()
}

/// Finds a file that a SavedModel lacks. A model without variables may have an empty directory for them.
fn missing(files: &[File]) -> Option<String> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    if !files.iter().any(|file| is_model(&file.path)) {
        return Some("saved_model.pb".to_owned());
    }
    let variables: Vec<&str> = files.iter().filter_map(|file| file.path.strip_prefix("variables/")).collect();
    if variables.is_empty() {
        return None;
    }
    if !has("variables/variables.index") {
        return Some("variables/variables.index".to_owned());
    }
    let shards: Vec<(u64, u64)> = variables.iter().filter_map(|name| shard(name)).collect();
    let Some(count) = shards.iter().map(|&(_, count)| count).max() else {
        return Some("variables/variables.data-…".to_owned());
    };
    if shards.iter().any(|&(_, other)| other != count) {
        return Some("the rest of variables/variables.data-…: there are shards of two sets".to_owned());
    }
    // A name can claim any number of shards, but no listing has that many. The search ends at the first missing one.
    let present: BTreeSet<u64> = shards.iter().map(|&(shard, _)| shard).collect();
    let first = (0..count).find(|shard| !present.contains(shard))?;
    Some(format!("variables/variables.data-{first:05}-of-{count:05}"))
}

/// Reads `variables.data-00001-of-00003` as (1, 3).
fn shard(name: &str) -> Option<(u64, u64)> {
    let (shard, count) = name.strip_prefix("variables.data-")?.split_once("-of-")?;
    Some((digits(shard)?, digits(count)?))
}

/// FNV-1a with 64 bits. It is the same in every version of this program, so that a later version finds the names made from it.
pub(super) struct Hash(u64);

impl Hash {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(super) const fn value(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
