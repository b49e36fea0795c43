//! Describes models: the states of their versions, and what a version's signatures take and give. The
//! JSON is that of protocol buffers: 64-bit numbers are text, and each level is indented by one space.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use tfweb_engine::{Error, Side, Signature, TensorSpec};

use crate::models::{Catalog, Model, Version, VersionStatus};
use crate::protocols::tf_serving::dtype_names::proto_name;
use crate::protocols::tf_serving::find::no_states;

#[derive(Serialize)]
struct StatusJson<'a> {
    model_version_status: Vec<VersionJson<'a>>,
}

#[derive(Serialize)]
struct VersionJson<'a> {
    version: String,
    state: &'static str,
    status: ReasonJson<'a>,
}

#[derive(Serialize)]
struct ReasonJson<'a> {
    error_code: &'static str,
    error_message: &'a str,
}

#[derive(Serialize)]
struct ModelsJson<'a> {
    models: Vec<ModelJson<'a>>,
}

#[derive(Serialize)]
struct ModelJson<'a> {
    name: &'a str,
    model_version_status: Vec<VersionJson<'a>>,
}

#[derive(Serialize)]
struct MetadataJson<'a> {
    model_spec: SpecJson<'a>,
    metadata: SignaturesJson<SignaturesJson<BTreeMap<&'a str, SignatureJson<'a>>>>,
}

#[derive(Serialize)]
struct SpecJson<'a> {
    name: &'a str,
    signature_name: &'static str,
    version: String,
}

#[derive(Serialize)]
struct SignaturesJson<T> {
    signature_def: T,
}

#[derive(Serialize)]
struct SignatureJson<'a> {
    inputs: BTreeMap<&'a str, TensorJson<'a>>,
    outputs: BTreeMap<&'a str, TensorJson<'a>>,
    method_name: &'a str,
    defaults: BTreeMap<&'a str, ()>,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    dtype: &'static str,
    tensor_shape: ShapeJson,
    name: &'a str,
}

#[derive(Serialize)]
struct ShapeJson {
    dim: Vec<DimJson>,
    unknown_rank: bool,
}

#[derive(Serialize)]
struct DimJson {
    size: String,
    name: &'static str,
}

/// Lists every model.
pub(super) fn list(catalog: &Catalog) -> Vec<u8> {
    let models = catalog.models();
    write(&ModelsJson { models: models.iter().map(|model| model_json(model)).collect() })
}

fn model_json(model: &Model) -> ModelJson<'_> {
    ModelJson { name: &model.name, model_version_status: model.versions.iter().rev().map(version_json).collect() }
}

/// Tells the states of a model's versions, highest first, or of one.
///
/// # Errors
/// `NotFound`.
pub(super) fn status(catalog: &Catalog, name: &str, number: Option<i64>) -> Result<Vec<u8>, Error> {
    let models = catalog.models();
    let versions = models.iter().find(|model| model.name == name).map_or(&[][..], |model| &model.versions);
    let is_wanted = |version: &&VersionStatus| number.is_none_or(|number| i64::try_from(version.number) == Ok(number));
    let found: Vec<VersionJson<'_>> = versions.iter().rev().filter(is_wanted).map(version_json).collect();
    if found.is_empty() {
        return Err(no_states(name, number));
    }
    Ok(write(&StatusJson { model_version_status: found }))
}

fn version_json(version: &VersionStatus) -> VersionJson<'_> {
    // The catalog has no code for what went wrong; a version that is served has nothing to excuse.
    let message = version.error.as_deref().filter(|_| version.served.is_none());
    let error_code = if message.is_some() { "UNKNOWN" } else { "OK" };
    VersionJson {
        version: version.number.to_string(),
        state: version.state.name(),
        status: ReasonJson { error_code, error_message: message.unwrap_or_default() },
    }
}

/// Tells what a version's signatures take and give.
pub(super) fn metadata(name: &str, version: &Version) -> Vec<u8> {
    let signatures = version.servables.iter().map(|servable| servable.handle.signature());
    let signatures = signatures.map(|signature| (signature.name.as_str(), signature_json(signature))).collect();
    write(&MetadataJson {
        model_spec: SpecJson { name, signature_name: "", version: version.number.to_string() },
        metadata: SignaturesJson { signature_def: SignaturesJson { signature_def: signatures } },
    })
}

fn signature_json(signature: &Signature) -> SignatureJson<'_> {
    SignatureJson {
        inputs: signature.described(Side::Input).map(tensor_json).collect(),
        outputs: signature.described(Side::Output).map(tensor_json).collect(),
        method_name: &signature.method,
        defaults: BTreeMap::new(),
    }
}

fn tensor_json(spec: &TensorSpec) -> (&str, TensorJson<'_>) {
    let size = |dim: &Option<usize>| dim.map_or_else(|| "-1".to_owned(), |dim| dim.to_string());
    let dims = spec.shape.dims();
    let dim = dims.unwrap_or_default().iter().map(|dim| DimJson { size: size(dim), name: "" }).collect();
    let tensor_shape = ShapeJson { dim, unknown_rank: dims.is_none() };
    (&spec.name, TensorJson { dtype: proto_name(spec.dtype), tensor_shape, name: &spec.tensor })
}

fn write(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b" "));
    value.serialize(&mut serializer).expect("names and numbers serialize; this is a bug");
    out.push(b'\n');
    out
}
