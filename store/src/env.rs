//! The environment variables, behind functions, so that tests need not change those of the process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Variable = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
type IsFile = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Looks up variables, and whether the credential files of other tools exist.
#[derive(Clone)]
pub struct Env {
    variable: Variable,
    is_file: IsFile,
}

impl Env {
    /// The variables of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { variable: Arc::new(|name| std::env::var(name).ok()), is_file: Arc::new(Path::is_file) }
    }

    /// Only these variables, on a machine without credential files.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let look_up = move |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Self { variable: Arc::new(look_up), is_file: Arc::new(|_| false) }
    }

    /// The same variables, on a machine where only these files exist.
    #[must_use]
    pub fn with_files(self, files: &[&str]) -> Self {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        Self { is_file: Arc::new(move |path| files.iter().any(|file| file == path)), ..self }
    }

    /// A variable, if it is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The first of several variables that is set.
    pub(super) fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Whether any of several variables is set.
    pub(super) fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// Whether a variable says yes.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"))
    }

    /// The home directory.
    pub(super) fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// Whether a file exists in the home directory.
    pub(super) fn home_has(&self, path: &str) -> bool {
        self.home().is_some_and(|home| (self.is_file)(&home.join(path)))
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Variables hold secrets, so this shows none.
        f.write_str("Env")
    }
}
