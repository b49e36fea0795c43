//! TensorFlow Serving's API over gRPC.
//!
//! | service | calls |
//! |---|---|
//! | `tensorflow.serving.PredictionService` | Predict, Classify, Regress, MultiInference, GetModelMetadata |
//! | `tensorflow.serving.ModelService` | GetModelStatus, HandleReloadConfigRequest |
//! | `Model` | Predict, as this project's first version had it: with no model named, the first |
//! | `grpc.health.v1.Health` | of the server, and of each model by its name |
//!
//! Codes and texts of errors are TensorFlow Serving's, where it has some. Shapes are not checked against the signature: what
//! TensorFlow takes, it may have.

mod describe;
mod health;
mod infer;
mod predict;
mod reload;

use std::sync::Arc;
use std::time::Instant;

use tfweb_engine::{Code, Error};
use tonic::{Request, Response, Status};

use crate::catalog::{Model, Servable, Version, Which, DEFAULT_SIGNATURE};
use crate::http::App;
use crate::record::{Protocol, Record};
use crate::status;
use tfweb_proto::model_server;
use tfweb_proto::tensorflow::serving::model_service_server::ModelService;
use tfweb_proto::tensorflow::serving::model_spec::VersionChoice;
use tfweb_proto::tensorflow::serving::prediction_service_server::PredictionService;
use tfweb_proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusRequest,
    GetModelStatusResponse, ModelSpec, MultiInferenceRequest, MultiInferenceResponse, PredictRequest, PredictResponse,
    RegressionRequest, RegressionResponse, ReloadConfigRequest, ReloadConfigResponse,
};

/// The most bytes of an error's text, which travels in a header: as TensorFlow Serving cuts it.
const TEXT_BYTES_MAX: usize = 1024;
const TEXT_CUT: &str = "...TRUNCATED";

type Answer<T> = Result<Response<T>, Status>;

/// When a request is over: the server's time for it, or the caller's if that is less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

/// What answers the calls.
#[derive(Clone)]
pub struct Door {
    /// What all doors share.
    pub app: Arc<App>,
    /// Most bytes of one message, and of what one message stands for.
    pub message_bytes_max: usize,
    /// Whether answers carry values in the field of their dtype.
    pub typed_values: bool,
}

/// A version that a request has named, and how the answer names it.
struct Found {
    version: Arc<Version>,
    spec: ModelSpec,
}

impl Door {
    /// Begins a request: when it is over, as it was received or else after the server's time for one, and its record.
    fn begin<T>(&self, request: &Request<T>) -> (Instant, Record) {
        let told = request.extensions().get().map(|Deadline(deadline)| *deadline);
        let deadline = told.unwrap_or_else(|| Instant::now() + self.app.request_timeout);
        let record = self.app.recorder.begin(Protocol::TfServingGrpc).until(deadline);
        (deadline, record.told_to(request.extensions().get().cloned()))
    }

    /// Finds the version that a request means.
    fn find(&self, spec: Option<ModelSpec>) -> Result<Found, Error> {
        let spec = spec.ok_or_else(|| Error::invalid("Missing ModelSpec"))?;
        if spec.name.is_empty() {
            return Err(Error::invalid("ModelSpec has no name specified."));
        }
        let models = self.app.catalog.models();
        let model = models.iter().find(|model| model.name == spec.name);
        let number = number(model, &spec)?;
        let version = match (model, number) {
            // Loading, another try may find it, which cannot be said of what nobody knows.
            (Some(_), None) => self.app.catalog.version(Some(&spec.name), Which::Newest)?,
            (Some(model), Some(number)) => {
                let version = model.served().find(|version| i64::try_from(version.number) == Ok(number));
                version.cloned().ok_or_else(|| not_found(format_args!("Specific({}, {number})", spec.name)))?
            }
            (None, Some(number)) => return Err(not_found(format_args!("Specific({}, {number})", spec.name))),
            (None, None) => return Err(not_found(format_args!("Latest({})", spec.name))),
        };
        let signature_name = if spec.signature_name.is_empty() { DEFAULT_SIGNATURE.to_owned() } else { spec.signature_name };
        let version_choice = Some(VersionChoice::Version(i64::try_from(version.number).unwrap_or(i64::MAX)));
        Ok(Found { version, spec: ModelSpec { name: spec.name, version_choice, signature_name } })
    }
}

impl Found {
    fn servable(&self) -> Option<&Servable> {
        self.version.servable(Some(&self.spec.signature_name)).ok()
    }
}

fn not_found(what: impl std::fmt::Display) -> Error {
    Error::new(Code::NotFound, format!("Servable not found for request: {what}"))
}

/// The number that a request means, if it means one.
fn number(model: Option<&Arc<Model>>, spec: &ModelSpec) -> Result<Option<i64>, Error> {
    match (&spec.version_choice, model) {
        (None, _) => Ok(None),
        (Some(VersionChoice::Version(number)), _) => Ok(Some(*number)),
        (Some(VersionChoice::VersionLabel(_)), None) => Ok(None),
        (Some(VersionChoice::VersionLabel(label)), Some(model)) => {
            let number = model.labels.get(label).and_then(|&number| i64::try_from(number).ok());
            number.map(Some).ok_or_else(|| Error::invalid(format!("Unrecognized servable version label: {label}")))
        }
    }
}

/// An error in gRPC's words.
pub(crate) fn refusal(error: &Error) -> Status {
    let mut text = error.message.clone();
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
        text.truncate(end);
        text += TEXT_CUT;
    }
    Status::new(status::grpc(error.code), text)
}

fn answer<T>(result: Result<T, Error>) -> Answer<T> {
    result.map(Response::new).map_err(|error| refusal(&error))
}

#[tonic::async_trait]
impl PredictionService for Door {
    async fn predict(&self, request: Request<PredictRequest>) -> Answer<PredictResponse> {
        let (deadline, mut record) = self.begin(&request);
        let result = self.predict_tensors(request.into_inner(), deadline, &mut record).await;
        answer(record.end(result))
    }

    async fn classify(&self, request: Request<ClassificationRequest>) -> Answer<ClassificationResponse> {
        let (deadline, mut record) = self.begin(&request);
        let result = self.classify_examples(request.into_inner(), deadline, &mut record).await;
        answer(record.end(result))
    }

    async fn regress(&self, request: Request<RegressionRequest>) -> Answer<RegressionResponse> {
        let (deadline, mut record) = self.begin(&request);
        let result = self.regress_examples(request.into_inner(), deadline, &mut record).await;
        answer(record.end(result))
    }

    async fn multi_inference(&self, request: Request<MultiInferenceRequest>) -> Answer<MultiInferenceResponse> {
        let (deadline, mut record) = self.begin(&request);
        let result = self.infer_several(request.into_inner(), deadline, &mut record).await;
        answer(record.end(result))
    }

    async fn get_model_metadata(&self, request: Request<GetModelMetadataRequest>) -> Answer<GetModelMetadataResponse> {
        answer(self.metadata(request.into_inner()))
    }
}

#[tonic::async_trait]
impl ModelService for Door {
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
impl model_server::Model for Door {
    async fn predict(&self, request: Request<PredictRequest>) -> Answer<PredictResponse> {
        let (deadline, mut record) = self.begin(&request);
        let result = self.predict_first(request.into_inner(), deadline, &mut record).await;
        answer(record.end(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        let text = |length: usize| refusal(&Error::invalid("é".repeat(length))).message().to_owned();
        assert_eq!(text(512), "é".repeat(512));
        assert_eq!(text(513), "é".repeat(512) + "...TRUNCATED");
    }
}
