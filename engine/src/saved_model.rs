//! A SavedModel on disk: its directory, its version, its tag sets, and whether its variables are there.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::error::{Code, Error};
use crate::meta_graph::{MetaGraph, SavedModel, Signatures};
use crate::regular_file;

/// The largest saved_model.pb that is read here: protobuf's limit for one message.
const READ_BYTES_MAX: u64 = 2 << 30;
/// The file that lists the variables of a SavedModel.
const VARIABLES: &str = "variables/variables.index";

/// A graph of a SavedModel as its file declares it.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) signatures: Signatures,
    /// The operations that may have to run once before all others.
    pub(crate) initialisers: Vec<String>,
    /// The assets that are not there, as paths in the model's directory.
    pub(crate) missing_assets: Vec<String>,
}

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

/// Reads what the SavedModel in `directory` declares. `None` for a file in text format, a file that is too large and a damaged
/// one: TensorFlow judges them.
///
/// Checks that the model has a graph with exactly the tags `tags`, and that the variables are there which this graph restores.
///
/// TensorFlow loads a graph without its variables. Each run then fails, so a copy that is not finished would look like a model.
///
/// # Errors
/// `NotFound` that lists the tag sets of the model; `Aborted` that names the missing file, which may still come.
pub(crate) fn declaration(directory: &Path, tags: &[String]) -> Result<Option<Declaration>, Error> {
    let mut graphs = graphs(directory);
    let has_tags = |graph: &MetaGraph| graph.tags().len() == tags.len() && tags.iter().all(|tag| graph.tags().contains(tag));
    let Some(graph) = graphs.iter().position(has_tags) else {
        return if graphs.is_empty() { Ok(None) } else { Err(no_tags(directory, tags, &graphs)) };
    };
    let graph = graphs.swap_remove(graph);
    // Every writer that names an operation which restores also writes this file, for a model without variables too.
    if !graph.restores() || directory.join(VARIABLES).is_file() {
        let is_missing = |path: &String| fs::metadata(directory.join(path)).is_err();
        let missing_assets = graph.assets().iter().map(|file| format!("assets/{file}")).filter(is_missing).collect();
        return Ok(Some(Declaration { missing_assets, initialisers: graph.initialisers(), signatures: graph.signatures }));
    }
    let text = format!("`{}` is not complete: its graph restores variables, and {VARIABLES} is missing", directory.display());
    Err(Error::new(Code::Aborted, text))
}

fn no_tags(directory: &Path, tags: &[String], graphs: &[MetaGraph]) -> Error {
    let found: Vec<String> = graphs.iter().map(|graph| format!("`{}`", graph.tags().join(","))).collect();
    Error::new(
        Code::NotFound,
        format!(
            "`{}` has no graph with exactly the tags `{}`; it has {}; choose with --tags",
            directory.display(),
            tags.join(","),
            found.join(" and ")
        ),
    )
}

/// Reads the graphs of the SavedModel in `directory`. Empty if the file is in text format, too large or damaged.
fn graphs(directory: &Path) -> Vec<MetaGraph> {
    let file = directory.join("saved_model.pb");
    let model = regular_file::read(&file, READ_BYTES_MAX).ok().and_then(|bytes| SavedModel::decode(bytes.as_slice()).ok());
    model.map(|model| model.meta_graphs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta_graph::MetaInfo;

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
    fn the_highest_number_is_the_newest_version() {
        let directory = tempfile::tempdir().unwrap();
        for (name, file) in [("9", "saved_model.pb"), ("10", "saved_model.pbtxt"), ("x11", "saved_model.pb"), ("12", "other")] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join(file), "").unwrap();
        }
        let expected = |name: &str, version| Located { directory: directory.path().join(name), version };
        assert_eq!(locate(directory.path()).unwrap(), expected("10", 10));
        assert_eq!(locate(&directory.path().join("x11")).unwrap(), expected("x11", 1), "the name is no number");
        assert!(locate(&directory.path().join("12")).unwrap_err().message.ends_with("it holds 1 other entries"));
    }

    #[test]
    fn what_is_no_model_is_named() {
        let error = locate(&models()).unwrap_err();
        assert!(error.message.contains("is no SavedModel: expected saved_model.pb"), "{error}");
        let error = locate(&models().join("nowhere")).unwrap_err();
        assert!(error.message.contains("nowhere`: No such file"), "{error}");
    }

    #[test]
    fn a_graph_needs_its_tags_and_its_variables() {
        let check = |directory: &Path, tags: &[&str]| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            super::declaration(directory, &tags).map(drop).map_err(|error| error.message)
        };
        let model = models().join("half_plus_two/1");
        assert_eq!(check(&model, &["serve"]), Ok(()));
        let error = check(&model, &["serve", "gpu"]).unwrap_err();
        assert!(error.contains("no graph with exactly the tags `serve,gpu`; it has `serve`"), "{error}");
        for other in [&[][..], &["gpu"]] {
            assert!(check(&model, other).unwrap_err().contains("it has `serve`"), "{other:?}");
        }
        assert_eq!(check(&models(), &["serve"]), Ok(()), "there is no file to judge");
        let copy = tempfile::tempdir().unwrap();
        fs::copy(model.join("saved_model.pb"), copy.path().join("saved_model.pb")).unwrap();
        for variables in ["no directory", "an empty directory"] {
            let error = check(copy.path(), &["serve"]).unwrap_err();
            assert!(
                error.ends_with("its graph restores variables, and variables/variables.index is missing"),
                "{variables}: {error}"
            );
            fs::create_dir_all(copy.path().join("variables")).unwrap();
        }
        // A graph of constants restores nothing.
        let mut graph = MetaGraph::default();
        graph.meta_info = Some(MetaInfo { tags: vec!["serve".into()] });
        let constants = SavedModel { meta_graphs: vec![graph] };
        fs::write(copy.path().join("saved_model.pb"), constants.encode_to_vec()).unwrap();
        assert_eq!(check(copy.path(), &["serve"]), Ok(()));
    }
}
