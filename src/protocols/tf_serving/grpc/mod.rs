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

use futures::future::BoxFuture;
use prost::Message;
use tfweb_engine::Error;
use tfweb_proto::tensorflow::serving::{GetModelMetadataRequest, GetModelStatusRequest, ReloadConfigRequest};

use crate::observe::{Measurement, ProtocolId};
use crate::protocols::parts::Parts;
use crate::serving::State;
use crate::transport::grpc::{Call, GrpcProtocol, Services};
use crate::transport::tokens::Access;
use service::TfServing;

/// TensorFlow Serving's services.
struct Grpc {
    state: Arc<State>,
    access: Arc<Access>,
    id: ProtocolId,
    tensor_content: bool,
}

/// Makes the protocol.
pub(in crate::protocols) fn make(parts: &Parts<'_>, id: ProtocolId) -> Option<Arc<dyn GrpcProtocol>> {
    let (state, access) = (Arc::clone(parts.state), Arc::clone(parts.access));
    Some(Arc::new(Grpc { state, access, id, tensor_content: parts.settings.grpc_tensor_content }))
}

impl GrpcProtocol for Grpc {
    fn add_services(self: Arc<Self>, services: &mut Services) -> Result<(), Error> {
        let service = Arc::new(TfServing {
            state: Arc::clone(&self.state),
            access: Arc::clone(&self.access),
            id: self.id,
            message_bytes_max: services.message_bytes_max(),
            tensor_content: self.tensor_content,
        });
        let path = "/tensorflow.serving.PredictionService/Predict";
        predicting(services, &service, path, |service, call, measurement| Box::pin(service.predict_tensors(call, measurement)))?;
        let path = "/tensorflow.serving.PredictionService/Classify";
        predicting(services, &service, path, |service, call, measurement| Box::pin(service.classify_examples(call, measurement)))?;
        let path = "/tensorflow.serving.PredictionService/Regress";
        predicting(services, &service, path, |service, call, measurement| Box::pin(service.regress_examples(call, measurement)))?;
        let path = "/tensorflow.serving.PredictionService/MultiInference";
        predicting(services, &service, path, |service, call, measurement| Box::pin(service.infer_several(call, measurement)))?;
        let path = "/Model/Predict";
        predicting(services, &service, path, |service, call, measurement| Box::pin(service.predict_first(call, measurement)))?;
        let [metadata, states, reload] = [(); 3].map(|()| Arc::clone(&service));
        services.unary("/tensorflow.serving.PredictionService/GetModelMetadata", move |call: Call<GetModelMetadataRequest>| {
            std::future::ready(metadata.metadata(call.message))
        })?;
        services.unary("/tensorflow.serving.ModelService/GetModelStatus", move |call: Call<GetModelStatusRequest>| {
            std::future::ready(states.states(call.message))
        })?;
        services.unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest", move |call: Call<ReloadConfigRequest>| {
            let service = Arc::clone(&reload);
            async move { service.reload(call).await }
        })
    }
}

/// A method that predicts.
type Predicting<Q, A> = for<'a> fn(&'a TfServing, Call<Q>, &'a mut Measurement) -> BoxFuture<'a, Result<A, Error>>;

/// Adds a method that predicts. Its calls are measured.
fn predicting<Q, A>(
    services: &mut Services,
    service: &Arc<TfServing>,
    path: &'static str,
    run: Predicting<Q, A>,
) -> Result<(), Error>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    let service = Arc::clone(service);
    services.unary(path, move |call: Call<Q>| {
        let service = Arc::clone(&service);
        async move {
            let mut measurement = service.begin(&call.head);
            let result = run(&service, call, &mut measurement).await;
            measurement.end(result)
        }
    })
}
