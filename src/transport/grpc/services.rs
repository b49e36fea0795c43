//! The list of services to which a gRPC protocol adds its own. Health and reflection take their names from it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prost::Message;
use tfweb_engine::Error;
use tfweb_limits::Ledger;
use tfweb_proto::weight::Weights;
use tfweb_proto::DESCRIPTORS;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_reflection::pb::{v1, v1alpha};

use super::receive::MessageLimit;
use super::reflection::Reflection;
use super::stream;
use super::unary::{Call, Unary};
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
    unary: HashMap<&'static str, Unary>,
    streams: Routes,
    /// The streams that have an end, by the beginning of their path.
    limited: Vec<String>,
    limits: BodyLimits,
    request_timeout: Duration,
    names: Vec<&'static str>,
    all_names: ServiceNames,
    descriptors: Vec<&'static [u8]>,
}

impl Services {
    pub(super) fn new(limits: BodyLimits, request_timeout: Duration) -> Self {
        Self {
            unary: HashMap::new(),
            streams: Routes::default(),
            limited: Vec::new(),
            limits,
            request_timeout,
            names: Vec::new(),
            all_names: ServiceNames::default(),
            descriptors: vec![DESCRIPTORS],
        }
    }

    /// Adds a method, `/package.Service/Method`, that takes one message of at most [`Self::message_bytes_max`] bytes and gives one.
    /// Its service is described already.
    ///
    /// # Errors
    /// `Internal` if the message is described nowhere, or its memory cannot be told.
    pub fn unary<Q, A, F>(&mut self, path: &'static str, call: impl Fn(Call<Q>) -> F + Send + Sync + 'static) -> Result<(), Error>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Result<A, Error>> + Send + 'static,
    {
        let service = path[1..].split('/').next().unwrap_or_default();
        if !self.names.contains(&service) {
            self.names.push(service);
        }
        let limit = MessageLimit { bytes_max: self.message_bytes_max(), hint: "; raise --grpc_message_size" };
        self.add(path, call, limit)
    }

    /// Adds a method like [`Self::unary`], with small messages, such as health.
    ///
    /// # Errors
    /// Those of [`Self::unary`].
    pub fn small<Q, A, F>(&mut self, path: &'static str, call: impl Fn(Call<Q>) -> F + Send + Sync + 'static) -> Result<(), Error>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Result<A, Error>> + Send + 'static,
    {
        self.add(path, call, MessageLimit { bytes_max: QUESTION_BYTES_MAX, hint: "" })
    }

    fn add<Q, A, F>(
        &mut self,
        path: &'static str,
        call: impl Fn(Call<Q>) -> F + Send + Sync + 'static,
        limit: MessageLimit,
    ) -> Result<(), Error>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Result<A, Error>> + Send + 'static,
    {
        let mut found = Err(format!("no descriptor has {path}"));
        for descriptors in &self.descriptors {
            if let Some(weight) = Weights::read(descriptors).map_err(wrong)?.of_method(path) {
                found = Ok(weight);
            }
        }
        self.unary.insert(path, Unary::new(call, found.map_err(wrong)?, limit));
        Ok(())
    }

    /// Adds a service that tonic made, for its methods with streams. A call of them ends with its client or its connection.
    pub fn streams<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.streams = std::mem::take(&mut self.streams).add_service(service);
    }

    /// Adds descriptors for reflection and for methods that are added later, as an encoded `FileDescriptorSet`. Those of
    /// `tfweb_proto` are always in it.
    pub fn describe(&mut self, descriptors: &'static [u8]) {
        self.descriptors.push(descriptors);
    }

    /// The most bytes of one message, and of the values that it stands for.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        self.limits.body_bytes_max
    }

    /// The most bytes of a message to a service of [`Self::streams`].
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
    pub(super) fn finish(mut self) -> Result<Dispatch, Error> {
        let reflection = |own| Reflection::new(self.descriptors.iter().copied().chain([own]));
        let newest = v1::server_reflection_server::ServerReflectionServer::new(reflection(v1::FILE_DESCRIPTOR_SET)?);
        // Most clients still ask for reflection by its older name.
        let older = v1alpha::server_reflection_server::ServerReflectionServer::new(reflection(v1alpha::FILE_DESCRIPTOR_SET)?);
        self.add_limited(newest.max_decoding_message_size(QUESTION_BYTES_MAX));
        self.add_limited(older.max_decoding_message_size(QUESTION_BYTES_MAX));
        self.all_names.0.set(self.names).map_err(|_| Error::internal("services are finished once; this is a bug"))?;
        Ok(Dispatch(Arc::new(Dispatched {
            unary: self.unary,
            streams: self.streams.prepare(),
            limited: self.limited,
            ledger: self.limits.ledger,
            request_timeout: self.request_timeout,
        })))
    }

    /// Adds streams that have the time of a request.
    fn add_limited<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.limited.push(format!("/{}/", S::NAME));
        self.streams(service);
    }
}

fn wrong(error: String) -> Error {
    Error::internal(format!("gRPC: {error}; this is a bug"))
}

/// All services.
#[derive(Clone)]
pub(super) struct Dispatch(Arc<Dispatched>);

struct Dispatched {
    unary: HashMap<&'static str, Unary>,
    streams: Routes,
    limited: Vec<String>,
    ledger: Arc<Ledger>,
    request_timeout: Duration,
}

impl Dispatch {
    /// The memory of all requests.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.0.ledger
    }

    pub(super) fn call(&self, request: Request<Body>) -> BoxFuture<Response<Body>, Infallible> {
        let services = Arc::clone(&self.0);
        Box::pin(async move {
            let path = request.uri().path();
            if let Some(unary) = services.unary.get(path) {
                return Ok(unary.answer(request, &services.ledger, services.request_timeout).await);
            }
            let time = services.limited.iter().any(|limited| path.starts_with(limited)).then_some(services.request_timeout);
            let mut streams = services.streams.clone();
            stream::answer(request, &services.ledger, time, |request| streams.call(request)).await
        })
    }
}
