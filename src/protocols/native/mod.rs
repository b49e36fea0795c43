//! tfweb's own API: JSON, raw bodies and forms over HTTP.
//!
//! | route | answer |
//! |---|---|
//! | `GET /`, `GET /{signature}` | what the model takes and gives |
//! | `POST /`, `POST /{signature}` | predict |
//! | `GET /models` | every model and its versions' states |
//! | `GET /models/{model}` | what a model takes and gives |
//! | `POST`, `DELETE /models/{model}` | serve another model under that name, or none |
//! | `GET`, `POST /models/{model}[/versions/{version}` or `/labels/{label}][/{signature}]` | as `/`, for each model and version |
//!
//! Errors are `{"error": "…", "code": "INVALID_ARGUMENT"}`.

mod answer;
mod body;
mod describe;
mod form;
pub mod fuzzing;
mod manage;

use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::RequestHead;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse};
use tfweb_codec::json::Form;
use tfweb_engine::{Code, Error, Tensor};
use tfweb_limits::Deadline;

use super::parts::Parts;
use crate::models::{Version, Which};
use crate::observe::{Measurement, ProtocolId, Stage};
use crate::serving::{predict, Call, State};
use crate::transport::http::large_body::{self, keep_tensors, LargeBody, Text};
use crate::transport::http::{error, is_get, server_timing, HttpCall, HttpProtocol, Methods, Routes};
use crate::transport::tokens::Access;

/// tfweb's own API.
struct Native {
    state: Arc<State>,
    access: Arc<Access>,
    id: ProtocolId,
    /// Whether a JSON object is one example and not columns.
    batch_transpose: bool,
    /// Whether a GET of a name that is no signature belongs to static files.
    has_static_files: bool,
}

/// Makes the protocol.
pub(super) fn make(parts: &Parts<'_>, id: ProtocolId) -> Option<Arc<dyn HttpProtocol>> {
    let settings = parts.settings;
    let (batch_transpose, has_static_files) = (settings.batch_transpose, settings.static_path.is_some());
    let (state, access) = (Arc::clone(parts.state), Arc::clone(parts.access));
    (!parts.is_admin_port).then(|| Arc::new(Native { state, access, id, batch_transpose, has_static_files }) as _)
}

/// The subject of a route.
#[derive(Clone, Copy, PartialEq)]
enum Subject {
    /// All models. GET lists them.
    Models,
    /// A model, named without a version. GET describes its newest version. POST and DELETE change which model is served under the
    /// name.
    Model,
    /// A version of a model, or the first model. GET describes it, and POST calls its default signature.
    Version,
    /// A signature. GET describes it, and POST calls it.
    Signature,
}

impl Subject {
    const fn methods(self) -> Methods {
        match self {
            Self::Models => Methods::Read,
            Self::Model => Methods::PostDelete,
            Self::Version | Self::Signature => Methods::Post,
        }
    }
}

/// The routes. Those that accept any name come last, so that they hide no other route.
const ROUTES: [(&str, Subject); 8] = [
    ("/", Subject::Version),
    ("/models", Subject::Models),
    ("/models/{model}", Subject::Model),
    ("/models/{model}/versions/{version}", Subject::Version),
    ("/models/{model}/versions/{version}/{signature:.+}", Subject::Signature),
    ("/models/{model}/labels/{label}", Subject::Version),
    ("/models/{model}/labels/{label}/{signature:.+}", Subject::Signature),
    ("/models/{model}/{signature:.+}", Subject::Signature),
];

impl HttpProtocol for Native {
    fn mount(self: Arc<Self>, routes: &mut Routes<'_>) {
        for (path, subject) in ROUTES {
            let native = Arc::clone(&self);
            routes.add(path, subject.methods(), async move |call: &mut HttpCall| native.answer(subject, call).await);
        }
        let (guarding, native) = (Arc::clone(&self), self);
        let answer = async move |call: &mut HttpCall| native.answer(Subject::Signature, call).await;
        routes.add_if("/{signature:.+}", move |head| guarding.takes_name(head), Subject::Signature.methods(), answer);
    }
}

impl Native {
    /// Whether `/{name}` belongs to this protocol. If there are static files, a GET of a name that is no signature belongs to
    /// them.
    fn takes_name(&self, head: &RequestHead) -> bool {
        let name = head.uri.path().trim_start_matches('/');
        let newest = || self.state.catalog.version(None, Which::Newest);
        let is_signature = || newest().is_ok_and(|version| version.servable(Some(name)).is_ok());
        !(self.has_static_files && is_get(&head.method)) || is_signature()
    }

