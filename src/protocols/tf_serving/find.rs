//! The version that a request asks for, and TensorFlow Serving's errors if it is not served.

use std::sync::Arc;

use tfweb_engine::{Code, Error};

use crate::models::{Catalog, Model, Version, Which};

/// The version that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The highest that is served.
    Newest,
    /// The version with this number.
    Number(i64),
    /// The version that this label names.
    Label(String),
}

/// The number of the version that a label names.
///
/// # Errors
/// `InvalidArgument` for a label that the model does not have.
pub(super) fn labelled(model: Option<&Model>, label: &str) -> Result<i64, Error> {
    let number = model.and_then(|model| model.labels.get(label)).and_then(|&number| i64::try_from(number).ok());
    number.ok_or_else(|| Error::invalid(format!("Unrecognized servable version label: {label}")))
}

/// Finds a version of a model; without a number the newest.
///
/// # Errors
/// `NotFound`; `Unavailable` for a model that is known and not loaded yet, so that the client tries again. TensorFlow Serving has no
/// such case, because it opens its ports after it has loaded its models.
pub(super) fn version(catalog: &Catalog, name: &str, number: Option<i64>) -> Result<Arc<Version>, Error> {
    let text = number.map(|number| number.to_string());
    let which = text.as_deref().map_or(Which::Newest, Which::Number);
    catalog.version(Some(name), which).map_err(
        |error| {
            if error.code == Code::Unavailable {
                error
            } else {
                not_found(name, number)
            }
        },
    )
}

/// The error for a model or a version that is not served.
fn not_found(name: &str, number: Option<i64>) -> Error {
    let wanted = number.map_or_else(|| format!("Latest({name})"), |number| format!("Specific({name}, {number})"));
    Error::new(Code::NotFound, format!("Servable not found for request: {wanted}"))
}

/// The error for a request for the states of an unknown model or version.
pub(super) fn no_states(name: &str, number: Option<i64>) -> Error {
    let what = number.map_or_else(|| "any versions".to_owned(), |number| format!("version {number}"));
    Error::new(Code::NotFound, format!("Could not find {what} of model {name}"))
}
