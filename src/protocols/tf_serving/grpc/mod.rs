//! TensorFlow Serving's API over gRPC.
//!
//! | service | calls |
//! |---|---|
//! | `tensorflow.serving.PredictionService` | Predict, Classify, Regress, MultiInference, GetModelMetadata |
//! | `tensorflow.serving.ModelService` | GetModelStatus, HandleReloadConfigRequest |
//! | `Model` | Predict, as this project's first version had it: with no model named, the first |
//! | `grpc.health.v1.Health` | of the server, and of each model by its name |
//!
//! Codes and texts of errors are TensorFlow Serving's, if it has one for the case. Requests may have any shape that TensorFlow
//! accepts, because TensorFlow Serving does not compare shapes with the signature.

mod classify;
mod describe;
mod predict;
mod reload;
mod service;

use std::sync::Arc;

use tfweb_engine::Error;
use tfweb_proto::model_server::{self, ModelServer};
use tfweb_proto::tensorflow::serving::model_service_server::{ModelService, ModelServiceServer};
use tfweb_proto::tensorflow::serving::prediction_service_server::{PredictionService, PredictionServiceServer};
use tfweb_proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusRequest,
    GetModelStatusResponse, MultiInferenceRequest, MultiInferenceResponse, PredictRequest, PredictResponse, RegressionRequest,
    RegressionResponse, ReloadConfigRequest, ReloadConfigResponse,
};
use tonic::Request;

use crate::observe::ProtocolId;
use crate::protocols::parts::Parts;
use crate::serving::State;
use crate::transport::grpc::{answer, Answer, GrpcProtocol, Services};
use crate::transport::tokens::Access;
use service::TfServing;

/// TensorFlow Serving's services.
struct Grpc {
    state: Arc<State>,
    access: Arc<Access>,
    id: ProtocolId,
    typed_values: bool,
}

/// Makes the protocol.
pub(in crate::protocols) fn make(parts: &Parts<'_>, id: ProtocolId) -> Option<Arc<dyn GrpcProtocol>> {
    let (state, access) = (Arc::clone(parts.state), Arc::clone(parts.access));
    Some(Arc::new(Grpc { state, access, id, typed_values: parts.settings.grpc_typed_values }))
}

impl GrpcProtocol for Grpc {
    fn add_services(self: Arc<Self>, services: &mut Services) -> Result<(), Error> {
        let bytes_max = services.message_bytes_max();
        let service = TfServing {
            state: Arc::clone(&self.state),
            access: Arc::clone(&self.access),
            id: self.id,
            message_bytes_max: bytes_max,
            typed_values: self.typed_values,
        };
        services.add(PredictionServiceServer::new(service.clone()).max_decoding_message_size(bytes_max));
        services.add(ModelServiceServer::new(service.clone()).max_decoding_message_size(bytes_max));
        services.add(ModelServer::new(service).max_decoding_message_size(bytes_max));
        Ok(())
    }
}

#[tonic::async_trait]
impl PredictionService for TfServing {
    async fn predict(&self, request: Request<PredictRequest>) -> Answer<PredictResponse> {
        let (deadline, mut measurement) = self.begin(&request);
        let result = self.predict_tensors(request.into_inner(), deadline, &mut measurement).await;
        answer(measurement.end(result))
    }

    async fn classify(&self, request: Request<ClassificationRequest>) -> Answer<ClassificationResponse> {
        let (deadline, mut measurement) = self.begin(&request);
        let result = self.classify_examples(request.into_inner(), deadline, &mut measurement).await;
        answer(measurement.end(result))
    }

    async fn regress(&self, request: Request<RegressionRequest>) -> Answer<RegressionResponse> {
        let (deadline, mut measurement) = self.begin(&request);
        let result = self.regress_examples(request.into_inner(), deadline, &mut measurement).await;
        answer(measurement.end(result))
    }

    async fn multi_inference(&self, request: Request<MultiInferenceRequest>) -> Answer<MultiInferenceResponse> {
        let (deadline, mut measurement) = self.begin(&request);
        let result = self.infer_several(request.into_inner(), deadline, &mut measurement).await;
        answer(measurement.end(result))
    }

    async fn get_model_metadata(&self, request: Request<GetModelMetadataRequest>) -> Answer<GetModelMetadataResponse> {
        answer(self.metadata(request.into_inner()))
    }
}

#[tonic::async_trait]
impl ModelService for TfServing {
    async fn get_model_status(&self, request: Request<GetModelStatusRequest>) -> Answer<GetModelStatusResponse> {
        answer(self.states(request.into_inner()))
    }

    async fn handle_reload_config_request(&self, request: Request<ReloadConfigRequest>) -> Answer<ReloadConfigResponse> {
        let allowed = self.may_reload(request.metadata());
        answer(match allowed {
            Ok(()) => self.reload(request.into_inner()).await,
            Err(error) => Err(error),
        })
    }
}

#[tonic::async_trait]
impl model_server::Model for TfServing {
    async fn predict(&self, request: Request<PredictRequest>) -> Answer<PredictResponse> {
        let (deadline, mut measurement) = self.begin(&request);
        let result = self.predict_first(request.into_inner(), deadline, &mut measurement).await;
        answer(measurement.end(result))
    }
}
