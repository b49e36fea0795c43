//! GetModelMetadata describes the signatures of a model, and GetModelStatus the states of its versions.

use std::collections::BTreeMap;

use prost::Message;
use tfweb_codec::tensor_proto::{dim_size, dtype_number, encode};
use tfweb_engine::{Error, Side, TensorSpec};

use super::service::{self, TfServing};
use crate::models::{Servable, State, VersionStatus};
use crate::protocols::tf_serving::find::no_states;
use tfweb_proto::tensorflow::error::Code as WireCode;
use tfweb_proto::tensorflow::serving::model_version_status::State as WireState;
use tfweb_proto::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusRequest, GetModelStatusResponse, ModelVersionStatus,
    SignatureDefMap, StatusProto,
};
use tfweb_proto::tensorflow::tensor_info::Encoding;
use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{SignatureDef, TensorInfo, TensorShapeProto};

/// The only metadata field that TensorFlow Serving supports.
const SIGNATURE_DEF: &str = "signature_def";
const SIGNATURE_DEF_TYPE: &str = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

impl TfServing {
    pub(super) fn metadata(&self, request: GetModelMetadataRequest) -> Result<GetModelMetadataResponse, Error> {
        if request.metadata_field.is_empty() {
            return Err(Error::invalid("GetModelMetadataRequest must specify at least one metadata_field"));
        }
        if let Some(field) = request.metadata_field.iter().find(|field| *field != SIGNATURE_DEF) {
            return Err(Error::invalid(format!("Metadata field {field} is not supported")));
        }
        let mut found = self.find(request.model_spec)?;
        found.spec.signature_name.clear();
        let definition = |servable: &Servable| (servable.handle.signature().name.clone(), definition(servable));
        let map = SignatureDefMap { signature_def: found.version.servables.iter().map(definition).collect() };
        let any = prost_types::Any { type_url: SIGNATURE_DEF_TYPE.to_owned(), value: map.encode_to_vec() };
        Ok(GetModelMetadataResponse { model_spec: Some(found.spec), metadata: BTreeMap::from([(SIGNATURE_DEF.to_owned(), any)]) })
    }

    pub(super) fn states(&self, request: GetModelStatusRequest) -> Result<GetModelStatusResponse, Error> {
        let spec = request.model_spec.ok_or_else(|| Error::invalid("Missing ModelSpec"))?;
        let models = self.state.catalog.models();
        let model = models.iter().find(|model| model.name == spec.name).map(|model| &**model);
        let number = service::number(model, &spec)?;
        let versions = model.map(|model| model.versions.as_slice()).unwrap_or_default().iter().rev();
        let is_meant = |version: &&VersionStatus| number.is_none_or(|number| i64::try_from(version.number) == Ok(number));
        let states: Vec<ModelVersionStatus> = versions.filter(is_meant).map(state).collect();
        if states.is_empty() {
            return Err(no_states(&spec.name, number));
        }
        Ok(GetModelStatusResponse { model_version_status: states })
    }
}

fn state(version: &VersionStatus) -> ModelVersionStatus {
    let state = match version.state {
        State::Start => WireState::Start,
        State::Loading => WireState::Loading,
        State::Available => WireState::Available,
        State::Unloading => WireState::Unloading,
        State::End => WireState::End,
    };
    // A version that is served reports no error, even if newer files of it are broken.
    let error = version.error.as_ref().filter(|_| version.state != State::Available);
    let code = if error.is_some() { WireCode::FailedPrecondition } else { WireCode::Ok };
    ModelVersionStatus {
        version: i64::try_from(version.number).unwrap_or(i64::MAX),
        state: state.into(),
        status: Some(StatusProto { error_code: code.into(), error_message: error.cloned().unwrap_or_default() }),
    }
}

fn definition(servable: &Servable) -> SignatureDef {
    let signature = servable.handle.signature();
    let infos = |side| signature.described(side).map(|spec| (spec.name.clone(), info(spec))).collect();
    SignatureDef {
        inputs: infos(Side::Input),
        outputs: infos(Side::Output),
        method_name: signature.method.clone(),
        defaults: servable.defaults.iter().map(|(name, tensor)| (name.clone(), encode(tensor))).collect(),
    }
}

fn info(spec: &TensorSpec) -> TensorInfo {
    let dims = spec.shape.dims();
    let dim = |dim: &Option<usize>| Dim { size: dim.map_or(-1, dim_size), name: String::new() };
    let dim = dims.unwrap_or_default().iter().map(dim).collect();
    TensorInfo {
        encoding: (!spec.tensor.is_empty()).then(|| Encoding::Name(spec.tensor.clone())),
        dtype: dtype_number(spec.dtype),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: dims.is_none() }),
    }
}
