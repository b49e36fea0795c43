//! A SavedModel on disk: its directory, its version, its tag sets.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::error::{Code, Error};
use crate::regular_file;

/// The largest saved_model.pb that is read for its tag sets: protobuf's limit for one message.
const LISTED_BYTES_MAX: u64 = 2 << 30;

/// The directory of a SavedModel, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The directory that holds saved_model.pb or saved_model.pbtxt.
    pub directory: PathBuf,
    /// The number that is the directory's name, or 1 if the name is no number.
    pub version: u64,
}

/// Finds the SavedModel at `path`: in the directory itself, or in the highest of its numbered subdirectories.
///
/// # Errors
/// `NotFound`, which names the files that were expected and what the directory holds.
pub fn locate(path: &Path) -> Result<Located, Error> {
    if holds_model(path) {
        let version = version_of(path).unwrap_or(1);
        return Ok(Located { directory: path.to_path_buf(), version });
    }
    let entries = fs::read_dir(path).map_err(|error| Error::new(Code::NotFound, format!("`{}`: {error}", path.display())))?;
    let paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    let newest =
        paths.iter().filter(|path| holds_model(path)).filter_map(|path| version_of(path).map(|version| (version, path))).max();
    if let Some((version, directory)) = newest {
        return Ok(Located { directory: directory.clone(), version });
    }
    let found = match paths.len() {
        0 => "it is empty".to_owned(),
        count => format!("it holds {count} other entries"),
    };
    Err(Error::new(
        Code::NotFound,
        format!(
            "`{}` is no SavedModel: expected saved_model.pb (or .pbtxt) in it, or numbered version directories that hold one; {found}",
            path.display()
        ),
    ))
}

fn holds_model(path: &Path) -> bool {
    path.join("saved_model.pb").is_file() || path.join("saved_model.pbtxt").is_file()
}

fn version_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten()
}

/// Lists the tag sets of the SavedModel in `directory`. Empty if the file is in text format, too large or damaged.
#[must_use]
pub fn tag_sets(directory: &Path) -> Vec<Vec<String>> {
    let file = directory.join("saved_model.pb");
    let model = regular_file::read(&file, LISTED_BYTES_MAX).ok().and_then(|bytes| SavedModel::decode(bytes.as_slice()).ok());
    let graphs = model.map(|model| model.meta_graphs).unwrap_or_default();
    graphs.into_iter().map(|graph| graph.meta_info.unwrap_or_default().tags).collect()
}

// The fields that are read, numbered as in tensorflow/core/protobuf/saved_model.proto and meta_graph.proto. prost skips all others.

#[derive(Message)]
struct SavedModel {
    #[prost(message, repeated, tag = "2")]
    meta_graphs: Vec<MetaGraph>,
}

#[derive(Message)]
struct MetaGraph {
    #[prost(message, optional, tag = "1")]
    meta_info: Option<MetaInfo>,
}

#[derive(Message)]
struct MetaInfo {
    #[prost(string, repeated, tag = "4")]
    tags: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models")
    }

    #[test]
    fn versions_directory_gives_its_highest() {
        let located = locate(&models().join("half_plus_two")).unwrap();
        assert_eq!(located.version, 1);
        assert!(located.directory.ends_with("half_plus_two/1"));
        assert_eq!(locate(&located.directory).unwrap(), located, "the version directory itself");
    }

    #[test]
    fn what_is_no_model_is_named() {
        let error = locate(&models()).unwrap_err();
        assert!(error.message.contains("is no SavedModel: expected saved_model.pb"), "{error}");
        let error = locate(&models().join("nowhere")).unwrap_err();
        assert!(error.message.contains("nowhere`: No such file"), "{error}");
    }

    #[test]
    fn tag_sets_are_read() {
        assert_eq!(tag_sets(&models().join("half_plus_two/1")), [["serve"]]);
        assert!(tag_sets(&models()).is_empty());
    }
}
