//! TensorFlow Serving's REST API, so that its clients need not change.
//!
//! | route | answer |
//! |---|---|
//! | `POST /v1/models/{model}[/versions/{version}` or `/labels/{label}]:predict` | predict: rows (`instances`) or columns (`inputs`) |
//! | `POST …:classify`, `POST …:regress` | `tf.Example`s in, results out |
//! | `GET /v1/models/{model}[/versions/{version}]` | the states of versions |
//! | `GET …/metadata` | what a version takes and gives |
//! | `GET /v1/models` | every model; TensorFlow Serving has no such list |
//!
//! What it says, refuses and checks first is TensorFlow Serving's contract, wherever that differs from our own API: shapes are
//! not checked against the signature, floats have its digits, NaN and infinities are bare tokens. Beyond it: `output_filter` in
//! the body picks outputs. Errors are `{"error": "…"}`.

mod decimal;
mod document;
pub(super) mod dtypes;
mod elements;
mod encode;
mod examples;
mod explain;
mod inputs;
mod raw;
mod route;
mod status;

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{ContentType, ORIGIN, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{web, HttpRequest, HttpResponse};
use tfweb_engine::{Code, Error, Tensor, TensorSpec};

use crate::body;
use crate::catalog::{self, Servable, Which, DEFAULT_SIGNATURE};
use crate::http::App;
use crate::json::encode::write_text;
use crate::predict::{predict, Call};
use crate::protocol::inference::{self, Task};
use crate::record::{Protocol, Record};

use route::{Route, Verb, Version};

/// What there is to do with these routes.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Mounts the routes: everything below `/v1`, since this door has an answer for every path there.
pub fn mount(config: &mut web::ServiceConfig) {
    config.service(web::resource("/{v1:[vV]1}/{path:.*}").to(serve));
}

async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<App>) -> HttpResponse {
    let answer = if *request.method() == Method::OPTIONS {
        options(&request, &app)
    } else {
        answer(&request, payload, &app).await.map(|body| HttpResponse::Ok().insert_header(ContentType::json()).body(body))
    };
    let mut response = answer.unwrap_or_else(|error| respond(&error));
    app.dress(&request, &mut response);
    response
}

/// Answers OPTIONS, which is for pages of other origins only.
fn options(request: &HttpRequest, app: &App) -> Result<HttpResponse, Error> {
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    if !origin.starts_with("http://") && !origin.starts_with("https://") {
        return Err(malformed(request));
    }
    let mut response = app.options(request, METHODS);
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

fn malformed(request: &HttpRequest) -> Error {
    let path: String = request.path().chars().take(200).collect();
    Error::invalid(format!("Malformed request: {} {path}", request.method()))
}

/// The HTTP status of a code: ours, but for what TensorFlow Serving counts among bad requests.
fn http_status(code: Code) -> StatusCode {
    if code == Code::OutOfRange {
        StatusCode::BAD_REQUEST
    } else {
        crate::status::http(code)
    }
}

fn respond(error: &Error) -> HttpResponse {
    if error.code == Code::Internal {
        tracing::error!("{}", error.message.replace("\n\t", " "));
    }
    let mut response = HttpResponse::build(http_status(error.code));
    if error.code == Code::Unavailable {
        response.insert_header((RETRY_AFTER, tfweb_actors::RETRY_AFTER.as_secs().to_string()));
    }
    let mut body = b"{\n    \"error\": ".to_vec();
    write_text(&error.message, &mut body);
    body.extend_from_slice(b"\n}");
    response.insert_header(ContentType::json()).body(body)
}

async fn answer(request: &HttpRequest, payload: web::Payload, app: &App) -> Result<Vec<u8>, Error> {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    match route::parse(request.method(), path)? {
        Route::List => Ok(status::list(&app.catalog)),
        Route::Status(name, version) => {
            // A label is read over, as TensorFlow Serving does.
            let number = if let Version::Number(number) = &version { Some(number.as_str()) } else { None };
            status::status(&app.catalog, &name, number)
        }
        Route::Metadata(name, version) => {
            let found = find(app, &name, &version)?;
            Ok(status::metadata(&name, &found))
        }
        Route::Call(name, version, verb) => {
            let mut record = app.recorder.begin(Protocol::TfServingRest);
            let answer = call(request, payload, app, (&name, &version, verb), &mut record).await;
            record.end(answer)
        }
    }
}

async fn call(
    request: &HttpRequest,
    payload: web::Payload,
    app: &App,
    (name, version, verb): (&str, &Version, Verb),
    record: &mut Record,
) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + app.request_timeout;
    let body = body::read(request.headers(), payload, &app.bodies, deadline).await?;
    match verb {
        Verb::Predict => predict_rows_or_columns(app, (name, version), &body.bytes, deadline, record).await,
        Verb::Examples(task) => answer_examples(app, task, (name, version), &body.bytes, deadline, record).await,
    }
}

