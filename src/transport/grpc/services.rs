//! The list of services to which a gRPC protocol adds its own. Health and reflection take their names from it.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tfweb_engine::Error;
use tfweb_proto::DESCRIPTORS;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;

use super::message_limit::MessageLimit;
use super::receive::Receive;
use crate::transport::body_limits::BodyLimits;

/// The most bytes of a message to the services for health and reflection.
const QUESTION_BYTES_MAX: usize = 16 << 10;

/// The names of all services that take tensors or a configuration, in full and in short. They are complete after all protocols
/// have added their services.
#[derive(Clone, Default)]
pub struct ServiceNames(Arc<OnceLock<Vec<&'static str>>>);

impl ServiceNames {
    /// Whether this is the full or the short name of one of them.
    #[must_use]
    pub fn contain(&self, name: &str) -> bool {
        let is_named = |full: &&str| *full == name || full.rsplit('.').next() == Some(name);
        self.0.get().is_some_and(|names| names.iter().any(is_named))
    }
}

/// A list of services to which a protocol adds its own.
pub struct Services {
    routes: Routes,
    limits: BodyLimits,
    request_timeout: Duration,
    names: Vec<&'static str>,
    all_names: ServiceNames,
    descriptors: Vec<&'static [u8]>,
}

impl Services {
    pub(super) fn new(limits: BodyLimits, request_timeout: Duration) -> Self {
        let (names, all_names) = (Vec::new(), ServiceNames::default());
        Self { routes: Routes::default(), limits, request_timeout, names, all_names, descriptors: vec![DESCRIPTORS] }
    }

    /// Adds a service whose calls take one message, of at most [`Self::message_bytes_max`] bytes, and give one.
    pub fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + Unpin + 'static,
    {
        let limited = MessageLimit::new(service, self.message_bytes_max(), "; raise --grpc_message_size");
        self.names.push(S::NAME);
        self.route(Receive::new(limited, self.limits.clone(), self.request_timeout));
    }

    /// Adds a service with small messages, such as health.
    pub fn add_small<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.route(MessageLimit::new(service, QUESTION_BYTES_MAX, ""));
    }

    fn route<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.routes = std::mem::take(&mut self.routes).add_service(service);
    }

    /// Adds descriptors for reflection, as an encoded `FileDescriptorSet`. Those of `tfweb_proto` are always in it.
    pub fn describe(&mut self, descriptors: &'static [u8]) {
        self.descriptors.push(descriptors);
    }

    /// The most bytes of one message, and of the values that it stands for.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        self.limits.body_bytes_max
    }

    /// The most bytes of a message to a service of [`Self::add_small`].
    #[must_use]
    pub const fn small_message_bytes_max() -> usize {
        QUESTION_BYTES_MAX
    }

    /// The names of the services. They include those that are added later.
    #[must_use]
    pub fn names(&self) -> ServiceNames {
        self.all_names.clone()
    }

    /// Adds reflection, and ends the list.
    ///
    /// # Errors
    /// `Internal` if the descriptors do not fit together.
    pub(super) fn finish(mut self) -> Result<Routes, Error> {
        let reflection = || {
            let begun = tonic_reflection::server::Builder::configure();
            self.descriptors.iter().fold(begun, |builder, set| builder.register_encoded_file_descriptor_set(set))
        };
        let wrong = |error: tonic_reflection::server::Error| Error::internal(format!("gRPC reflection: {error}; this is a bug"));
        let newest = reflection().build_v1().map_err(wrong)?.max_decoding_message_size(QUESTION_BYTES_MAX);
        // Most clients still ask for reflection by its older name.
        let older = reflection().build_v1alpha().map_err(wrong)?.max_decoding_message_size(QUESTION_BYTES_MAX);
        self.add_small(newest);
        self.add_small(older);
        self.all_names.0.set(self.names).map_err(|_| Error::internal("services are finished once; this is a bug"))?;
        Ok(self.routes)
    }
}
