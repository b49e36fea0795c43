//! All models by name. Requests read the catalog without a lock. A reader sees the models before a change or after it, and never
//! half of it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tfweb_engine::{quoted, Code, Error};

use super::model::{quoted_list, Model, Version, Which};

/// All models, in the order in which they were added. The first one also answers at `/`.
#[derive(Default)]
pub struct Catalog {
    models: ArcSwap<Vec<Arc<Model>>>,
    /// Held during a change, so that two changes at once do not lose one of them.
    changing: Mutex<()>,
}

impl Catalog {
    /// Replaces the model of the same name, or adds the model at the end.
    pub fn put(&self, model: Model) {
        self.change(|models| put(models, model));
    }

    /// Puts `new` models and removes all others, in one change.
    pub fn exchange(&self, new: Vec<Model>) {
        self.change(|models| {
            models.retain(|model| new.iter().any(|new| new.name == model.name));
            new.into_iter().for_each(|model| put(models, model));
        });
    }

    /// Removes a model. Requests that run on it finish.
    pub fn remove(&self, name: &str) {
        self.change(|models| models.retain(|model| model.name != name));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Model>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = Vec::clone(&self.models.load());
        change(&mut models);
        self.models.store(Arc::new(models));
    }

    /// Whether no model can be called.
    #[must_use]
    pub fn serves_none(&self) -> bool {
        self.models.load().iter().all(|model| model.served().next().is_none())
    }

    /// All models at this moment.
    #[must_use]
    pub fn models(&self) -> Arc<Vec<Arc<Model>>> {
        self.models.load_full()
    }

    /// Finds a version of the model with this name. Without a name it takes the first model.
    ///
    /// # Errors
    /// `NotFound` that lists the known models; `Unavailable` for a model that serves no version yet.
    pub fn version(&self, name: Option<&str>, which: Which<'_>) -> Result<Arc<Version>, Error> {
        let models = self.models.load();
        let found = match name {
            None => models.first(),
            Some(name) => models.iter().find(|model| model.name == name),
        };
        let model = found.ok_or_else(|| {
            let known = quoted_list(models.iter().map(|model| model.name.as_str()));
            let wanted = name.map_or_else(|| "no model".to_owned(), |name| format!("no model {}", quoted(name)));
            Error::new(Code::NotFound, format!("{wanted}; this server has {known}"))
        })?;
        model.version(which).cloned()
    }
}

fn put(models: &mut Vec<Arc<Model>>, model: Model) {
    match models.iter_mut().find(|known| known.name == model.name) {
        Some(known) => *known = Arc::new(model),
        None => models.push(Arc::new(model)),
    }
}
