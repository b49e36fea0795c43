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
use tfweb_engine::{Code, Error};

pub use error::ApiError;

use crate::body;
use crate::catalog::{Model, Servable};
use crate::http::App;
use crate::predict::{check_served, predict};
use answer::Timings;

type Answer = Result<HttpResponse, ApiError>;

/// Mounts the routes. Those that read a single name come last, so that they take no other route's path.
pub fn mount(config: &mut web::ServiceConfig, app: &web::Data<App>) {
    config
        .service(resource("/").route(get().to(describe_model)).route(web::post().to(predict_signature)))
        .service(resource("/models").route(get().to(describe_all)))
        .service(resource("/models/{model}").route(get().to(describe_model)).route(web::post().to(predict_signature)))
        .service(resource("/models/{model}/versions/{version}").route(get().to(describe_model)).route(web::post().to(predict_signature)))
        .service(resource("/models/{model}/versions/{version}/{signature}").route(get().to(describe_one)).route(web::post().to(predict_signature)))
        .service(resource("/models/{model}/{signature}").route(get().to(describe_one)).route(web::post().to(predict_signature)));
    let signature = resource("/{signature}").route(get().to(describe_one)).route(web::post().to(predict_signature));
    // With static files, a GET of a name that is no signature is theirs.
    let app = app.clone();
    let takes = move |context: &guard::GuardContext<'_>| {
        let is_get = matches!(context.head().method, Method::GET | Method::HEAD);
        let name = context.head().uri.path().trim_start_matches('/');
        !(is_get && app.has_static_files) || app.catalog.model(None, None).is_ok_and(|model| model.servable(Some(name)).is_ok())
    };
    config.service(signature.guard(guard::fn_guard(takes)));
}

/// A resource whose unknown methods are answered 405 with the known ones.
pub fn resource(path: &str) -> Resource {
    let posts = path != "/models" && !crate::health::PATHS.contains(&path);
    let allow = if posts { "GET, HEAD, POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        if request.method() == Method::OPTIONS {
            return HttpResponse::NoContent().insert_header((ALLOW, allow)).finish();
        }
        let error = Error::new(Code::Unimplemented, format!("method {} is not allowed here; expected one of {allow}", request.method()));
        let mut response = error::respond(StatusCode::METHOD_NOT_ALLOWED, &error);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        response
    }))
}

/// A route for GET, and HEAD with it.
pub fn get() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Answers paths that nothing else takes.
pub async fn not_found(request: HttpRequest) -> ApiError {
    let path: String = request.path().chars().take(80).collect();
    ApiError(Error::new(Code::NotFound, format!("no route {path:?}; see GET / and GET /models")))
}

fn model_of<'a>(request: &HttpRequest, app: &'a App) -> Result<&'a Model, Error> {
    let matched = request.match_info();
    app.catalog.model(matched.get("model"), matched.get("version"))
}

fn servable_of<'a>(request: &HttpRequest, app: &'a App) -> Result<&'a Servable, Error> {
    model_of(request, app)?.servable(request.match_info().get("signature"))
}

async fn describe_all(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().json(describe::models(app.catalog.models()))
}

async fn describe_model(request: HttpRequest, app: web::Data<App>) -> Answer {
    Ok(HttpResponse::Ok().json(describe::model(model_of(&request, &app)?)))
}

async fn describe_one(request: HttpRequest, app: web::Data<App>) -> Answer {
    Ok(HttpResponse::Ok().json(describe::signature(servable_of(&request, &app)?.handle.signature())))
}

async fn predict_signature(request: HttpRequest, payload: web::Payload, app: web::Data<App>) -> Answer {
    let deadline = Instant::now() + app.request_timeout;
    let servable = servable_of(&request, &app)?;
    let signature = servable.handle.signature();
    check_served(signature)?;
    // A body over the limit is refused by its length alone, before anything is read.
    let body = body::read(request.headers(), payload, &app.bodies, deadline).await?;

    let mut timings = Timings::default();
    let start = Instant::now();
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let decoded = form::decode(content_type, &body.bytes, signature, app.batch_transpose).await?;
    timings.decode = start.elapsed();
    if answer::is_empty(&decoded) {
        return Ok(answer::json(b"[]".to_vec(), &timings));
    }
    let prediction = predict(servable, decoded.inputs, deadline).await?;
    timings.queue = prediction.queue_time;
    timings.run = prediction.run_time;

    let start = Instant::now();
    let encoded = answer::encode(signature, decoded.form, &prediction.outputs);
    timings.encode = start.elapsed();
    Ok(answer::json(encoded, &timings))
}
