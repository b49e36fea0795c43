//! Lists a local directory. It blocks. Nothing is downloaded, because the files are used where they are.
//!
//! Only files that can be parts of a version are looked at. tfweb neither opens nor follows other files beside them.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tfweb_engine::{Code, Error};

use super::listing::{number, File, Found, Listing, ENTRIES_MAX, FILES_MAX, PART_DIRECTORIES, PART_FILES};

/// The most nested directories. A SavedModel has three levels.
const DEPTH_MAX: usize = 16;

/// Lists a SavedModel or a directory of versions.
///
/// # Errors
/// `NotFound` or `PermissionDenied` that names the path.
pub fn list(path: &Path) -> Result<Listing, Error> {
    let origin = path.display().to_string();
    let (numbered, others) = numbered(path).map_err(|error| {
        let code = if error.kind() == ErrorKind::PermissionDenied { Code::PermissionDenied } else { Code::NotFound };
        Error::new(code, format!("`{origin}`: {error}"))
    })?;
    let mut found = Found { others, ..Found::default() };
    // The highest version is the first that gets a share of the limit.
    for directory in [String::new()].into_iter().chain(numbered) {
        let mut walk = Walk { entries_max: FILES_MAX - found.files.len(), ..Walk::default() };
        let walked = walk.version(&path.join(&directory));
        if walked.is_err() {
            // The files at the top tell whether this is a version, so they stay. The other versions get the rest of the limit.
            walk.files.retain(|file| !file.path.contains('/'));
        }
        let within = |file: File| File { path: format!("{directory}{}", file.path), ..file };
        found.files.extend(walk.files.into_iter().map(within));
        found.faults.extend(walked.err().map(|error| (directory, error)));
    }
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    Listing::of(&origin, full.file_name().and_then(|name| name.to_str()), found)
}

/// Checks that a version has regular files only. TensorFlow opens them by their names, and a FIFO would hold the thread that loads.
///
/// # Errors
/// `FailedPrecondition` that names the first other file; otherwise why the version cannot be read.
pub(super) fn check_regular(version: &Path) -> Result<(), Error> {
    let mut walk = Walk { entries_max: FILES_MAX, ..Walk::default() };
    walk.version(version)?;
    let Some(found) = walk.other else { return Ok(()) };
    let path = version.join(found);
    let message = format!("`{}`: expected a regular file, found a FIFO, a socket or a device", path.display());
    Err(Error::new(Code::FailedPrecondition, message))
}

/// The entries of a directory whose names are version numbers, each with a slash behind it, highest first; and how many others there
/// are.
fn numbered(path: &Path) -> io::Result<(Vec<String>, usize)> {
    let (mut names, mut others) = (Vec::new(), 0);
    for entry in fs::read_dir(path)? {
        // A version has no name that is not UTF-8.
        match entry?.file_name().into_string().ok().filter(|name| number(name).is_some()) {
            Some(name) => names.push(name),
            None => others += 1,
        }
        if names.len() + others > ENTRIES_MAX {
            return Err(io::Error::other(format!("more than {ENTRIES_MAX} entries; is it the directory of one model?")));
        }
    }
    names.sort_by_key(|name| std::cmp::Reverse(number(name)));
    Ok((names.into_iter().map(|name| name + "/").collect(), others))
}

/// A walk through the parts of one version. It follows links, because a version is often a link to its real place.
#[derive(Default)]
struct Walk {
    files: Vec<File>,
    /// The path of the first entry that is neither a file nor a directory.
    other: Option<String>,
    /// The number of entries so far, and the most that there may be.
    entries: usize,
    entries_max: usize,
    /// The device and the inode of each directory from the version's own to the current one.
    within: Vec<(u64, u64)>,
}

