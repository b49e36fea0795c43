//! What is served: models, their version, their signatures. Read without a lock.

use std::sync::Arc;

use actix::ArbiterHandle;
use tfweb_actors::{start_model, ModelHandle, Policy};
use tfweb_engine::{quoted, Code, Error, Session};

/// The most names an error lists, so that it stays readable.
const LISTED_MAX: usize = 50;

/// The signature that is meant when none is named (tensorflow/cc/saved_model/signature_constants.h).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// A model that is loaded and not yet served.
pub struct Loaded {
    /// What routes call it.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Its session.
    pub session: Arc<dyn Session>,
}

/// All models, in the order they were given; the first also answers at `/`.
pub struct Catalog {
    models: Vec<Model>,
}

/// One served version of a model.
pub struct Model {
    /// What routes call it.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Sorted by name.
    pub servables: Vec<Servable>,
}

/// One signature that can be called.
pub struct Servable {
    /// Runs it.
    pub handle: ModelHandle,
    /// What trying it at load found wrong.
    pub warning: Option<String>,
}

impl Catalog {
    /// Starts the actors of loaded models.
    ///
    /// # Errors
    /// `Internal` if the system has no more threads to give.
    pub fn start(models: Vec<Loaded>, policy: Policy, arbiter: &ArbiterHandle) -> Result<Self, Error> {
        let model = |Loaded { name, version, session }| {
            let handles =
                start_model(arbiter, &session, policy).map_err(|error| Error::internal(format!("no run threads: {error}")))?;
            let warning = |index| session.warning(index).map(str::to_owned);
            let servables =
                handles.into_iter().enumerate().map(|(index, handle)| Servable { handle, warning: warning(index) }).collect();
            Ok(Model { name, version, servables })
        };
        Ok(Self { models: models.into_iter().map(model).collect::<Result<_, Error>>()? })
    }

    /// All models.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Finds a model; the first where none is named, its only version where none is.
    ///
    /// # Errors
    /// `NotFound` naming the known ones.
    pub fn model(&self, name: Option<&str>, version: Option<&str>) -> Result<&Model, Error> {
        let found = match name {
            None => self.models.first(),
            Some(name) => self.models.iter().find(|model| model.name == name),
        };
        let model = found.ok_or_else(|| {
            let known = quoted_list(self.models.iter().map(|model| model.name.as_str()));
            Error::new(Code::NotFound, format!("no model {}; this server has {known}", quoted(name.unwrap_or_default())))
        })?;
        match version {
            Some(version) if version.parse() != Ok(model.version) => Err(Error::new(
                Code::NotFound,
                format!("no version {} of model {}; it has {}", quoted(version), quoted(&model.name), model.version),
            )),
            _ => Ok(model),
        }
    }
}

impl Model {
    /// Finds a signature; where none is named, `serving_default` or the only one.
    ///
    /// # Errors
    /// `NotFound` naming the known ones.
    pub fn servable(&self, name: Option<&str>) -> Result<&Servable, Error> {
        if let (None, [only]) = (name, self.servables.as_slice()) {
            return Ok(only);
        }
        let wanted = name.unwrap_or(DEFAULT_SIGNATURE);
        self.servables.iter().find(|servable| servable.handle.signature().name == wanted).ok_or_else(|| {
            let known = quoted_list(self.servables.iter().map(|servable| servable.handle.signature().name.as_str()));
            Error::new(Code::NotFound, format!("no signature {}; this model has {known}", quoted(wanted)))
        })
    }
}

fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut listed: Vec<String> = names.map(quoted).collect();
    if listed.is_empty() {
        return "none".to_owned();
    }
    let more = listed.len().saturating_sub(LISTED_MAX);
    listed.truncate(LISTED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    listed.join(", ") + &rest
}
