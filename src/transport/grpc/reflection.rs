//! gRPC server reflection in its two versions, which have the same messages. A question that has no answer is an error within the
//! stream, which goes on. (tonic's own service ends the stream, and sends a file without what it imports.)

use std::collections::HashSet;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::StreamExt;
use prost::Message;
use prost_reflect::{DescriptorPool, FileDescriptor};
use tfweb_engine::{quoted, Error};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::pb::{v1, v1alpha};

/// Answers questions about descriptors.
#[derive(Clone)]
pub(super) struct Reflection(Arc<DescriptorPool>);

impl Reflection {
    /// Describes the services of these encoded `FileDescriptorSet`s.
    ///
    /// # Errors
    /// `Internal` if they do not fit together.
    pub(super) fn new<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut pool = DescriptorPool::new();
        for set in sets {
            let wrong = |error| Error::internal(format!("gRPC reflection: {error}; this is a bug"));
            pool.decode_file_descriptor_set(set).map_err(wrong)?;
        }
        Ok(Self(Arc::new(pool)))
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = match &request.message_request {
            Some(MessageRequest::FileByFilename(name)) => self.file(name),
            Some(MessageRequest::FileContainingSymbol(name)) => self.file_of(name),
            Some(MessageRequest::FileContainingExtension(_)) => Err((Code::NotFound, "no file has extensions".to_owned())),
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => self.extensions_of(name),
            Some(MessageRequest::ListServices(_)) => Ok(self.services()),
            None => Err((Code::InvalidArgument, "expected a question, got none".to_owned())),
        };
        let answer = answer.unwrap_or_else(|(code, error_message)| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: code.into(), error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn services(&self) -> MessageResponse {
        let service = self.0.services().map(|service| ServiceResponse { name: service.full_name().to_owned() }).collect();
        MessageResponse::ListServicesResponse(ListServiceResponse { service })
    }

    fn file(&self, name: &str) -> Answer {
        let found = self.0.get_file_by_name(name);
        found.map(with_imports).ok_or_else(|| (Code::NotFound, format!("no file {}", quoted(name))))
    }

    /// The file of a service, a message or an enumeration, or of a method or a field of one.
    fn file_of(&self, symbol: &str) -> Answer {
        let pool = &self.0;
        let member = || {
            let (parent, name) = symbol.rsplit_once('.')?;
            let service = pool.get_service_by_name(parent).filter(|service| service.methods().any(|method| method.name() == name));
            let message = || pool.get_message_by_name(parent).filter(|message| message.get_field_by_name(name).is_some());
            service.map(|service| service.parent_file()).or_else(|| message().map(|message| message.parent_file()))
        };
        let service = pool.get_service_by_name(symbol).map(|service| service.parent_file());
        let found = service
            .or_else(|| pool.get_message_by_name(symbol).map(|message| message.parent_file()))
            .or_else(|| pool.get_enum_by_name(symbol).map(|enumeration| enumeration.parent_file()))
            .or_else(member);
        found.map(with_imports).ok_or_else(|| (Code::NotFound, format!("no symbol {}", quoted(symbol))))
    }

    /// No message here has extensions.
    fn extensions_of(&self, name: &str) -> Answer {
        let known = self.0.get_message_by_name(name).ok_or_else(|| (Code::NotFound, format!("no message {}", quoted(name))))?;
        let (base_type_name, extension_number) = (known.full_name().to_owned(), Vec::new());
        Ok(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse { base_type_name, extension_number }))
    }
}

/// An answer, or the code and the text of an error.
type Answer = Result<MessageResponse, (Code, String)>;

/// A file and all that it imports, itself first.
fn with_imports(file: FileDescriptor) -> MessageResponse {
    let mut seen = HashSet::from([file.name().to_owned()]);
    let mut files = vec![file];
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        files.extend(file.dependencies().filter(|import| seen.insert(import.name().to_owned())));
        next += 1;
    }
    let file_descriptor_proto = files.iter().map(FileDescriptor::encode_to_vec).collect();
    MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
}

/// Reads a message of one version as the same message of the other.
fn same<T: Message + Default>(message: &impl Message) -> T {
    T::decode(&*message.encode_to_vec()).expect("both versions have the same messages; this is a bug")
}

#[tonic::async_trait]
impl v1::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<'static, Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        questions: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reflection = self.clone();
        let answer = move |question: Result<_, Status>| question.map(|question| reflection.answer(question));
        Ok(Response::new(questions.into_inner().map(answer).boxed()))
    }
}

#[tonic::async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = BoxStream<'static, Result<v1alpha::ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        questions: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reflection = self.clone();
        let answer = move |question: Result<v1alpha::ServerReflectionRequest, Status>| {
            question.map(|question| same(&reflection.answer(same(&question))))
        };
        Ok(Response::new(questions.into_inner().map(answer).boxed()))
    }
}