impl Walk {
    /// # Errors
    /// The fault of the version. It names the path within the version.
    fn version(&mut self, directory: &Path) -> Result<(), Error> {
        let Some(metadata) = looked_up(directory, ".")?.filter(Metadata::is_dir) else { return Ok(()) };
        self.within.push(identity(&metadata));
        for name in PART_FILES.into_iter().chain(PART_DIRECTORIES) {
            let is_directory = PART_DIRECTORIES.contains(&name);
            if let Some(metadata) = looked_up(&directory.join(name), name)?.filter(|metadata| metadata.is_dir() == is_directory) {
                self.add(&directory.join(name), name.to_owned(), &metadata)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &Path, path: String, metadata: &Metadata) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.entries_max {
            let message = format!("more than {} files; a place may have {FILES_MAX}", self.entries_max);
            return Err(Error::new(Code::FailedPrecondition, message));
        }
        if metadata.is_dir() {
            // A link may lead back to where it came from. All that is there is in the listing already.
            if self.within.contains(&identity(metadata)) {
                return Ok(());
            }
            self.within.push(identity(metadata));
            self.directory(entry, &path)?;
            self.within.pop();
        } else if metadata.is_file() {
            self.files.push(File { path, size: metadata.len(), stamp: stamp(metadata) });
        } else {
            self.other.get_or_insert(path);
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Path, path: &str) -> Result<(), Error> {
        if self.within.len() > DEPTH_MAX {
            let message = format!("`{path}`: more than {DEPTH_MAX} directories within each other");
            return Err(Error::new(Code::FailedPrecondition, message));
        }
        let Some(entries) = found(fs::read_dir(directory), path)? else { return Ok(()) };
        for entry in entries {
            let Some(entry) = found(entry, path)? else { continue };
            // A SavedModel has no file whose name is not UTF-8 or has a backslash.
            let Some(name) = entry.file_name().into_string().ok().filter(|name| !name.contains('\\')) else { continue };
            let path = format!("{path}/{name}");
            if let Some(metadata) = looked_up(&entry.path(), &path)? {
                self.add(&entry.path(), path, &metadata)?;
            }
        }
        Ok(())
    }
}

/// The system's metadata of a file; `None` if the file is not there.
fn looked_up(entry: &Path, path: &str) -> Result<Option<Metadata>, Error> {
    found(fs::metadata(entry), path)
}

/// Translates an error of the system; `None` for a file that was removed after the listing, or that is a link to nothing.
fn found<T>(result: io::Result<T>, path: &str) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => {
            let code = if error.kind() == ErrorKind::PermissionDenied { Code::PermissionDenied } else { Code::Unavailable };
            Err(Error::new(code, format!("`{path}`: {error}")))
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A text that changes with the file. Many tools give each file the same date, so the size and the date alone do not tell two files
/// apart. Nobody can set the time of the last change of an inode, and a link that is turned leads to another inode.
fn stamp(metadata: &Metadata) -> String {
    let (device, inode) = identity(metadata);
    let modified = format!("{}.{}", metadata.mtime(), metadata.mtime_nsec());
    let changed = format!("{}.{}", metadata.ctime(), metadata.ctime_nsec());
    format!("{modified} {changed} {device} {inode}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn models() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models")
    }

    #[test]
    fn directories_are_looked_at_like_stores() {
        let listing = list(&models().join("half_plus_two")).unwrap();
        let version = listing.newest().unwrap();
        assert_eq!((version.number, version.directory.as_str(), version.files.len()), (1, "1", 4));
        assert!(listing.is_versioned && version.is_complete() && version.bytes() > 1000);
        let alone = list(&models().join("half_plus_two/1")).unwrap();
        assert!(!alone.is_versioned);
        assert_eq!((alone.versions[0].number, alone.versions[0].fingerprint()), (1, version.fingerprint()));
    }

    #[test]
    fn what_changes_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let version = directory.path().join("7");
        fs::create_dir_all(version.join("variables")).unwrap();
        assert_eq!(list(directory.path()).unwrap_err().code, Code::NotFound, "no file yet");
        fs::write(version.join("saved_model.pb"), "a").unwrap();
        let one = list(directory.path()).unwrap().versions.remove(0);
        assert!(one.is_complete(), "an empty directory of variables is none");
        fs::write(version.join("variables/variables.index"), "").unwrap();
        let two = list(directory.path()).unwrap().versions.remove(0);
        assert!(!two.is_complete() && one.fingerprint() != two.fingerprint());
        fs::write(version.join("saved_model.pb"), "ab").unwrap();
        assert_ne!(list(directory.path()).unwrap().versions[0].fingerprint(), two.fingerprint());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = list(&models().join("nowhere")).unwrap_err();
        assert!(error.code == Code::NotFound && error.message.contains("nowhere`: No such file"), "{error}");
    }

    #[test]
    fn a_version_with_a_fifo_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let version = directory.path().join("7");
        fs::create_dir_all(version.join("assets")).unwrap();
        fs::write(version.join("saved_model.pb"), "a").unwrap();
        assert_eq!(check_regular(&version), Ok(()));
        assert!(std::process::Command::new("mkfifo").arg(version.join("assets/vocabulary")).status().unwrap().success());
        assert!(list(directory.path()).unwrap().versions[0].is_complete());
        let error = check_regular(&version).unwrap_err();
        assert!(error.message.contains("7/assets/vocabulary`: expected a regular file, found a FIFO"), "{error}");
    }

