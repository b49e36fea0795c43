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
mod predict;
mod raw;
mod route;
mod status;

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{ContentType, EXPECT, ORIGIN, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{web, HttpRequest, HttpResponse};
use tfweb_engine::{Code, Error, Tensor};

use crate::apart;
use crate::body;
use crate::catalog::{self, Catalog, Servable, Which, DEFAULT_SIGNATURE};
use crate::http::{App, Failure};
use crate::metrics::Stage;
use crate::predict::{Call, Timings};
use crate::protocol::{inference, server_timing};
use crate::record::{Protocol, Record};
use tfweb_codec::json::write_text;

use predict::{Asked, Predict};
use route::{Route, Verb, Version};

/// What there is to do with these routes.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Mounts the routes: everything below `/v1`, since this door has an answer for every path there.
pub fn mount(config: &mut web::ServiceConfig) {
    config.service(web::resource("/{v1:[vV]1}/{path:.*}").to(serve));
}

/// Whether a path is this door's.
pub fn takes(path: &str) -> bool {
    path.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("/v1/"))
}

/// Answers a request that nothing was read of.
pub fn refuse(request: &HttpRequest, app: &App, error: &Error) -> HttpResponse {
    let mut response = respond(error);
    app.dress(request, &mut response);
    response
}

async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<App>) -> HttpResponse {
    let mut timings = None;
    let answer = if *request.method() == Method::OPTIONS {
        options(&request, &app)
    } else {
        let body = answer(&request, payload, &app, &mut timings).await;
        body.map(|body| HttpResponse::Ok().insert_header(ContentType::json()).body(body))
    };
    let mut response = answer.unwrap_or_else(|error| respond(&error));
    if let Some(timings) = timings {
        server_timing::write(&timings, response.headers_mut());
    }
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

fn respond(error: &Error) -> HttpResponse {
    let mut response = HttpResponse::build(crate::status::http(error.code));
    if error.code == Code::Unavailable {
        response.insert_header((RETRY_AFTER, tfweb_actors::RETRY_AFTER.as_secs().to_string()));
    }
    if error.code == Code::Internal {
        response.extensions_mut().insert(Failure(error.message.clone()));
    }
    let mut body = b"{\n    \"error\": ".to_vec();
    write_text(&error.message, &mut body);
    body.extend_from_slice(b"\n}");
    response.insert_header(ContentType::json()).body(body)
}

/// Answers a request; how long the stages of a call took is noted in `timings`.
async fn answer(request: &HttpRequest, payload: web::Payload, app: &App, timings: &mut Option<Timings>) -> Result<Vec<u8>, Error> {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    match route::parse(request.method(), path)? {
        Route::List => Ok(status::list(&app.catalog)),
        Route::Status(name, version) => {
            // A label is read over, as TensorFlow Serving does.
            let number = if let Version::Number(number) = &version { Some(number.as_str()) } else { None };
            status::status(&app.catalog, &name, number)
        }
        Route::Metadata(name, version) => {
            let found = find(&app.catalog, &name, &version)?;
            Ok(status::metadata(&name, &found))
        }
        Route::Call(name, version, verb) => {
            let mut record = app.record(request, Protocol::TfServingRest);
            let answer = call(request, payload, app, (&name, &version, verb), &mut record).await;
            *timings = Some(record.timings.clone());
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
    // TensorFlow Serving looks at the body first; a client that asks before it sends one is told at once.
    if request.headers().contains_key(EXPECT) {
        find(&app.catalog, name, version)?;
    }
    // Its room is taken for as long as another thread reads it, even if the caller has gone away.
    let body = Arc::new(body::read(request, payload, &app.bodies, deadline).await?);
    let begun = Instant::now();
    match verb {
        Verb::Predict => {
            let (body, catalog) = (Arc::clone(&body), Arc::clone(&app.catalog));
            let (bytes, name, version) = (body.bytes.len(), name.to_owned(), version.clone());
            let read = move || predict::read(&body.bytes, &catalog, &name, &version);
            let Predict { version, servable, asked } = apart::read(bytes, deadline, read).await?;
            let servable = &version.servables[servable];
            let signature = record.calls(servable).handle.signature();
            let Asked { inputs, form, picked } = asked?;
            run(servable, inputs, (begun, deadline), record, |outputs| {
                let picked = picked.into_iter().map(|index| (&signature.outputs[index], &outputs[index]));
                encode::predict(&picked.collect::<Vec<_>>(), form)
            })
            .await
        }
        Verb::Examples(task) => {
            let mut quoted = String::new();
            let document = document::read(&body.bytes, &mut quoted)?;
            let named = document.signature()?;
            let named = named.as_deref().unwrap_or(DEFAULT_SIGNATURE);
            // These are looked at before the model is.
            let examples = examples::serialize(&document)?;
            let version = find(&app.catalog, name, version)?;
            let servable = servable(&version, named)
                .ok_or_else(|| Error::invalid(format!("No signature was found with the name: {}", raw::shown_text(named))))?;
            let servable = &version.servables[servable];
            let signature = record.calls(servable).handle.signature();
            task.check(signature)?;
            let rows = examples.len();
            run(servable, inference::inputs(examples), (begun, deadline), record, |outputs| {
                examples::results(task, signature, outputs, rows)
            })
            .await
        }
    }
}

/// Finds a version of a model.
fn find(catalog: &Catalog, name: &str, version: &Version) -> Result<Arc<catalog::Version>, Error> {
    let number = match version {
        Version::Newest => None,
        Version::Number(number) => Some(number.clone()),
        Version::Label(label) => {
            let models = catalog.models();
            let number = models.iter().find(|model| model.name == name).and_then(|model| model.labels.get(label).copied());
            let unknown = || Error::invalid(format!("Unrecognized servable version label: {label}"));
            Some(number.ok_or_else(unknown)?.to_string())
        }
    };
    let which = number.as_deref().map_or(Which::Newest, Which::Number);
    catalog.version(Some(name), which).map_err(|_| {
        let wanted = number.as_ref().map_or_else(|| format!("Latest({name})"), |number| format!("Specific({name}, {number})"));
        Error::new(Code::NotFound, format!("Servable not found for request: {wanted}"))
    })
}

/// The place of a signature among a version's.
fn servable(version: &catalog::Version, name: &str) -> Option<usize> {
    version.servables.iter().position(|servable| servable.handle.signature().name == name)
}

/// Runs a signature on what was decoded, and encodes what it gives.
async fn run(
    servable: &Servable,
    inputs: Vec<Tensor>,
    (begun, deadline): (Instant, Instant),
    record: &mut Record,
    encode: impl FnOnce(&[Tensor]) -> Result<Vec<u8>, Error>,
) -> Result<Vec<u8>, Error> {
    record.took(Stage::Decode, begun);
    let outputs = crate::predict::predict(servable, None, Call { inputs, urls: Vec::new(), deadline }, record).await?;
    let begun = Instant::now();
    let encoded = encode(&outputs);
    record.took(Stage::Encode, begun);
    encoded
}