    async fn answer(&self, subject: Subject, call: &mut HttpCall) -> HttpResponse {
        match *call.request.method() {
            Method::POST if subject != Subject::Model => self.answer_predict(call).await,
            Method::POST | Method::DELETE => {
                manage::change(&self.state, &self.access, call).await.unwrap_or_else(|error| error::respond(&error))
            }
            _ => match self.describe(subject, &call.request) {
                Ok(body) => answer::json(&call.request, &self.state, self.deadline(), body.into()).await,
                Err(error) => error::respond(&error),
            },
        }
    }

    async fn answer_predict(&self, call: &mut HttpCall) -> HttpResponse {
        let mut measurement = Measurement::begin(&self.state.requests, self.id, call.slot());
        let deadline = self.deadline();
        let predicted = self.predict(call, deadline, &mut measurement).await;
        let timings = measurement.timings.clone();
        let mut response = match measurement.end(predicted) {
            Ok(body) => answer::json(&call.request, &self.state, deadline, body).await,
            Err(error) => error::respond(&error),
        };
        server_timing::write(&timings, response.headers_mut());
        response
    }

    fn version(&self, request: &HttpRequest) -> Result<Arc<Version>, Error> {
        let matched = request.match_info();
        let which = match (matched.get("version"), matched.get("label")) {
            (Some(number), _) => Which::Number(number),
            (None, Some(label)) => Which::Label(label),
            (None, None) => Which::Newest,
        };
        self.state.catalog.version(matched.get("model"), which)
    }

    fn describe(&self, subject: Subject, request: &HttpRequest) -> Result<Vec<u8>, Error> {
        if subject == Subject::Models {
            let models = self.state.catalog.models();
            return Ok(to_json(&models.iter().map(|model| describe::model(model)).collect::<Vec<_>>()));
        }
        let version = self.version(request)?;
        Ok(match signature_name(request) {
            Some(name) => to_json(&describe::signature(version.servable(Some(&name))?.handle.signature())),
            None => to_json(&describe::version(&version)),
        })
    }

    /// The deadline of a request that begins now.
    fn deadline(&self) -> Deadline {
        Deadline::after(self.state.request_timeout)
    }

    async fn predict(&self, call: &mut HttpCall, deadline: Deadline, measurement: &mut Measurement) -> Result<Text, Error> {
        let version = self.version(&call.request)?;
        let servable = version.servable(signature_name(&call.request).as_deref())?;
        measurement.calls(&servable.meter);
        servable.handle.signature().check_served(None)?;
        let body = call.body(deadline).await?;

        let start = Instant::now();
        let content_type = call.request.headers().get(CONTENT_TYPE).cloned();
        let large = LargeBody { bytes: body.len(), factor: body::DECODED_FACTOR, deadline, ledger: &self.state.ledger };
        let (signature, batch_transpose) = (Arc::clone(servable.handle.signature()), self.batch_transpose);
        let decode = move || async move {
            let content_type = content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
            body::decode(content_type, &body, &signature, batch_transpose)
        };
        let decoded = large.decode(decode).await;
        measurement.took(Stage::Decode, start);
        let (decoded, mut share) = decoded.map_err(|error| hinting(error, &call.request))?;
        keep_tensors(&mut share, &decoded.inputs);
        if decoded.form == Form::Examples(0) {
            return Ok(b"[]".to_vec().into());
        }

        let request_id = if decoded.urls.is_empty() { String::new() } else { call.request_id() };
        let run = Call { inputs: decoded.inputs, urls: decoded.urls, deadline, request_id };
        let outputs = predict(&self.state, servable, run, measurement).await?;
        drop(share);

        let start = Instant::now();
        let (signature, form) = (Arc::clone(servable.handle.signature()), decoded.form);
        let write = move |outputs: &[Tensor]| answer::encode(&signature, form, outputs);
        let encoded = large_body::encode(&self.state.ledger, outputs, deadline, write).await;
        measurement.took(Stage::Encode, start);
        encoded
    }
}

/// The signature that a path names. actix has decoded the path, but not `%25`, `%2B` and `%2F`.
fn signature_name(request: &HttpRequest) -> Option<String> {
    let name = request.match_info().get("signature")?;
    let left = [("%2F", "/"), ("%2f", "/"), ("%2B", "+"), ("%2b", "+"), ("%25", "%")];
    Some(left.iter().fold(name.to_owned(), |name, (encoded, plain)| name.replace(encoded, plain)))
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names and numbers serialize; this is a bug")
}

/// Adds to an error where the signature is described, unless the error is not about the signature.
fn hinting(mut error: Error, request: &HttpRequest) -> Error {
    if error.code == Code::InvalidArgument && !error.message.contains("malformed") {
        let path: String = request.path().chars().take(80).collect();
        error.message += &format!("; see GET {path}");
    }
    error
}
