//! The description of a model to serve.

use std::collections::BTreeMap;
use std::time::Duration;

use tfweb_engine::quoted;
use tfweb_store::ModelUri;

use super::version_policy::VersionPolicy;

/// A model to serve, as flags, a file or a request describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Its name in routes.
    pub name: String,
    /// Where it comes from.
    pub uri: ModelUri,
    /// Chooses the versions to serve.
    pub policy: VersionPolicy,
    /// The version number that each label names.
    pub labels: BTreeMap<String, u64>,
    /// How often the watcher lists the versions; zero for never. `None` takes the default for the kind of origin.
    pub poll: Option<Duration>,
}

/// Checks that a text can name a model in routes.
///
/// # Errors
/// A text that says which names can.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_name = name.chars().all(is_name_char) && name.chars().any(|c| c != '.');
    if is_name {
        return Ok(());
    }
    Err(format!("expected a name of letters, digits, `_`, `-` and `.`, not of dots alone, got {}", quoted(name)))
}

/// The name of a model that nobody has named: the last part of its place. Characters that cannot stand in a name become `_`.
#[must_use]
pub fn name_of(uri: &ModelUri) -> String {
    let name: String = uri.name().chars().map(|c| if is_name_char(c) { c } else { '_' }).collect();
    if check_name(&name).is_ok() {
        name
    } else {
        "model".to_owned()
    }
}

/// Checks that no other model has the name of this one.
///
/// # Errors
/// A text that names both places.
pub fn check_unique(spec: &ModelSpec, others: &[ModelSpec]) -> Result<(), String> {
    match others.iter().find(|other| other.name == spec.name) {
        None => Ok(()),
        Some(other) => Err(format!("two models are called `{}`: `{}` and `{}`", spec.name, other.uri, spec.uri)),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_fit_into_routes() {
        for name in ["a", "A-1_b.c", "..a", "0"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "...", "a b", "a/b", "a%2Fb", "ä"] {
            let error = check_name(name).expect_err(name);
            assert!(error.ends_with(&format!("got {}", quoted(name))), "{error}");
        }
        let name = |uri: &str| name_of(&ModelUri::parse(uri).expect("a place"));
        assert_eq!([name("/m/my model"), name("/m/ä"), name("s3://b/x y"), name("/")], ["my_model", "_", "x_y", "model"]);
    }
}