    #[test]
    fn links_in_a_circle_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("1/assets/deep")).unwrap();
        fs::write(path("1/saved_model.pb"), "a").unwrap();
        fs::write(path("1/assets/deep/vocabulary"), "a").unwrap();
        symlink("..", path("1/assets/deep/up")).unwrap();
        symlink("../../..", path("1/assets/deep/top")).unwrap();
        let version = list(directory.path()).unwrap().versions.remove(0);
        let names: Vec<&str> = version.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((version.fault, &names[..2]), (None, &["assets/deep/vocabulary", "saved_model.pb"][..]));
        // Real directories end too.
        fs::create_dir_all(path("1/assets").join("d/".repeat(DEPTH_MAX))).unwrap();
        let fault = list(directory.path()).unwrap().versions.remove(0).fault.unwrap();
        assert!(fault.message.contains("more than 16 directories within each other"), "{fault}");
    }

    /// A link to itself: whoever looks at what it leads to gets an error, whatever his rights.
    fn unreadable(path: &Path) {
        symlink(path.file_name().unwrap(), path).unwrap();
    }

    #[test]
    fn strangers_beside_versions_are_not_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for version in ["1", "9223372036854775808", "current.old", ".hidden"] {
            fs::create_dir_all(path(version)).unwrap();
            fs::write(path(version).join("saved_model.pb"), "a").unwrap();
        }
        unreadable(&path("lost+found"));
        unreadable(&path("1/notes"));
        symlink(".", path("current")).unwrap();
        symlink("/", path("root")).unwrap();
        symlink("nowhere", path("5")).unwrap();
        fs::write(path("6"), "a file").unwrap();
        fs::write(path("a\\b"), "a").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        let listing = list(directory.path()).unwrap();
        assert_eq!(listing.versions.iter().map(|version| (version.number, &version.fault)).collect::<Vec<_>>(), [(1, &None)]);
        assert_eq!(check_regular(&path("1")), Ok(()));
    }

    #[test]
    fn an_error_within_a_version_is_the_fault_of_that_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for version in ["1", "2", "3"] {
            fs::create_dir_all(path(version).join("assets")).unwrap();
            fs::write(path(version).join("saved_model.pb"), "a").unwrap();
        }
        unreadable(&path("2/assets/loop"));
        unreadable(&path("3/variables"));
        unreadable(&path("4"));
        let listing = list(directory.path()).unwrap();
        assert_eq!(listing.newest().map(|version| version.number), Some(1));
        let faults: Vec<String> = listing.versions.iter().filter_map(|version| Some(version.fault.as_ref()?.to_string())).collect();
        let starts =
            ["not readable: `assets/loop`: Too many", "not readable: `variables`: Too many", "not readable: `.`: Too many"];
        assert!(faults.len() == 3 && faults.iter().zip(starts).all(|(fault, start)| fault.starts_with(start)), "{faults:#?}");
    }

    #[test]
    fn a_model_with_an_error_does_not_give_way_to_versions_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("2")).unwrap();
        fs::write(path("saved_model.pb"), "a").unwrap();
        fs::write(path("2/saved_model.pb"), "a").unwrap();
        unreadable(&path("variables"));
        let listing = list(directory.path()).unwrap();
        assert!(!listing.is_versioned && listing.newest().is_none() && listing.passed_over == ["2"], "{listing:?}");
        // Without the model they are versions, whatever else is there.
        fs::remove_file(path("saved_model.pb")).unwrap();
        assert_eq!(list(directory.path()).unwrap().newest().map(|version| version.number), Some(2));
        fs::remove_file(path("2/saved_model.pb")).unwrap();
        let error = list(directory.path()).unwrap_err().message;
        assert!(error.starts_with(&format!("`{}`: `variables`: Too many", directory.path().display())), "{error}");
    }

    #[test]
    fn same_sizes_and_dates_are_not_the_same_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            fs::File::options().append(true).open(path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        };
        let fingerprint = |place: &str| list(&path(place)).unwrap().versions.remove(0).fingerprint();
        write(&path("a/1/saved_model.pb"), "a");
        write(&path("b/1/saved_model.pb"), "b");
        symlink("a", path("current")).unwrap();
        let first = fingerprint("current");
        assert_eq!(first, fingerprint("a"), "nothing has changed");
        fs::remove_file(path("current")).unwrap();
        symlink("b", path("current")).unwrap();
        assert_ne!(first, fingerprint("current"), "the link is turned");
        write(&path("a/1/saved_model.pb"), "c");
        assert_ne!(first, fingerprint("a"), "written in place");
    }
}
