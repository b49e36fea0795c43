//! Reads the default values of a SavedModel's inputs (`SignatureDef.defaults`). A request may leave out an input that has one.
//! TensorFlow's C API does not give the defaults, so this reads them from the file.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use tfweb_codec::tensor_proto::{decode, Room};
use tfweb_engine::{quoted, regular_file, Code, DType, Error, Tensor};

use tfweb_proto::tensorflow::{MetaGraphDef, SavedModel, SignatureDef};

/// The most bytes of the file. A protobuf message has at most 2 GiB.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// The most bytes of values that a default may stand for beyond those in the file: a shape can repeat one value many times.
const VALUES_BYTES_MAX: usize = 64 << 20;

/// Default tensors by signature name, then by input name.
pub type Defaults = BTreeMap<String, BTreeMap<String, Tensor>>;

/// Reads the defaults of the graph that has exactly these tags. The result is empty for a SavedModel in text format. A default that
/// cannot be read is logged, and requests have to send that input.
///
/// # Errors
/// `FailedPrecondition` for a file that cannot be read.
pub fn read(directory: &Path, tags: &[String]) -> Result<Defaults, Error> {
    let file = directory.join("saved_model.pb");
    if !file.is_file() {
        return Ok(Defaults::new());
    }
    let wrong = |what: &dyn std::fmt::Display| Error::new(Code::FailedPrecondition, format!("`{}`: {what}", file.display()));
    let bytes = regular_file::read(&file, FILE_BYTES_MAX).map_err(|error| wrong(&error))?;
    let model = SavedModel::decode(bytes.as_slice()).map_err(|error| wrong(&error))?;
    let graph = model.meta_graphs.into_iter().find(|graph| has_tags(graph, tags));
    let unread = |name: &str, error: &Error| {
        tracing::warn!("`{}`, signature {}: no default for an input: {error}", file.display(), quoted(name));
    };
    let of_signature = |(name, signature): (String, SignatureDef)| {
        let defaults = of_signature(signature, |error| unread(&name, error));
        (!defaults.is_empty()).then_some((name, defaults))
    };
    Ok(graph.map(|graph| graph.signature_def).unwrap_or_default().into_iter().filter_map(of_signature).collect())
}

fn has_tags(graph: &MetaGraphDef, tags: &[String]) -> bool {
    let own = graph.meta_info_def.as_ref().map(|info| info.tags.as_slice()).unwrap_or_default();
    own.iter().all(|tag| tags.contains(tag)) && tags.iter().all(|tag| own.contains(tag))
}

fn of_signature(signature: SignatureDef, unread: impl Fn(&Error)) -> BTreeMap<String, Tensor> {
    let mut room = Room { bytes: VALUES_BYTES_MAX };
    let dtype = |name: &str| {
        let info = signature.inputs.get(name).ok_or_else(|| Error::invalid(format!("no input {name:?}")))?;
        Ok(u32::try_from(info.dtype).map_or(DType::Other(0), DType::from_number))
    };
    let mut all = BTreeMap::new();
    for (name, proto) in signature.defaults {
        match dtype(&name).and_then(|dtype| decode(&name, dtype, proto, &mut room)) {
            Ok(tensor) => drop(all.insert(name, tensor)),
            Err(error) => unread(&error),
        }
    }
    all
}
