//! All models by name. It is read without a lock while it changes: a reader sees the models before a change or after it, never
//! half of it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tfweb_engine::{quoted, Code, Error};

use super::model::{quoted_list, Model, Version, Which};

/// All models, in the order they came. The first also answers at `/`.
#[derive(Default)]
pub struct Catalog {
    models: ArcSwap<Vec<Arc<Model>>>,
    /// Held while a change is made, so that none is lost.
    changing: Mutex<()>,
}

impl Catalog {
    /// Puts a model in the place of the one with its name, or behind the others.
    pub fn put(&self, model: Model) {
        self.change(|models| match models.iter_mut().find(|known| known.name == model.name) {
            Some(known) => *known = Arc::new(model),
            None => models.push(Arc::new(model)),
        });
    }

    /// Takes a model out. Requests that run on it finish.
    pub fn remove(&self, name: &str) {
        self.change(|models| models.retain(|model| model.name != name));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Model>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = Vec::clone(&self.models.load());
        change(&mut models);
        self.models.store(Arc::new(models));
    }

    /// All models, as they are now.
    #[must_use]
    pub fn models(&self) -> Arc<Vec<Arc<Model>>> {
        self.models.load_full()
    }

    /// Finds a version of a model; of the first model where none is named.
    ///
    /// # Errors
    /// `NotFound` naming the known ones; `Unavailable` for a model of which nothing is served yet.
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
