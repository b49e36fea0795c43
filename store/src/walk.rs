//! Lists the files of the versions in a store. `download` calls it. If the store fails to list a part, that is an error of the whole
//! listing, never a shorter listing: tfweb would unload the versions that it does not find. If the store denies access to a part,
//! or the part cannot be walked, that is the fault of its version alone.

use futures::TryStreamExt;
use opendal::{ErrorKind, Metadata, Operator};
use tfweb_engine::{Code, Error};

use super::connect::explain;
use super::digest;
use super::listing::{check_path, is_part, is_walked, File, Found, ENTRIES_MAX, FILES_MAX};
use super::uri::ModelUri;

/// The longest path of a directory. S3 has the same limit for names. The path is repeated in memory before each name below it.
const PATH_BYTES_MAX: usize = 1024;
/// The path of the root as opendal takes it.
const ROOT: &str = "/";

/// Lists the files of versions in a store, with one listing if the store can list recursively, and else with one for each directory.
/// opendal would walk through directories too, but it leaves out those whose listing fails.
///
/// # Errors
/// The error of the store if it cannot list a directory. `Unavailable` if somebody removes a directory meanwhile.
/// `InvalidArgument` for more than `FILES_MAX` files or `ENTRIES_MAX` entries.
///
/// # Cancel safety
/// Nothing is left behind.
pub(super) async fn walk(uri: &ModelUri, operator: &Operator) -> Result<Found, Error> {
    let is_recursive = operator.info().capability().list_with_recursive;
    let (mut found, mut count) = (Found::default(), 0);
    let mut directories = vec![ROOT.to_owned()];
    while let Some(directory) = directories.pop() {
        match list(uri, operator, &directory, is_recursive, &mut count, &mut found).await {
            Ok(within) => directories.extend(within),
            Err(error) if error.code == Code::PermissionDenied && directory != ROOT => found.faults.push((directory, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Lists one directory into `found`, and counts its entries. Gives the directories in it that are to be listed.
async fn list(
    uri: &ModelUri,
    operator: &Operator,
    directory: &str,
    is_recursive: bool,
    count: &mut usize,
    found: &mut Found,
) -> Result<Vec<String>, Error> {
    let failed = |error: opendal::Error| cannot_list(uri, directory, &error);
    let mut entries = operator.lister_with(directory).recursive(is_recursive).await.map_err(failed)?;
    let (before, mut directories) = (*count, Vec::new());
    while let Some(entry) = entries.try_next().await.map_err(failed)? {
        // Directories and strangers count too. A store may repeat one without end.
        *count += 1;
        check_count(uri, *count, ENTRIES_MAX, "entries")?;
        let (path, metadata) = (entry.path(), entry.metadata());
        if metadata.is_file() && is_part(path) {
            found.files.push(File { path: path.to_owned(), size: metadata.content_length(), stamp: stamp(metadata) });
            check_count(uri, found.files.len(), FILES_MAX, "files")?;
        } else if metadata.is_file() {
            found.others += 1;
        } else if !is_recursive && path != directory && is_walked(path) {
            match check_directory(uri, directory, path) {
                Ok(()) => directories.push(path.to_owned()),
                Err(error) => found.faults.push((path.to_owned(), error)),
            }
        }
    }
    // The listing of a directory has the directory itself. For one that does not exist, opendal gives an empty listing.
    if *count == before && directory != ROOT {
        let message = format!("`{uri}`: cannot list {directory:?}: it was there and is gone; it is listed again later");
        return Err(Error::new(Code::Unavailable, message));
    }
    Ok(directories)
}

fn check_count(uri: &ModelUri, count: usize, max: usize, what: &str) -> Result<(), Error> {
    if count <= max {
        return Ok(());
    }
    Err(Error::invalid(format!("`{uri}`: more than {max} {what}; is it the place of one model?")))
}

/// Translates an error. A directory below the root that is not found was there before, so the model may still be there.
fn cannot_list(uri: &ModelUri, directory: &str, error: &opendal::Error) -> Error {
    if directory == ROOT {
        return explain(uri, "cannot list", error);
    }
    let explained = explain(uri, &format!("cannot list {directory:?}"), error);
    if error.kind() == ErrorKind::NotFound {
        return Error::new(Code::Unavailable, explained.message);
    }
    explained
}

/// Checks that a path of a directory leads deeper, since the walk would not end otherwise.
fn check_directory(uri: &ModelUri, parent: &str, path: &str) -> Result<(), Error> {
    check_path(&uri.to_string(), path.strip_suffix('/').unwrap_or(path))?;
    let is_below = parent == ROOT || path.starts_with(parent);
    if is_below && path.len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    let shown: String = path.chars().take(200).collect();
    let message = if is_below {
        format!("`{uri}`: {shown:?}: expected a directory whose path has at most {PATH_BYTES_MAX} bytes, found {}", path.len())
    } else {
        format!("`{uri}`: expected directories below {parent:?}, found {shown:?}")
    };
    Err(Error::invalid(message))
}

/// The etag, or else the time of the last change, and the MD5 of the content if the store gives it in a field of its own.
fn stamp(metadata: &Metadata) -> String {
    let modified = || metadata.last_modified().map(|time| time.to_string());
    let stamp = metadata.etag().map(str::to_owned).or_else(modified).unwrap_or_default();
    match metadata.content_md5().filter(|md5| !md5.is_empty()) {
        Some(md5) => digest::with_md5(&stamp, md5),
        None => stamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_root_that_is_not_found_means_that_no_model_is_there() {
        let uri = ModelUri::parse("hdfs://h/m").unwrap();
        let code = |directory| cannot_list(&uri, directory, &opendal::Error::new(ErrorKind::NotFound, "gone")).code;
        assert_eq!((code(ROOT), code("1/")), (Code::NotFound, Code::Unavailable));
    }

    #[test]
    fn a_walk_only_leads_deeper_and_so_ends() {
        let uri = ModelUri::parse("webhdfs://h:1/m").unwrap();
        let long = format!("1/{}/", "x".repeat(PATH_BYTES_MAX));
        for (parent, path, refused) in [
            ("/", "1/", ""),
            ("1/", "1/variables/", ""),
            ("1/", "1//", "an empty name"),
            ("1/", "1/../", "a name `.` or `..`"),
            ("/", "//", "an absolute path"),
            ("1/", "2/", "expected directories below \"1/\", found \"2/\""),
            ("1/", &long, "expected a directory whose path has at most 1024 bytes, found 1027"),
        ] {
            let error = check_directory(&uri, parent, path).map_or_else(|error| error.message, |()| String::new());
            assert!(error.is_empty() == refused.is_empty() && error.ends_with(refused), "{parent} {path}: {error}");
        }
    }
}
