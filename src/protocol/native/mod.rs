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
mod describe;
mod error;
mod form;
mod manage;

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{HeaderValue, ALLOW, CONTENT_TYPE};
use actix_web::http::{Method, StatusCode};
use actix_web::{guard, web, HttpRequest, HttpResponse, Resource};
use tfweb_engine::{quoted, Code, Error};

use crate::body;
use crate::catalog::{Version, Which};
use crate::http::{self, App, Methods};
use crate::metrics::Stage;
use crate::predict::{predict, Call};
use crate::protocol::server_timing;
use crate::record::{Protocol, Record};
use crate::status;
use tfweb_codec::json::Form;

pub use describe::model_state;

type Answer = Result<HttpResponse, Error>;

/// What a route is about.
#[derive(Clone, Copy, PartialEq)]
enum Subject {
    /// All models: GET lists them.
    Models,
    /// A model by its name alone: GET describes its newest version, POST and DELETE change what is served under that name.
    Model,
    /// A version of a model, or the first model: GET describes it, POST calls its main signature.
    Version,
    /// A signature: GET describes it, POST calls it.
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

/// Mounts the routes. Those that read a single name come last, so that they take no other route's path.
pub fn mount(config: &mut web::ServiceConfig, app: &web::Data<App>) {
    config
        .service(resource("/", Subject::Version))
        .service(resource("/models", Subject::Models))
        .service(resource("/models/{model}", Subject::Model))
        .service(resource("/models/{model}/versions/{version}", Subject::Version))
        .service(resource("/models/{model}/versions/{version}/{signature:.+}", Subject::Signature))
        .service(resource("/models/{model}/labels/{label}", Subject::Version))
        .service(resource("/models/{model}/labels/{label}/{signature:.+}", Subject::Signature))
        .service(resource("/models/{model}/{signature:.+}", Subject::Signature));
    // With static files, a GET of a name that is no signature is theirs.
    let app = app.clone();
    let takes = move |context: &guard::GuardContext<'_>| {
        let name = context.head().uri.path().trim_start_matches('/');
        let newest = || app.catalog.version(None, Which::Newest);
        let is_signature = || newest().is_ok_and(|version| version.servable(Some(name)).is_ok());
        !(app.has_static_files && http::is_get(&context.head().method)) || is_signature()
    };
    config.service(resource("/{signature:.+}", Subject::Signature).guard(guard::fn_guard(takes)));
}

/// One handler for all methods: a route for each would be asked in turn at every request.
fn resource(path: &str, subject: Subject) -> Resource {
    web::resource(path).to(move |request, payload, app| serve(subject, request, payload, app))
}

async fn serve(subject: Subject, request: HttpRequest, payload: web::Payload, app: web::Data<App>) -> HttpResponse {
    match *request.method() {
        Method::POST if matches!(subject, Subject::Version | Subject::Signature) => {
            let mut record = app.record(&request, Protocol::Native);
            let predicted = predict_signature(&request, payload, &app, &mut record).await;
            let timings = record.timings.clone();
            let answer = match record.end(predicted) {
                Ok(body) => Ok(answer::json(&request, body).await),
                Err(error) => Err(error),
            };
            let mut response = finish(&request, &app, answer);
            server_timing::write(&timings, response.headers_mut());
            response
        }
        Method::POST | Method::DELETE if subject == Subject::Model => {
            let changed = manage::change(&request, payload, &app).await;
            finish(&request, &app, changed)
        }
        Method::GET | Method::HEAD => {
            let answer = match describe(subject, &request, &app) {
                Ok(body) => Ok(answer::json(&request, body).await),
                Err(error) => Err(error),
            };
            finish(&request, &app, answer)
        }
        _ => other_method(&request, &app, subject.methods()),
    }
}

/// Answers OPTIONS, and methods that a route does not have.
pub fn other_method(request: &HttpRequest, app: &App, methods: Methods) -> HttpResponse {
    let allow = methods.allow();
    if request.method() == Method::OPTIONS {
        return finish(request, app, Ok(app.options(request, allow)));
    }
    let text = format!("method {} is not allowed here; expected one of {allow}", request.method());
    let mut response = error::respond(StatusCode::METHOD_NOT_ALLOWED, &Error::new(Code::Unimplemented, text));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    finish(request, app, Ok(response))
}

/// Answers paths that nothing else takes.
pub async fn not_found(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    if request.method() == Method::OPTIONS {
        return other_method(&request, &app, Methods::Read);
    }
    let text = format!("no route {}; see GET / and GET /models", quoted(request.path()));
    finish(&request, &app, Err(Error::new(Code::NotFound, text)))
}

/// The last step of every handler: an error becomes this protocol's answer, and every answer carries the door's headers.
pub fn finish(request: &HttpRequest, app: &App, answer: Answer) -> HttpResponse {
    let mut response = answer.unwrap_or_else(|error| error::respond(status::http(error.code), &error));
    app.dress(request, &mut response);
    response
}

fn version_of(request: &HttpRequest, app: &App) -> Result<Arc<Version>, Error> {
    let matched = request.match_info();
    let which = match (matched.get("version"), matched.get("label")) {
        (Some(number), _) => Which::Number(number),
        (None, Some(label)) => Which::Label(label),
        (None, None) => Which::Newest,
    };
    app.catalog.version(matched.get("model"), which)
}

fn describe(subject: Subject, request: &HttpRequest, app: &App) -> Result<Vec<u8>, Error> {
    if subject == Subject::Models {
        let models = app.catalog.models();
        return Ok(to_json(&models.iter().map(|model| describe::model(model)).collect::<Vec<_>>()));
    }
    let version = version_of(request, app)?;
    Ok(match request.match_info().get("signature") {
        Some(name) => to_json(&describe::signature(version.servable(Some(name))?.handle.signature())),
        None => to_json(&describe::version(&version)),
    })
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names and numbers serialize; this is a bug")
}

async fn predict_signature(request: &HttpRequest, payload: web::Payload, app: &App, record: &mut Record) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + app.request_timeout;
    let version = version_of(request, app)?;
    let servable = record.calls(version.servable(request.match_info().get("signature"))?);
    let signature = servable.handle.signature();
    let body = body::read(request, payload, &app.bodies, deadline).await?;

    let start = Instant::now();
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let decoded = form::decode(content_type, &body.bytes, signature, app.batch_transpose).await;
    record.took(Stage::Decode, start);
    let decoded = decoded.map_err(|error| hinting(error, request))?;
    if decoded.form == Form::Examples(0) {
        return Ok(b"[]".to_vec());
    }

    let call = Call { inputs: decoded.inputs, urls: decoded.urls, deadline };
    let outputs = predict(servable, app.fetcher.as_ref(), call, record).await?;

    let start = Instant::now();
    let encoded = answer::encode(signature, decoded.form, &outputs);
    record.took(Stage::Encode, start);
    Ok(encoded)
}

/// Says where the signature is described, unless the trouble is not with it.
fn hinting(mut error: Error, request: &HttpRequest) -> Error {
    if error.code == Code::InvalidArgument && !error.message.contains("malformed") {
        let path: String = request.path().chars().take(80).collect();
        error.message += &format!("; see GET {path}");
    }
    error
}
