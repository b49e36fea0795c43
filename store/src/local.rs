//! Lists a local directory. It blocks. Nothing is downloaded, because the files are used where they are.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use tfweb_engine::{Code, Error};

use super::listing::{File, Listing, FILES_MAX};

/// The most nested directories. A SavedModel has three levels.
const DEPTH_MAX: usize = 16;

/// Lists a SavedModel or a directory of versions.
///
/// # Errors
/// `NotFound` that names the path.
pub fn list(path: &Path) -> Result<Listing, Error> {
    let origin = path.display().to_string();
    let files = walked(path)?.files;
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    Listing::new(&origin, full.file_name().and_then(|name| name.to_str()), files)
}

/// Checks that a version has regular files only. TensorFlow opens them by their names, and a FIFO would hold the thread that loads.
///
/// # Errors
/// `FailedPrecondition` that names the first other file.
pub(super) fn check_regular(version: &Path) -> Result<(), Error> {
    let Some(found) = walked(version)?.other else { return Ok(()) };
    let path = version.join(found);
    let message = format!("`{}`: expected a regular file, found a FIFO, a socket or a device", path.display());
    Err(Error::new(Code::FailedPrecondition, message))
}

/// The contents of a directory.
#[derive(Default)]
struct Contents {
    files: Vec<File>,
    /// The path of the first entry that is neither a file nor a directory.
    other: Option<String>,
}

fn walked(path: &Path) -> Result<Contents, Error> {
    let mut found = Contents::default();
    walk(path, "", 0, &mut found).map_err(|error| {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { Code::PermissionDenied } else { Code::NotFound };
        Error::new(code, format!("`{}`: {error}", path.display()))
    })?;
    Ok(found)
}

/// Lists the files below a directory. It follows links, because a version is often a link to its real place.
fn walk(directory: &Path, prefix: &str, depth: usize, found: &mut Contents) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("`{prefix}`: more than {DEPTH_MAX} directories within each other")));
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A SavedModel has no file whose name is not UTF-8.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            // The file was removed after the listing, or is a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            match walk(&entry.path(), &format!("{path}/"), depth + 1, found) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                walked => walked?,
            }
        } else if !metadata.is_file() {
            found.other.get_or_insert(path);
        } else if !name.contains('\\') {
            if found.files.len() == FILES_MAX {
                return Err(io::Error::other(format!("more than {FILES_MAX} files; is it the directory of one model?")));
            }
            let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            found.files.push(File { path, size: metadata.len(), stamp: since.as_nanos().to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("saved_model.pb"), "a").unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("again")).unwrap();
        assert!(list(directory.path()).unwrap_err().message.contains("within each other"));
    }
}
