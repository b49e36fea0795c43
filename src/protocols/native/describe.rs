//! Describes models as JSON: the list of signatures, which this project has had from the start, and the list of models.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tfweb_engine::{Signature, TensorSpec};

use crate::models::{Model, ModelSummary, Version};

#[derive(Serialize)]
pub(super) struct SignatureJson<'a> {
    name: &'a str,
    inputs: SpecsJson<'a>,
    outputs: SpecsJson<'a>,
}

/// A JSON object with a key for each tensor, in the signature's order.
struct SpecsJson<'a>(&'a [TensorSpec]);

#[derive(Serialize)]
struct SpecJson<'a> {
    r#type: &'a str,
    /// -1 for a dimension of any size; null if the rank is not known either.
    shape: Option<Vec<i64>>,
}

/// A model: its newest version's signatures, and the states of all versions.
#[derive(Serialize)]
pub(super) struct ModelJson<'a> {
    #[serde(flatten)]
    summary: ModelSummary<'a>,
    signatures: Vec<&'a str>,
    versions: Vec<VersionJson<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct VersionJson<'a> {
    version: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Describes a signature.
pub(super) fn signature(signature: &Signature) -> SignatureJson<'_> {
    SignatureJson { name: &signature.name, inputs: SpecsJson(&signature.inputs), outputs: SpecsJson(&signature.outputs) }
}

/// Describes all signatures of a version.
pub(super) fn version(version: &Version) -> Vec<SignatureJson<'_>> {
    version.servables.iter().map(|servable| signature(servable.handle.signature())).collect()
}

/// Describes a model, for the list of models.
pub(super) fn model(model: &Model) -> ModelJson<'_> {
    let servables = || model.served().next_back().into_iter().flat_map(|version| &version.servables);
    let warnings = servables().filter_map(|servable| {
        let warning = servable.trial.warning()?;
        Some(format!("signature {:?}: {warning}", servable.handle.signature().name))
    });
    let versions = model.versions.iter().map(|version| VersionJson {
        version: version.number,
        state: version.state.name(),
        error: version.error.as_deref(),
    });
    ModelJson {
        summary: model.summary(),
        signatures: servables().map(|servable| servable.handle.signature().name.as_str()).collect(),
        versions: versions.collect(),
        labels: &model.labels,
        warnings: warnings.collect(),
    }
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
