//! Health over HTTP and gRPC, and metrics for Prometheus and for people. They are on the port that serves models and on the admin
//! port.

mod grpc_health;
mod health;
mod metrics;

use std::sync::Arc;

use actix_web::HttpResponse;
use tfweb_engine::Error;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::pb::{HealthCheckRequest, FILE_DESCRIPTOR_SET};

use super::parts::Parts;
use crate::serving::State;
use crate::transport::grpc::{Call, GrpcProtocol, Services};
use crate::transport::http::{HttpCall, HttpProtocol, Methods, Routes};

/// Where metrics are: the second path is TensorFlow Serving's default.
const METRICS: [&str; 2] = ["/metrics", "/monitoring/prometheus/metrics"];

/// Health and metrics over HTTP.
struct Monitoring {
    state: Arc<State>,
    /// Whether metrics are on this port.
    has_metrics: bool,
    /// Whether only operators reach this port.
    is_admin_port: bool,
}

/// Makes the protocol over HTTP.
pub(super) fn http(parts: &Parts<'_>) -> Option<Arc<dyn HttpProtocol>> {
    let has_metrics = parts.is_admin_port || !parts.settings.has_admin_port;
    Some(Arc::new(Monitoring { state: Arc::clone(parts.state), has_metrics, is_admin_port: parts.is_admin_port }))
}

/// Makes the protocol over gRPC.
pub(super) fn grpc(parts: &Parts<'_>) -> Option<Arc<dyn GrpcProtocol>> {
    Some(Arc::new(GrpcMonitoring(Arc::clone(parts.state))))
}

impl HttpProtocol for Monitoring {
    /// Load balancers ask for health without a token.
    fn is_open(&self, path: &str) -> bool {
        matches!(path, "/livez" | "/readyz")
    }

    fn is_probe(&self, path: &str) -> bool {
        matches!(path, "/livez" | "/readyz") || METRICS.contains(&path)
    }

    fn mount(self: Arc<Self>, routes: &mut Routes<'_>) {
        let add = |routes: &mut Routes<'_>, path, answer: fn(&State) -> HttpResponse| {
            let state = Arc::clone(&self.state);
            routes.add(path, Methods::Read, async move |_: &mut HttpCall| answer(&state));
        };
        add(routes, "/livez", health::live);
        add(routes, "/readyz", if self.is_admin_port { health::ready_in_full } else { health::ready });
        if self.has_metrics {
            add(routes, "/stats", metrics::stats);
            for path in METRICS {
                let state = Arc::clone(&self.state);
                routes.add(path, Methods::Read, async move |call: &mut HttpCall| metrics::metrics(&state, &call.request).await);
            }
        }
    }
}

/// Health over gRPC.
struct GrpcMonitoring(Arc<State>);

impl GrpcProtocol for GrpcMonitoring {
    fn is_open(&self, path: &str) -> bool {
        path.starts_with("/grpc.health.v1.Health/")
    }

    fn is_probe(&self, path: &str) -> bool {
        path.starts_with("/grpc.health.")
    }

    fn add_services(self: Arc<Self>, services: &mut Services) -> Result<(), Error> {
        let health = grpc_health::GrpcHealth::start(Arc::clone(&self.0), services.names());
        services.describe(FILE_DESCRIPTOR_SET);
        services.streams(HealthServer::new(health.clone()).max_decoding_message_size(Services::small_message_bytes_max()));
        services.small("/grpc.health.v1.Health/Check", move |call: Call<HealthCheckRequest>| {
            std::future::ready(health.state_of(&call.message.service))
        })
    }
}
