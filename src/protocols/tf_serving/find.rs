//! The version that a request asks for, and TensorFlow Serving's errors if it is not served.

use tfweb_engine::{Code, Error};

use crate::models::Model;

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

/// The error for a model or a version that is not served.
pub(super) fn not_found(name: &str, number: Option<i64>) -> Error {
    let wanted = number.map_or_else(|| format!("Latest({name})"), |number| format!("Specific({name}, {number})"));
    Error::new(Code::NotFound, format!("Servable not found for request: {wanted}"))
}

/// The error for a request for the states of an unknown model or version.
pub(super) fn no_states(name: &str, number: Option<i64>) -> Error {
    let what = number.map_or_else(|| "any versions".to_owned(), |number| format!("version {number}"));
    Error::new(Code::NotFound, format!("Could not find {what} of model {name}"))
}
