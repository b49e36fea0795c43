//! Finds the version and the signature that a request calls.

use std::sync::Arc;

use tfweb_engine::Error;

use crate::models::{Catalog, Version};
use crate::protocols::tf_serving::find::{labelled, version, Wanted};

/// Finds a version of a model.
///
/// # Errors
/// Those of [`version`]; `InvalidArgument` for a label that the model does not have.
pub(super) fn find(catalog: &Catalog, name: &str, wanted: &Wanted) -> Result<Arc<Version>, Error> {
    let number = match wanted {
        Wanted::Newest => None,
        Wanted::Number(number) => Some(*number),
        Wanted::Label(label) => {
            let models = catalog.models();
            let model = models.iter().find(|model| model.name == name);
            Some(labelled(model.map(|model| &**model), label)?)
        }
    };
    version(catalog, name, number)
}

/// The place of a signature among a version's.
pub(super) fn place(version: &Version, name: &str) -> Option<usize> {
    version.servables.iter().position(|servable| servable.handle.signature().name == name)
}
