//! Changes what is served: `POST /models/{model}` with `{"uri": "…"}` adds a model or moves it, `DELETE` removes it. Only for who
//! bears `--admin_token`: what is served is code that runs here.

use std::collections::BTreeMap;

use actix_web::http::header::{HeaderValue, AUTHORIZATION};
use actix_web::http::{Method, StatusCode};
use actix_web::{web, HttpRequest, HttpResponse};
use serde::Deserialize;
use tfweb_engine::{quoted, Code, Error};
use tfweb_limits::Deadline;

use super::describe;
use crate::body;
use crate::http::App;
use crate::keeping::model_config::is_model_name;
use crate::keeping::ModelSpec;
use tfweb_store::ModelUri;

/// What to serve.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    uri: String,
    #[serde(default)]
    version_policy: Option<String>,
    #[serde(default)]
    version_labels: BTreeMap<String, u64>,
}

/// Answers POST and DELETE of a model.
///
/// # Errors
/// `PermissionDenied` without the token; `InvalidArgument` for what cannot be read; why nothing of the model can be served, in
/// which case all is as it was.
pub(super) async fn change(request: &HttpRequest, payload: web::Payload, app: &App) -> Result<HttpResponse, Error> {
    check_token(request, app)?;
    let name = request.match_info().get("model").unwrap_or_default();
    let keepers = app.keepers.as_ref().ok_or_else(|| Error::new(Code::Unimplemented, "the models of this server cannot change"))?;
    if request.method() == Method::DELETE {
        keepers.remove(name).await?;
        return Ok(HttpResponse::NoContent().finish());
    }
    let deadline = Deadline::after(app.request_timeout);
    let body = body::read(request, payload, &app.bodies, deadline).await?;
    let spec = spec(name, &body.bytes)?;
    // A large model may take longer than any request; it is served then all the same, and GET /models tells how it goes.
    let status = match deadline.limit(keepers.set(spec)).await {
        Ok(set) => set.map(|()| StatusCode::OK)?,
        Err(_) => StatusCode::ACCEPTED,
    };
    let models = app.catalog.models();
    let model = models.iter().find(|model| model.name == name);
    Ok(HttpResponse::build(status).json(model.map(|model| describe::model(model))))
}

fn check_token(request: &HttpRequest, app: &App) -> Result<(), Error> {
    let denied = |text: &str| Err(Error::new(Code::PermissionDenied, text));
    if app.access.admin.is_none() {
        return denied(
            "models are changed here only with --admin_token set at start; to predict, POST to /models/{model}/{signature}",
        );
    }
    if app.access.may_change(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
        Ok(())
    } else {
        denied("expected `Authorization: Bearer` with the server's --admin_token")
    }
}

fn spec(name: &str, body: &[u8]) -> Result<ModelSpec, Error> {
    if !is_model_name(name) {
        return Err(Error::invalid(format!("expected a name of letters, digits, `_`, `-` and `.`, got {}", quoted(name))));
    }
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!("expected {{\"uri\": …}} with version_policy and version_labels if need be: {error}"))
    })?;
    let policy = wanted.version_policy.map(|policy| policy.parse()).transpose();
    Ok(ModelSpec {
        name: name.to_owned(),
        uri: ModelUri::parse(&wanted.uri)?,
        policy: policy.map_err(|error| Error::invalid(format!("version_policy: {error}")))?.unwrap_or_default(),
        labels: wanted.version_labels,
        poll: None,
    })
}
