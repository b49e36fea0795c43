//! Describes models as JSON: the list of signatures, which this project has had from the start, and the list of models.

use std::collections::BTreeMap;

use serde::Serialize;
use tfweb_engine::{Side, Signature, TensorSpec, Unserved};

use crate::models::{Model, ModelSummary, Version};

#[derive(Serialize)]
pub(super) struct SignatureJson<'a> {
    name: &'a str,
    inputs: BTreeMap<&'a str, SpecJson<'a>>,
    outputs: BTreeMap<&'a str, SpecJson<'a>>,
    /// Why the signature as a whole is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    unserved: Option<&'a str>,
}

#[derive(Serialize)]
struct SpecJson<'a> {
    r#type: &'a str,
    /// -1 for a dimension of any size; null if the rank is not known either.
    shape: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part_of: Option<WholeJson<'a>>,
    /// Why it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    unserved: Option<&'a str>,
}

/// The ragged or sparse tensor that has a tensor as its part.
#[derive(Serialize)]
struct WholeJson<'a> {
    name: &'a str,
    r#type: &'a str,
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
    let inputs = specs(signature, Side::Input, &signature.inputs);
    let outputs = specs(signature, Side::Output, &signature.outputs);
    SignatureJson { name: &signature.name, inputs, outputs, unserved: signature.fault() }
}

/// Describes what is served of a side of a signature, and what is not.
fn specs<'a>(signature: &'a Signature, side: Side, served: &'a [TensorSpec]) -> BTreeMap<&'a str, SpecJson<'a>> {
    let part = |spec: &'a TensorSpec| {
        let whole = signature.whole(side, &spec.name);
        SpecJson { part_of: whole.map(|whole| WholeJson { name: &whole.name, r#type: &whole.kind }), ..spec_json(spec) }
    };
    let served = served.iter().map(|spec| (spec.name.as_str(), part(spec)));
    let others = signature.unserved.iter().filter(|unserved| unserved.side == side);
    let others =
        others.map(|Unserved { spec, reason, .. }| (spec.name.as_str(), SpecJson { unserved: Some(reason), ..spec_json(spec) }));
    served.chain(others).collect()
}

fn spec_json(spec: &TensorSpec) -> SpecJson<'_> {
    let size = |dim: &Option<usize>| dim.map_or(-1, |dim| i64::try_from(dim).unwrap_or(i64::MAX));
    let shape = spec.shape.dims().map(|dims| dims.iter().map(size).collect());
    SpecJson { r#type: spec.dtype.name(), shape, part_of: None, unserved: None }
}

/// Describes all signatures of a version.
pub(super) fn version(version: &Version) -> Vec<SignatureJson<'_>> {
    version.servables.iter().map(|servable| signature(servable.handle.signature())).collect()
}

/// Describes a model, for the list of models.
pub(super) fn model(model: &Model) -> ModelJson<'_> {
    let newest = model.served().next_back();
    let servables = newest.iter().flat_map(|version| &version.servables);
    let versions = model.versions.iter().map(|version| VersionJson {
        version: version.number,
        state: version.state.name(),
        error: version.error.as_deref(),
    });
    ModelJson {
        summary: model.summary(),
        signatures: servables.map(|servable| servable.handle.signature().name.as_str()).collect(),
        versions: versions.collect(),
        labels: &model.labels,
        warnings: newest.map(|version| version.warnings()).unwrap_or_default(),
    }
}
