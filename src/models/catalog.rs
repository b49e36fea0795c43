//! All models by name. Requests read the catalog without a lock. A reader sees the models before a change or after it, and never
//! half of it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tfweb_engine::{quoted, Code, Error};

use super::model::{quoted_list, Model, Version, Which};

/// All models, in the order in which they were added. The first one also answers at `/`.
#[derive(Default)]
pub struct Catalog {
    models: ArcSwap<Vec<Arc<Model>>>,
    /// The name of the model that answers at `/`. It stays when that model is removed: a client that names no model must not get
    /// the answers of another one.
    first: OnceLock<String>,
    /// Held during a change, so that two changes at once do not lose one of them.
    changing: Mutex<()>,
}

impl Catalog {
    /// Replaces the model of the same name, or adds the model at the end.
    pub fn put(&self, model: Model) {
        self.change(|models| self.put_into(models, model));
    }

    /// Puts `new` models and removes all others, in one change.
    pub fn exchange(&self, new: Vec<Model>) {
        self.change(|models| {
            models.retain(|model| new.iter().any(|new| new.name == model.name));
            new.into_iter().for_each(|model| self.put_into(models, model));
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

    /// The name of the model that answers where a request names none. The model may have been removed.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    /// Finds a version of the model with this name. Without a name it takes the first model.
    ///
    /// # Errors
    /// `NotFound` that lists the known models; `Unavailable` for a model that serves no version yet.
    pub fn version(&self, name: Option<&str>, which: Which<'_>) -> Result<Arc<Version>, Error> {
        let models = self.models.load();
        let wanted = name.or(self.first());
        let found = wanted.and_then(|wanted| models.iter().find(|model| model.name == wanted));
        let model = found.ok_or_else(|| {
            let known = quoted_list(models.iter().map(|model| model.name.as_str()));
            let what = match (name, wanted) {
                (Some(name), _) => format!("no model {}", quoted(name)),
                (None, Some(first)) => format!("no model {}, which answers where no model is named", quoted(first)),
                (None, None) => "no model".to_owned(),
            };
            Error::new(Code::NotFound, format!("{what}; this server has {known}"))
        })?;
        model.version(which).cloned()
    }

    fn put_into(&self, models: &mut Vec<Arc<Model>>, model: Model) {
        // A candidate may still fail, and then it has never been a model of this server.
        if !model.is_candidate {
            self.first.get_or_init(|| model.name.clone());
        }
        match models.iter_mut().find(|known| known.name == model.name) {
            Some(known) => *known = Arc::new(model),
            None => models.push(Arc::new(model)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, is_candidate: bool) -> Model {
        Model { name: name.to_owned(), is_candidate, ..Model::default() }
    }

    #[test]
    fn the_model_without_a_name_stays_the_same() {
        let catalog = Catalog::default();
        let error = || catalog.version(None, Which::Newest).map(|version| version.number).unwrap_err();
        assert_eq!(error().message, "no model; this server has none");
        catalog.put(model("tried", true));
        catalog.put(model("a", false));
        catalog.put(model("b", false));
        assert_eq!(error().message, "model \"a\" is not loaded yet");
        catalog.remove("a");
        let gone = "no model \"a\", which answers where no model is named; this server has \"tried\", \"b\"";
        assert_eq!((error().code, error().message.as_str()), (Code::NotFound, gone));
        catalog.exchange(vec![model("c", false)]);
        assert_eq!(error().code, Code::NotFound);
        catalog.put(model("a", false));
        assert_eq!(error().code, Code::Unavailable, "it is back");
    }
}
