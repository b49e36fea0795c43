//! The tags, signatures, initialisers and assets in a SavedModel's file. Pure.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::signature_def::{Encoding, SignatureDef};

/// The signature that TensorFlow 2 adds to every SavedModel for its own use. Its output of the same name is the initialiser.
pub(crate) const INITIALISER: &str = "__saved_model_init_op";
/// The collections that hold the initialisers of TensorFlow 1.
pub(crate) const INITIALISERS_1: [&str; 2] = ["saved_model_main_op", "legacy_init_op"];
/// The collection that holds the assets of TensorFlow 1.
const ASSETS_1: &str = "saved_model_assets";

/// The signatures of a SavedModel by their names.
pub(crate) type Signatures = BTreeMap<String, SignatureDef>;

// The fields that are read, numbered as in saved_model.proto, meta_graph.proto and saver.proto of tensorflow/core/protobuf. prost
// skips all others.

#[derive(Message)]
pub(crate) struct SavedModel {
    #[prost(message, repeated, tag = "2")]
    pub(crate) meta_graphs: Vec<MetaGraph>,
}

#[derive(Message)]
pub(crate) struct MetaGraph {
    #[prost(message, optional, tag = "1")]
    pub(crate) meta_info: Option<MetaInfo>,
    #[prost(message, optional, tag = "3")]
    saver: Option<Saver>,
    #[prost(btree_map = "string, message", tag = "4")]
    collections: BTreeMap<String, Collection>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(crate) signatures: Signatures,
    #[prost(message, repeated, tag = "6")]
    assets: Vec<Asset>,
}

#[derive(Message)]
pub(crate) struct MetaInfo {
    #[prost(string, repeated, tag = "4")]
    pub(crate) tags: Vec<String>,
}

#[derive(Message)]
struct Saver {
    #[prost(string, tag = "3")]
    restore_operation: String,
}

#[derive(Clone, PartialEq, Message)]
struct Asset {
    #[prost(string, tag = "2")]
    file: String,
}

#[derive(Clone, PartialEq, Message)]
struct Collection {
    #[prost(message, optional, tag = "1")]
    nodes: Option<NodeList>,
    #[prost(message, optional, tag = "5")]
    messages: Option<AnyList>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeList {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyList {
    #[prost(message, repeated, tag = "1")]
    messages: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl MetaGraph {
    pub(crate) fn tags(&self) -> &[String] {
        self.meta_info.as_ref().map_or(&[], |info| &info.tags)
    }

    /// Whether TensorFlow restores variables for this graph.
    pub(crate) fn restores(&self) -> bool {
        self.saver.as_ref().is_some_and(|saver| !saver.restore_operation.is_empty())
    }

    /// The operations that TensorFlow may run once, after it has restored the variables. It runs only the first of them. A signature
    /// that needs any of them counts as one that needs the initialiser.
    pub(crate) fn initialisers(&self) -> Vec<String> {
        let output = self.signatures.get(INITIALISER).and_then(|signature| signature.outputs.get(INITIALISER));
        let name = |encoding: &Encoding| match encoding {
            Encoding::Name(name) => Some(name.clone()),
            Encoding::CooSparse(_) | Encoding::Composite(_) => None,
        };
        let of_2 = output.and_then(|output| output.encoding.as_ref()).and_then(name);
        let of_1 =
            INITIALISERS_1.iter().filter_map(|name| self.collections.get(*name)?.nodes.as_ref()).flat_map(|nodes| &nodes.names);
        let names = of_2.into_iter().chain(of_1.cloned());
        names.map(|name| name.trim_start_matches('^').split(':').next().unwrap_or_default().to_owned()).collect()
    }

    /// The files in the model's directory `assets` that the graph needs.
    pub(crate) fn assets(&self) -> BTreeSet<String> {
        // TensorFlow reads the collection only if the list is empty.
        let of_1 = self.collections.get(ASSETS_1).and_then(|collection| collection.messages.as_ref());
        let of_1 = of_1.into_iter().flat_map(|list| &list.messages).filter_map(|any| Asset::decode(any.value.as_slice()).ok());
        let assets = if self.assets.is_empty() { of_1.collect() } else { self.assets.clone() };
        assets.into_iter().map(|asset| asset.file).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn graph(name: &str) -> MetaGraph {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/odd");
        let bytes = fs::read(models.join(name).join("1/saved_model.pb")).unwrap();
        SavedModel::decode(bytes.as_slice()).unwrap().meta_graphs.remove(0)
    }

    #[test]
    fn initialisers_and_assets_are_found_however_they_are_declared() {
        let of_2 = graph("missing_asset");
        assert_eq!(of_2.initialisers(), ["NoOp", "NoOp"], "by a signature and by a collection");
        assert_eq!(of_2.assets().into_iter().collect::<Vec<_>>(), ["others.txt", "words.txt"]);
        let mut of_1 = graph("missing_asset_1");
        assert_eq!(of_1.initialisers(), ["group_deps"]);
        assert_eq!(of_1.assets().into_iter().collect::<Vec<_>>(), ["words.txt"]);
        let main = of_1.collections.remove(INITIALISERS_1[0]).unwrap();
        of_1.collections.insert(INITIALISERS_1[1].into(), main);
        assert_eq!(of_1.initialisers(), ["group_deps"], "an older collection");
        assert!(graph("no_signature").assets().is_empty());
    }
}
