//! Opens a SavedModel in a session of TensorFlow: as it is, or without its initialiser if this fails, mostly for a missing asset.
//!
//! TensorFlow restores the variables of a model and then runs its initialiser, which fills tables from assets. It refuses the whole
//! model if the initialiser fails. Without the initialiser, the model has its variables and none of its tables.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;
use tensorflow::{Graph, SavedModelBundle, Session, SessionOptions, Status};

use super::readable;
use super::registry::stateless_operations;
use super::resolve::from_binding;
use super::session_config::session_config;
use super::status::error_of;
use crate::error::Error;
use crate::graph::{self, Initialised};
use crate::meta_graph::{Signatures, INITIALISER};
use crate::saved_model::{self, Declaration};

/// The largest SavedModel file whose graph is read for the demands of its operations. A larger file holds its weights as constants.
/// Its inputs take only the shapes that TensorFlow inferred, its signatures are not tried at load, and it does not load if its
/// initialiser fails.
const READ_BYTES_MAX: u64 = 256 << 20;

/// The most missing assets that a reason names.
const NAMED_MAX: usize = 3;

/// A model in a session, and what its file declares.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) graph: Graph,
    /// Without TensorFlow's own signature.
    pub(super) signatures: Signatures,
    /// The operations of the graph. `None` if they are not known.
    pub(super) known: Option<graph::Graph>,
    /// The reason, if the model was opened without its initialiser.
    pub(super) lack: Option<Lack>,
}

/// Why a model was opened without its initialiser.
pub(super) struct Lack {
    initialisers: Vec<String>,
    /// The assets that are missing, in words. `None` if none is.
    assets: Option<String>,
    /// TensorFlow's error.
    pub(super) error: Error,
}

/// Opens the SavedModel in `directory` that has exactly the tag set `tags`.
///
/// # Errors
/// Those of [`saved_model::declaration`]; otherwise TensorFlow's error.
pub(super) fn open(directory: &Path, tags: &[String]) -> Result<Opened, Error> {
    // The assets are looked for before TensorFlow does. An asset that is copied meanwhile is one that was missing.
    let declaration = saved_model::declaration(directory, tags)?;
    let copy = readable::copy(directory, declaration.as_ref().map(|declaration| &declaration.signatures))?;
    match load(copy.as_ref().map_or(directory, TempDir::path), tags) {
        Ok((bundle, graph)) => {
            let known = read_graph(&graph, directory);
            let signatures = declaration.map(|declaration| declaration.signatures);
            let mut signatures = signatures.unwrap_or_else(|| from_binding(bundle.meta_graph_def()));
            signatures.remove(INITIALISER);
            Ok(Opened { session: bundle.session, graph, signatures, known, lack: None })
        }
        Err(Error { code, message }) => {
            let error = Error::new(code, format!("`{}` cannot be loaded: {message}", directory.display()));
            let declaration =
                declaration.filter(|declaration| !declaration.initialisers.is_empty()).ok_or_else(|| error.clone())?;
            open_without_initialisers(directory, tags, declaration, &error).ok_or(error)
        }
    }
}

/// Opens a model without its initialiser. `None` if that fails too, or if nobody can tell which signatures need the initialiser.
fn open_without_initialisers(directory: &Path, tags: &[String], declaration: Declaration, error: &Error) -> Option<Opened> {
    let Declaration { mut signatures, initialisers, missing_assets } = declaration;
    let copy = readable::copy_without_initialisers(directory).ok()?;
    let (bundle, graph) = load(copy.path(), tags).ok()?;
    let known = Some(read_graph(&graph, directory)?);
    signatures.remove(INITIALISER);
    let lack = Some(Lack { initialisers, assets: in_words(&missing_assets), error: error.clone() });
    Some(Opened { session: bundle.session, graph, signatures, known, lack })
}

fn load(directory: &Path, tags: &[String]) -> Result<(SavedModelBundle, Graph), Error> {
    let failed = |status: Status| error_of(&status);
    let mut options = SessionOptions::new();
    options.set_config(&session_config()).map_err(failed)?;
    let mut graph = Graph::new();
    let bundle = SavedModelBundle::load(&options, tags, &mut graph, directory).map_err(failed)?;
    Ok((bundle, graph))
}

/// Reads the operations of the graph. `None` if the graph cannot be read, or if its constants would take much memory.
fn read_graph(graph: &Graph, directory: &Path) -> Option<graph::Graph> {
    let bytes = ["saved_model.pb", "saved_model.pbtxt"].iter().find_map(|name| fs::metadata(directory.join(name)).ok())?.len();
    if bytes > READ_BYTES_MAX {
        return None;
    }
    graph::Graph::read(Bytes::from(graph.graph_def().ok()?)).ok()
}

fn in_words(assets: &[String]) -> Option<String> {
    if assets.is_empty() {
        return None;
    }
    let named: Vec<String> = assets.iter().take(NAMED_MAX).map(|asset| format!("{asset:?}")).collect();
    let others = assets.len() - named.len();
    let more = if others == 0 { String::new() } else { format!(" and {others} more") };
    let (noun, verb) = if assets.len() == 1 { ("asset", "is") } else { ("assets", "are") };
    Some(format!("the {noun} {}{more} {verb} missing", named.join(", ")))
}

impl Lack {
    /// Finds what the initialiser would have set up in `graph`.
    pub(super) fn in_graph<'g>(&self, graph: &'g graph::Graph) -> Initialised<'g> {
        let initialisers: Vec<&str> = self.initialisers.iter().map(String::as_str).collect();
        Initialised::new(graph, &initialisers, stateless_operations())
    }

    /// Names the missing assets. TensorFlow's error may name files of the server, so the log alone has it.
    pub(super) fn in_words(&self) -> String {
        self.assets.clone().unwrap_or_else(|| "the model's initialiser failed; the log says why".to_owned())
    }

    /// The reason why an output is not served that needs the initialiser for this operation.
    pub(super) fn reason(&self, operation: &str) -> String {
        let why = self.assets.as_deref().unwrap_or("the log says why");
        format!("is not served: its operation {operation} needs the model's initialiser, which failed; {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_missing_assets_are_named() {
        let names = |count: usize| (0..count).map(|asset| format!("assets/{asset}")).collect::<Vec<_>>();
        assert_eq!(in_words(&names(1)).unwrap(), "the asset \"assets/0\" is missing");
        assert_eq!(in_words(&names(3)).unwrap(), "the assets \"assets/0\", \"assets/1\", \"assets/2\" are missing");
        assert_eq!(in_words(&names(5)).unwrap(), "the assets \"assets/0\", \"assets/1\", \"assets/2\" and 2 more are missing");
        assert_eq!(in_words(&[]), None);
    }
}
