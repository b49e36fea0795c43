//! grpc.health.v1: how the server is, and each of its models by name.

use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, Stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{Answer, Door};
use crate::health::Readiness;

/// How often to see whether something that is watched has changed.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// Names that stand for the server: in full as health checks are meant, and short as TensorFlow Serving has them.
const SERVER: [&str; 6] =
    ["", "PredictionService", "ModelService", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "Model"];

impl Door {
    fn health(&self, service: &str) -> ServingStatus {
        let readiness = Readiness::of(&self.app);
        let serves = |serves: bool| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        if SERVER.contains(&service) {
            return serves(readiness == Readiness::Ready);
        }
        match self.app.catalog.models().iter().find(|model| model.name == service) {
            Some(model) => {
                let moves = self.app.liveness.stuck_model(model).is_none();
                serves(readiness != Readiness::Draining && moves && model.served().next().is_some())
            }
            None => ServingStatus::ServiceUnknown,
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Door {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        let status = self.health(&request.into_inner().service);
        if status == ServingStatus::ServiceUnknown {
            let text = "no such service; this server has those of TensorFlow Serving, and its models by name";
            return Err(Status::not_found(text));
        }
        Ok(Response::new(response(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Says how it is, and again whenever that changes; ends when the server is about to stop.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Answer<Self::WatchStream> {
        let start = (self.clone(), request.into_inner().service, None, false);
        let watch = stream::unfold(start, |(door, service, said, is_last)| async move {
            if is_last {
                return None;
            }
            loop {
                let is_last = Readiness::of(&door.app) == Readiness::Draining;
                let status = door.health(&service);
                if said != Some(status) || is_last {
                    return Some((Ok(response(status)), (door, service, Some(status), is_last)));
                }
                tokio::time::sleep(WATCH_EVERY).await;
            }
        });
        Ok(Response::new(Box::pin(watch)))
    }
}
