//! Changes which models are served: `POST /models/{model}` with `{"uri": "…"}` adds or replaces a model, and `DELETE` removes it.
//! Both need the `--admin_token`, because a model is code that runs in the server.

use std::collections::BTreeMap;

use actix_web::http::header::{HeaderValue, AUTHORIZATION};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use tfweb_engine::{Code, Error};
use tfweb_limits::Deadline;
use tfweb_store::ModelUri;

use super::describe;
use crate::models::spec::check_name;
use crate::models::ModelSpec;
use crate::serving::State;
use crate::transport::http::HttpCall;
use crate::transport::tokens::Access;

/// The body of a POST: the model to serve.
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
/// `PermissionDenied` without the token; `InvalidArgument` for a wrong body; the reason why no version of the model can be
/// served. Nothing changes then.
pub(super) async fn change(state: &State, access: &Access, call: &mut HttpCall) -> Result<HttpResponse, Error> {
    check_token(&call.request, access)?;
    let name = call.request.match_info().get("model").unwrap_or_default().to_owned();
    let models = state.models.as_ref().ok_or_else(|| Error::new(Code::Unimplemented, "the models of this server cannot change"))?;
    if call.request.method() == Method::DELETE {
        models.remove(&name).await?;
        return Ok(HttpResponse::NoContent().finish());
    }
    let deadline = Deadline::after(state.request_timeout);
    let body = call.body(deadline).await?;
    let spec = spec(&name, &body)?;
    // A large model may take longer to load than the time of a request. The load goes on, and GET /models shows its state.
    let status = match deadline.limit(models.set(spec)).await {
        Ok(set) => set.map(|()| StatusCode::OK)?,
        Err(_) => StatusCode::ACCEPTED,
    };
    let models = state.catalog.models();
    let model = models.iter().find(|model| model.name == name);
    Ok(HttpResponse::build(status).json(model.map(|model| describe::model(model))))
}

fn check_token(request: &HttpRequest, access: &Access) -> Result<(), Error> {
    let denied = |text: &str| Err(Error::new(Code::PermissionDenied, text));
    if access.admin.is_none() {
        return denied(
            "models are changed here only with --admin_token set at start; to predict, POST to /models/{model}/{signature}",
        );
    }
    if access.may_change(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
        Ok(())
    } else {
        denied("expected `Authorization: Bearer` with the server's --admin_token; to predict, POST to /models/{model}/{signature}")
    }
}

fn spec(name: &str, body: &[u8]) -> Result<ModelSpec, Error> {
    check_name(name).map_err(Error::invalid)?;
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
