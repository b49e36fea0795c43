//! TensorFlow Serving's REST API. Its clients work without a change.
//!
//! | route | answer |
//! |---|---|
//! | `POST /v1/models/{model}[/versions/{version}` or `/labels/{label}]:predict` | predict: rows (`instances`) or columns (`inputs`) |
//! | `POST …:classify`, `POST …:regress` | `tf.Example`s in, results out |
//! | `GET /v1/models/{model}[/versions/{version}]` | the states of versions |
//! | `GET …/metadata` | what a version takes and gives |
//! | `GET /v1/models` | every model; TensorFlow Serving has no such list |
//!
//! Checks, their order and the texts of errors are TensorFlow Serving's. Where its contract differs from tfweb's own API, the
//! contract counts: the signature does not check shapes, floats have TensorFlow Serving's digits, NaN and infinities are bare
//! tokens. tfweb adds one thing: `output_filter` in the body selects outputs. Errors are `{"error": "…"}`.

mod call;
mod decimal;
mod describe;
mod document;
mod encode;
mod examples;
mod explain;
pub mod fuzzing;
mod inputs;
mod predict;
mod raw;
mod route;
mod rules;
mod signature;

use std::sync::Arc;

use actix_web::http::header::{ContentType, ORIGIN};
use actix_web::http::{Method, StatusCode};
use actix_web::HttpResponse;
use tfweb_codec::json::write_text;
use tfweb_engine::Error;

use crate::observe::{Measurement, ProtocolId, Timings};
use crate::protocols::parts::Parts;
use crate::serving::State;
use crate::transport::http::large_body::Text;
use crate::transport::http::{error, server_timing, HttpCall, HttpProtocol, Methods, Routes};

use super::find::Wanted;
use route::Route;

/// The methods of these routes, as `Allow` lists them.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// TensorFlow Serving's REST API.
struct Rest {
    state: Arc<State>,
    id: ProtocolId,
}

/// Makes the protocol.
pub(in crate::protocols) fn make(parts: &Parts<'_>, id: ProtocolId) -> Option<Arc<dyn HttpProtocol>> {
    (!parts.is_admin_port).then(|| Arc::new(Rest { state: Arc::clone(parts.state), id }) as _)
}

impl HttpProtocol for Rest {
    fn takes(&self, path: &str) -> bool {
        path.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("/v1/"))
    }

    /// Everything below `/v1`, since this protocol has an answer for every path there.
    fn mount(self: Arc<Self>, routes: &mut Routes<'_>) {
        routes.add("/{v1:[vV]1}/{path:.*}", Methods::All, async move |call: &mut HttpCall| self.respond(call).await);
    }

    fn refuse(&self, error: &Error) -> HttpResponse {
        refuse(error)
    }
}

impl Rest {
    async fn respond(&self, call: &mut HttpCall) -> HttpResponse {
        if *call.request.method() == Method::OPTIONS {
            return options(call).unwrap_or_else(|error| refuse(&error));
        }
        let mut timings = None;
        let mut response = match self.answer(call, &mut timings).await {
            Ok(body) => HttpResponse::Ok().insert_header(ContentType::json()).body(body.bytes),
            Err(error) => refuse(&error),
        };
        if let Some(timings) = timings {
            server_timing::write(&timings, response.headers_mut());
        }
        response
    }

    /// Answers a request. Notes in `timings` how long the stages of a call took.
    async fn answer(&self, call: &mut HttpCall, timings: &mut Option<Timings>) -> Result<Text, Error> {
        let catalog = &self.state.catalog;
        let path = call.request.uri().path_and_query().map_or("", |path| path.as_str());
        match route::parse(call.request.method(), path)? {
            Route::List => Ok(describe::list(catalog).into()),
            Route::Status(name, version) => {
                // A label is read over, as TensorFlow Serving does.
                let number = if let Wanted::Number(number) = version { Some(number) } else { None };
                describe::status(catalog, &name, number).map(Text::from)
            }
            Route::Metadata(name, version) => {
                let found = signature::find(catalog, &name, &version)?;
                Ok(describe::metadata(&name, &found).into())
            }
            Route::Call(name, version, verb) => {
                let mut measurement = Measurement::begin(&self.state.requests, self.id, call.slot());
                let called = call::Called { name, version, verb };
                let answer = call::answer(&self.state, call, called, &mut measurement).await;
                *timings = Some(measurement.timings.clone());
                measurement.end(answer)
            }
        }
    }
}

/// Answers OPTIONS, which is for pages of other origins only.
fn options(call: &HttpCall) -> Result<HttpResponse, Error> {
    let request = &call.request;
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    if !origin.starts_with("http://") && !origin.starts_with("https://") {
        let path: String = request.path().chars().take(200).collect();
        return Err(Error::invalid(format!("Malformed request: {} {path}", request.method())));
    }
    let mut response = call.options(METHODS);
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

fn refuse(error: &Error) -> HttpResponse {
    let mut body = b"{\n    \"error\": ".to_vec();
    write_text(&error.message, &mut body);
    body.extend_from_slice(b"\n}");
    error::begin(error).body(body)
}
