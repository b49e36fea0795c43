//! tfweb's own API: JSON, raw bodies and forms over HTTP.
//!
//! | route | answer |
//! |---|---|
//! | `GET /`, `GET /{signature}` | what the model takes and gives |
//! | `POST /`, `POST /{signature}` | predict |
//! | `GET /models` | every model |
//! | `GET`, `POST /models/{model}[/versions/{version}][/{signature}]` | the same for each model |
//!
//! Errors are `{"error": "…", "code": "INVALID_ARGUMENT"}`.

mod answer;
mod describe;
mod error;
mod form;

use std::time::Instant;

use actix_web::http::header::{HeaderValue, ALLOW, CONTENT_TYPE};
use actix_web::http::{Method, StatusCode};
use actix_web::{guard, web, HttpRequest, HttpResponse, Resource};
use serde::Serialize;
use tfweb_engine::{Code, Error};

use crate::body;
use crate::catalog::{Model, Servable};
use crate::http::{self, App};
use crate::json::Form;
use crate::predict::predict;
use crate::status;
use answer::Timings;

type Answer = Result<HttpResponse, Error>;

/// Mounts the routes. Those that read a single name come last, so that they take no other route's path.
pub fn mount(config: &mut web::ServiceConfig, app: &web::Data<App>) {
    let model = |path| resource(path, true).route(get().to(describe_model)).route(web::post().to(predict_signature));
    let signature = |path| resource(path, true).route(get().to(describe_signature)).route(web::post().to(predict_signature));
    config
        .service(model("/"))
        .service(resource("/models", false).route(get().to(describe_models)))
        .service(model("/models/{model}"))
        .service(model("/models/{model}/versions/{version}"))
        .service(signature("/models/{model}/versions/{version}/{signature:.+}"))
        .service(signature("/models/{model}/{signature:.+}"));
    // With static files, a GET of a name that is no signature is theirs.
    let app = app.clone();
    let takes = move |context: &guard::GuardContext<'_>| {
        let name = context.head().uri.path().trim_start_matches('/');
        let is_signature = || app.catalog.model(None, None).is_ok_and(|model| model.servable(Some(name)).is_ok());
        !(app.has_static_files && http::is_get(&context.head().method)) || is_signature()
    };
    config.service(signature("/{signature:.+}").guard(guard::fn_guard(takes)));
}

/// A resource whose unknown methods are answered 405 with the known ones.
pub fn resource(path: &str, posts: bool) -> Resource {
    let allow = http::allow(posts);
    web::resource(path).default_service(web::to(move |request: HttpRequest, app: web::Data<App>| async move {
        if request.method() == Method::OPTIONS {
            let response = app.options(&request, allow);
            return finish(&request, &app, Ok(response));
        }
        let error =
            Error::new(Code::Unimplemented, format!("method {} is not allowed here; expected one of {allow}", request.method()));
        let mut response = error::respond(StatusCode::METHOD_NOT_ALLOWED, &error);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        finish(&request, &app, Ok(response))
    }))
}

/// A route for GET, and HEAD with it.
pub fn get() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Answers paths that nothing else takes.
pub async fn not_found(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    if request.method() == Method::OPTIONS {
        let response = app.options(&request, http::allow(false));
        return finish(&request, &app, Ok(response));
    }
    let path: String = request.path().chars().take(80).collect();
    finish(&request, &app, Err(Error::new(Code::NotFound, format!("no route {path:?}; see GET / and GET /models"))))
}

/// The last step of every handler: an error becomes this protocol's answer, and every answer carries the door's headers.
pub fn finish(request: &HttpRequest, app: &App, answer: Answer) -> HttpResponse {
    let mut response = answer.unwrap_or_else(|error| error::respond(status::http(error.code), &error));
    app.dress(request, &mut response);
    response
}

fn model_of<'a>(request: &HttpRequest, app: &'a App) -> Result<&'a Model, Error> {
    let matched = request.match_info();
    app.catalog.model(matched.get("model"), matched.get("version"))
}

fn servable_of<'a>(request: &HttpRequest, app: &'a App) -> Result<&'a Servable, Error> {
    model_of(request, app)?.servable(request.match_info().get("signature"))
}

async fn describe_models(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let answer = describe(&request, &describe::models(app.catalog.models())).await;
    finish(&request, &app, Ok(answer))
}

async fn describe_model(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let answer = match model_of(&request, &app) {
        Ok(model) => Ok(describe(&request, &describe::model(model)).await),
        Err(error) => Err(error),
    };
    finish(&request, &app, answer)
}

async fn describe_signature(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let answer = match servable_of(&request, &app) {
        Ok(servable) => Ok(describe(&request, &describe::signature(servable.handle.signature())).await),
        Err(error) => Err(error),
    };
    finish(&request, &app, answer)
}

async fn describe(request: &HttpRequest, description: &impl Serialize) -> HttpResponse {
    answer::json(request, serde_json::to_vec(description).expect("names and numbers serialize; this is a bug")).await
}

async fn predict_signature(request: HttpRequest, payload: web::Payload, app: web::Data<App>) -> HttpResponse {
    let mut timings = Timings::default();
    let answer = match answer_prediction(&request, payload, &app, &mut timings).await {
        Ok(body) => Ok(answer::json(&request, body).await),
        Err(error) => Err(error),
    };
    let mut response = finish(&request, &app, answer);
    timings.write(response.headers_mut());
    response
}

async fn answer_prediction(
    request: &HttpRequest,
    payload: web::Payload,
    app: &App,
    timings: &mut Timings,
) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + app.request_timeout;
    let servable = servable_of(request, app)?;
    let signature = servable.handle.signature();
    let body = body::read(request.headers(), payload, &app.bodies, deadline).await?;

    let start = Instant::now();
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let decoded = form::decode(content_type, &body.bytes, signature, app.batch_transpose).await;
    timings.decode = start.elapsed();
    let decoded = decoded.map_err(|error| hinting(error, request))?;
    if decoded.form == Form::Examples(0) {
        return Ok(b"[]".to_vec());
    }

    let start = Instant::now();
    let prediction = predict(servable, decoded.inputs, deadline).await.inspect_err(|error| {
        // What was refused or late spent its time in the queue.
        let queued = matches!(error.code, Code::Unavailable | Code::DeadlineExceeded);
        *(if queued { &mut timings.queue } else { &mut timings.run }) = start.elapsed();
    })?;
    timings.queue = prediction.queue_time;
    timings.run = prediction.run_time;

    let start = Instant::now();
    let encoded = answer::encode(signature, decoded.form, &prediction.outputs);
    timings.encode = start.elapsed();
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
