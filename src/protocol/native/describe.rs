//! What models take and give, as JSON: the list of signatures that the seed of this project had, and the list of models.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tfweb_engine::{Signature, TensorSpec};

use crate::catalog::Model;

#[derive(Serialize)]
pub(super) struct SignatureJson<'a> {
    name: &'a str,
    inputs: SpecsJson<'a>,
    outputs: SpecsJson<'a>,
}

/// An object with a key for each tensor, in their order.
struct SpecsJson<'a>(&'a [TensorSpec]);

#[derive(Serialize)]
struct SpecJson<'a> {
    r#type: &'a str,
    /// -1 for a dimension that may vary; null where not even the rank is known.
    shape: Option<Vec<i64>>,
}

#[derive(Serialize)]
pub(super) struct ModelJson<'a> {
    name: &'a str,
    version: u64,
    state: &'static str,
    signatures: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// One entry of the signature list.
pub(super) fn signature(signature: &Signature) -> SignatureJson<'_> {
    SignatureJson { name: &signature.name, inputs: SpecsJson(&signature.inputs), outputs: SpecsJson(&signature.outputs) }
}

/// The signature list of a model.
pub(super) fn model(model: &Model) -> Vec<SignatureJson<'_>> {
    model.servables.iter().map(|servable| signature(servable.handle.signature())).collect()
}

/// The list of models.
pub(super) fn models<'a>(models: &'a [Model]) -> Vec<ModelJson<'a>> {
    let entry = |model: &'a Model| {
        let Model { name, version, servables } = model;
        let names = servables.iter().map(|servable| servable.handle.signature().name.as_str()).collect();
        let warnings = servables.iter().filter_map(|servable| {
            let warning = servable.warning.as_ref()?;
            Some(format!("signature {:?}: {warning}", servable.handle.signature().name))
        });
        ModelJson { name, version: *version, state: "AVAILABLE", signatures: names, warnings: warnings.collect() }
    };
    models.iter().map(entry).collect()
}

impl Serialize for SpecsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for spec in self.0 {
            let size = |dim: &Option<usize>| dim.map_or(-1, |dim| i64::try_from(dim).unwrap_or(i64::MAX));
            let shape = spec.shape.dims().map(|dims| dims.iter().map(size).collect());
            map.serialize_entry(&spec.name, &SpecJson { r#type: spec.dtype.name(), shape })?;
        }
        map.end()
    }
}
