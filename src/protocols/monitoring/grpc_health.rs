//! grpc.health.v1: the health of the server, and of each model by its name.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::serving::{Readiness, State};
use crate::transport::grpc::{Answer, ServiceNames};

/// The interval of checks whether a watched state has changed.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// Answers for the server and for its models.
#[derive(Clone)]
pub(super) struct GrpcHealth {
    pub(super) state: Arc<State>,
    /// The names of the services. Each stands for the server, as in TensorFlow Serving.
    pub(super) names: ServiceNames,
}

impl GrpcHealth {
    fn health(&self, service: &str) -> ServingStatus {
        let readiness = self.state.health.readiness();
        let serves = |serves: bool| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        if service.is_empty() || self.names.contain(service) {
            return serves(readiness == Readiness::Ready);
        }
        match self.state.catalog.models().iter().find(|model| model.name == service) {
            Some(model) => {
                let moves = self.state.health.stuck_model(model).is_none();
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
impl Health for GrpcHealth {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        let status = self.health(&request.into_inner().service);
        if status == ServingStatus::ServiceUnknown {
            let text = "no such service; this server has those of TensorFlow Serving, and its models by name";
            return Err(Status::not_found(text));
        }
        Ok(Response::new(response(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the state, and sends it again after each change. The stream ends when the server stops.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Answer<Self::WatchStream> {
        let start = (self.clone(), request.into_inner().service, None, false);
        let watch = stream::unfold(start, |(health, service, said, is_last)| async move {
            if is_last {
                return None;
            }
            loop {
                let is_last = health.state.health.readiness() == Readiness::Draining;
                let status = health.health(&service);
                if said != Some(status) || is_last {
                    return Some((Ok(response(status)), (health, service, Some(status), is_last)));
                }
                tokio::time::sleep(WATCH_EVERY).await;
            }
        });
        Ok(Response::new(Box::pin(watch)))
    }
}
