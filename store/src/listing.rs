//! Sorts a list of files into versions, and says whether each version is complete. Pure. It treats directories, buckets and
//! archives alike, so that two listings of any of them can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tfweb_engine::{Code, Error};

/// The most files of an origin: far more than any directory of versions has. The limit stops the listing of a whole bucket early.
pub const FILES_MAX: usize = 100_000;

/// The files of a SavedModel. Other files, such as notes or the same model in another format, are neither downloaded nor watched.
const PART_FILES: [&str; 5] = ["saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "fingerprint.pb", "keras_metadata.pb"];
/// The directories of a SavedModel.
const PART_DIRECTORIES: [&str; 3] = ["variables", "assets", "assets.extra"];

/// A file of an origin or of a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Its path with `/` between the parts. In a [`Version`] it begins below the version's directory.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// A text that changes with the content: the etag, or else the time of the last change. Empty if the origin gives neither.
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
    /// The missing file, in words; `None` if the version is complete.
    pub missing: Option<String>,
}

impl Version {
    fn new(number: u64, directory: &str, mut files: Vec<File>) -> Self {
        files.sort();
        let missing = missing(&files);
        Self { number, directory: directory.to_owned(), files, missing }
    }

    /// Whether all files are there that it needs to be loaded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_none()
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
}

