//! The state behind the services, and the search for the version that a request asks for.

use std::sync::Arc;

use tfweb_engine::Error;
use tfweb_proto::tensorflow::serving::model_spec::VersionChoice;
use tfweb_proto::tensorflow::serving::ModelSpec;

use crate::models::{Model, Servable, Version, DEFAULT_SIGNATURE};
use crate::observe::{Measurement, ProtocolId};
use crate::protocols::tf_serving::find::{self, labelled, Wanted};
use crate::serving::State;
use crate::transport::grpc::CallHead;
use crate::transport::tokens::Access;

/// Answers the calls of all services.
pub(super) struct TfServing {
    pub(super) state: Arc<State>,
    pub(super) access: Arc<Access>,
    pub(super) id: ProtocolId,
    /// The most bytes of one message, and of the values that it stands for.
    pub(super) message_bytes_max: usize,
    /// Whether answers carry tensors as bytes, and not as values in the field of their dtype.
    pub(super) tensor_content: bool,
}

/// The version that a request asks for, and the `ModelSpec` of its answer.
pub(super) struct Found {
    pub(super) version: Arc<Version>,
    pub(super) spec: ModelSpec,
}

impl TfServing {
    /// Begins to measure a request.
    pub(super) fn begin(&self, head: &CallHead) -> Measurement {
        Measurement::begin(&self.state.requests, self.id, head.extensions.get().cloned()).until(head.deadline)
    }

    /// Finds the version that a request asks for.
    pub(super) fn find(&self, spec: Option<ModelSpec>) -> Result<Found, Error> {
        let spec = spec.ok_or_else(|| Error::invalid("Missing ModelSpec"))?;
        if spec.name.is_empty() {
            return Err(no_model());
        }
        let models = self.state.catalog.models();
        let model = models.iter().find(|model| model.name == spec.name).map(|model| &**model);
        let number = number(model, &spec)?;
        let version = find::version(&self.state.catalog, &spec.name, number)?;
        let signature_name = if spec.signature_name.is_empty() { DEFAULT_SIGNATURE.to_owned() } else { spec.signature_name };
        let version_choice = Some(VersionChoice::Version(i64::try_from(version.number).unwrap_or(i64::MAX)));
        Ok(Found { version, spec: ModelSpec { name: spec.name, version_choice, signature_name } })
    }
}

impl Found {
    pub(super) fn servable(&self) -> Option<&Servable> {
        self.version.servable(Some(&self.spec.signature_name)).ok()
    }
}

/// The error for a request that names no model.
pub(super) fn no_model() -> Error {
    Error::invalid("ModelSpec has no name specified.")
}

/// The version number that a request asks for; `None` for the newest. A label of an unknown model also gives `None`.
pub(super) fn number(model: Option<&Model>, spec: &ModelSpec) -> Result<Option<i64>, Error> {
    let wanted = match &spec.version_choice {
        None => Wanted::Newest,
        Some(VersionChoice::Version(number)) => Wanted::Number(*number),
        Some(VersionChoice::VersionLabel(label)) => Wanted::Label(label.clone()),
    };
    match wanted {
        Wanted::Newest => Ok(None),
        Wanted::Number(number) => Ok(Some(number)),
        Wanted::Label(_) if model.is_none() => Ok(None),
        Wanted::Label(label) => labelled(model, &label).map(Some),
    }
}