/// Finds a version of a model.
fn find(app: &App, name: &str, version: &Version) -> Result<Arc<catalog::Version>, Error> {
    let number = match version {
        Version::Newest => None,
        Version::Number(number) => Some(number.clone()),
        Version::Label(label) => {
            let models = app.catalog.models();
            let number = models.iter().find(|model| model.name == name).and_then(|model| model.labels.get(label).copied());
            let unknown = || Error::invalid(format!("Unrecognized servable version label: {label}"));
            Some(number.ok_or_else(unknown)?.to_string())
        }
    };
    let which = number.as_deref().map_or(Which::Newest, Which::Number);
    app.catalog.version(Some(name), which).map_err(|_| {
        let wanted = number.as_ref().map_or_else(|| format!("Latest({name})"), |number| format!("Specific({name}, {number})"));
        Error::new(Code::NotFound, format!("Servable not found for request: {wanted}"))
    })
}

fn servable<'v>(version: &'v catalog::Version, name: &str) -> Option<&'v Servable> {
    version.servables.iter().find(|servable| servable.handle.signature().name == name)
}

async fn predict_rows_or_columns(
    app: &App,
    (name, version): (&str, &Version),
    body: &[u8],
    deadline: Instant,
    record: &mut Record,
) -> Result<Vec<u8>, Error> {
    let start = Instant::now();
    let mut quoted = String::new();
    let document = document::read(body, &mut quoted)?;
    let named = document.signature()?;
    let named = named.as_deref().unwrap_or(DEFAULT_SIGNATURE);
    let version = find(app, name, version)?;
    let servable = servable(&version, named).ok_or_else(|| {
        Error::invalid(format!("Serving signature name: \"{}\" not found in signature def", raw::shown_text(named)))
    })?;
    let signature = record.calls(servable).handle.signature();
    let (inputs, form) = inputs::decode(&document, signature)?;
    let picked = inputs::outputs(signature, document.filter()?.as_deref())?;
    record.timings.decode = start.elapsed();
    let outputs = run(servable, inputs, deadline, record).await?;
    let start = Instant::now();
    let outputs: Vec<(&TensorSpec, &Tensor)> =
        picked.into_iter().map(|index| (&signature.outputs[index], &outputs[index])).collect();
    let encoded = encode::predict(&outputs, form);
    record.timings.encode = start.elapsed();
    encoded
}

async fn answer_examples(
    app: &App,
    task: Task,
    (name, version): (&str, &Version),
    body: &[u8],
    deadline: Instant,
    record: &mut Record,
) -> Result<Vec<u8>, Error> {
    let start = Instant::now();
    let mut quoted = String::new();
    let document = document::read(body, &mut quoted)?;
    let named = document.signature()?;
    let named = named.as_deref().unwrap_or(DEFAULT_SIGNATURE);
    let examples = examples::serialize(&document)?;
    let rows = examples.len();
    let version = find(app, name, version)?;
    let servable = servable(&version, named)
        .ok_or_else(|| Error::invalid(format!("No signature was found with the name: {}", raw::shown_text(named))))?;
    let signature = record.calls(servable).handle.signature();
    task.check(signature)?;
    let inputs = inference::inputs(examples);
    record.timings.decode = start.elapsed();
    let outputs = run(servable, inputs, deadline, record).await?;
    let start = Instant::now();
    let results = examples::results(task, signature, &outputs, rows);
    record.timings.encode = start.elapsed();
    results
}

async fn run(servable: &Servable, inputs: Vec<Tensor>, deadline: Instant, record: &mut Record) -> Result<Vec<Tensor>, Error> {
    let call = Call { inputs, urls: Vec::new(), deadline };
    predict(servable, None, call, record).await
}