impl Listing {
    /// Sorts the files of an origin into versions.
    ///
    /// Errors name the origin by `origin`. `own_name` is the name of the origin's directory, which may be the number of a single
    /// version.
    ///
    /// # Errors
    /// `NotFound` without a SavedModel; `InvalidArgument` for a path that is not safe to write.
    pub fn new(origin: &str, own_name: Option<&str>, files: Vec<File>) -> Result<Self, Error> {
        for file in &files {
            check_path(origin, &file.path)?;
        }
        let files = without_directory_marks(files);
        if files.iter().any(|file| is_model(&file.path)) {
            let number = own_name.and_then(number).unwrap_or(1);
            let files = files.into_iter().filter(|file| belongs(&file.path)).collect();
            return Ok(Self { versions: vec![Version::new(number, "", files)], is_versioned: false });
        }
        let count = files.len();
        let mut directories: BTreeMap<(u64, String), Vec<File>> = BTreeMap::new();
        for file in files {
            let Some((directory, path)) = file.path.split_once('/') else { continue };
            let Some(number) = number(directory).filter(|_| belongs(path)) else { continue };
            let file = File { path: path.to_owned(), size: file.size, stamp: file.stamp.clone() };
            directories.entry((number, directory.to_owned())).or_default().push(file);
        }
        let mut versions: Vec<Version> =
            directories.into_iter().map(|((number, directory), files)| Version::new(number, &directory, files)).collect();
        // Of `7` and `007`, a complete one counts. If both are complete, the order of names decides, so that the choice stays the
        // same.
        versions.sort_by_key(|version| (version.number, version.missing.is_some()));
        versions.dedup_by_key(|version| version.number);
        if versions.is_empty() {
            let found = if count == 0 { "there is nothing".to_owned() } else { format!("there are {count} other files") };
            return Err(Error::new(
                Code::NotFound,
                format!(
                    "`{origin}` is no SavedModel: expected saved_model.pb (or .pbtxt) in it, or numbered version directories that \
                     hold one; {found}"
                ),
            ));
        }
        Ok(Self { versions, is_versioned: true })
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

/// The version number of a directory's name, which must have only digits; `00000123` is 123.
pub(super) fn number(name: &str) -> Option<u64> {
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten()
}

fn is_model(path: &str) -> bool {
    matches!(path, "saved_model.pb" | "saved_model.pbtxt")
}

fn belongs(path: &str) -> bool {
    match path.split_once('/') {
        Some((directory, _)) => PART_DIRECTORIES.contains(&directory),
        None => PART_FILES.contains(&path),
    }
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
    Some((number(shard)?, number(count)?))
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
mod tests {
    use super::*;

    fn files(paths: &str) -> Vec<File> {
        let file = |path: &str| File { path: path.to_owned(), size: 1, stamp: "a".into() };
        paths.split_whitespace().map(file).collect()
    }

    /// Compares the numbers, directories and missing files of a listing, as text.
    #[track_caller]
    fn check(own_name: &str, paths: &str, expected: &str) {
        let listing = Listing::new("place", Some(own_name), files(paths));
        let text = |version: &Version| {
            let missing = version.missing.as_ref().map(|missing| format!(" lacks {missing}")).unwrap_or_default();
            format!("{}={:?} {}{missing}", version.number, version.directory, version.files.len())
        };
        let found = match listing {
            Ok(listing) => listing.versions.iter().map(text).collect::<Vec<_>>().join("; "),
            Err(error) => error.message,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn both_layouts_are_known() {
        check("m", "saved_model.pb", r#"1="" 1"#);
        check("00000123", "saved_model.pbtxt assets/a assets/b/c", r#"123="" 3"#);
        check("m", "1/saved_model.pb 00000123/saved_model.pb 00000123/fingerprint.pb", r#"1="1" 1; 123="00000123" 2"#);
        check("m", "saved_model.pb 2/saved_model.pb README.md", r#"1="" 1"#);
        check("m", "7/saved_model.pb old/saved_model.pb -1/saved_model.pb note", r#"7="7" 1"#);
        check("m", "007/saved_model.pb 7/assets/a", r#"7="007" 1"#);
    }

    #[test]
    fn what_is_no_model_says_what_was_expected() {
        let text = "`place` is no SavedModel: expected saved_model.pb (or .pbtxt) in it, or numbered version directories that \
                    hold one; ";
        check("m", "", &format!("{text}there is nothing"));
        check("m", "model.onnx a/saved_model.pb", &format!("{text}there are 2 other files"));
        check("m", "99999999999999999999999/saved_model.pb", &format!("{text}there are 1 other files"));
    }

    #[test]
    fn half_copied_versions_are_incomplete() {
        let v = "variables/variables";
        check("m", "1/variables/variables.index", r#"1="1" 1 lacks saved_model.pb"#);
        check("m", &format!("saved_model.pb {v}.data-00000-of-00001"), r#"1="" 2 lacks variables/variables.index"#);
        check("m", &format!("saved_model.pb {v}.index"), r#"1="" 2 lacks variables/variables.data-…"#);
        check("m", &format!("saved_model.pb {v}.index {v}.data-00000-of-00001"), r#"1="" 3"#);
        let two = format!("saved_model.pb {v}.index {v}.data-00001-of-00002");
        check("m", &two, r#"1="" 3 lacks variables/variables.data-00000-of-00002"#);
        check("m", &format!("{two} {v}.data-00000-of-00002"), r#"1="" 4"#);
        let most = format!("saved_model.pb {v}.index {v}.data-00000-of-18446744073709551615");
        check("m", &most, r#"1="" 3 lacks variables/variables.data-00001-of-18446744073709551615"#);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["../x", "1/../x", "/etc/passwd", "1//x", "1/./x", "a\\..\\b", "x/", ".."] {
            let error = Listing::new("place", None, files(&format!("saved_model.pb {path}"))).unwrap_err();
            assert!(error.message.contains("`place`: ") && error.message.contains("is refused"), "{path}: {error}");
        }
        assert!(check_path("place", "a/..b/c..").is_ok());
    }

    #[test]
    fn directories_kept_as_empty_files_are_no_files() {
        let mut listed = files("1/saved_model.pb 1/variables/variables.index");
        let mark = |path: &str| File { path: path.into(), size: 0, stamp: String::new() };
        listed.extend([mark("1"), mark("1/variables"), mark("1/assets")]);
        let paths: Vec<String> =
            Listing::new("place", None, listed).unwrap().versions.remove(0).files.into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["saved_model.pb", "variables/variables.index"]);
    }

    #[test]
    fn fingerprint_changes_with_each_file() {
        let version = |paths: &str| Listing::new("place", None, files(paths)).unwrap().versions.remove(0);
        let one = version("saved_model.pb assets/a");
        assert_eq!(one.fingerprint(), version("assets/a saved_model.pb README").fingerprint(), "order and strangers do not count");
        assert_ne!(one.fingerprint(), version("saved_model.pb assets/b").fingerprint());
        let mut other = one.clone();
        other.files[0].stamp = "b".into();
        assert_ne!(one.fingerprint(), other.fingerprint());
        other.files[0] = File { size: 2, ..one.files[0].clone() };
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
