//! Reads small files (tokens, certificates, lists of models), and reads them again when they change.
//!
//! A file that somebody is just writing is half a file, and the half of a token is another token. So contents count only after
//! two looks found the same, as with the versions of a model. The contents are compared and not the times, because Kubernetes
//! replaces the directory of a mounted Secret.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use actix_web::web;
use tfweb_engine::{regular_file, Error};
use tokio::sync::watch;
use tokio::time::timeout;

/// The interval at which `follow` looks. A new file takes effect soon, and small files cost little.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The pause before the second look at a file that has changed. A file that is copied has grown meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The same pause at start, when somebody waits for the server.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The most second looks. A file that still changes then is looked at again later.
const LOOKS_MAX: usize = 20;
/// The most bytes of such a file. Ten thousand tokens, hundreds of certificates or thousands of models fit into it.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The bytes of each file.
pub type Contents = Vec<Vec<u8>>;

/// Files that belong together, such as a certificate and its key.
#[derive(Debug)]
pub struct WatchedFiles {
    paths: Vec<PathBuf>,
    taken: Mutex<Option<Contents>>,
}

impl WatchedFiles {
    /// Watches the files at these paths. Reads nothing yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, taken: Mutex::default() }
    }

    /// Reads the files for the first time. It blocks until they are whole.
    ///
    /// # Errors
    /// `InvalidArgument` that names the file that is missing, too large, no regular file, or still changes.
    pub fn first(&self) -> Result<Contents, Error> {
        let changed = self.changed(|| sleep(FIRST_LOOK_AGAIN))?;
        changed.ok_or_else(|| wrong(&self.paths[0], "it still changes; start again when it is written"))
    }

    /// Looks at the files. Gives their contents if they are whole and differ from those that were given before. It blocks.
    ///
    /// # Errors
    /// `InvalidArgument` that names the file that is missing, too large, or no regular file.
    pub fn look(&self) -> Result<Option<Contents>, Error> {
        self.changed(|| sleep(LOOK_AGAIN))
    }

    fn changed(&self, mut pause: impl FnMut()) -> Result<Option<Contents>, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = self.read()?;
        for _ in 0..LOOKS_MAX {
            if taken.as_ref() == Some(&found) {
                return Ok(None);
            }
            pause();
            let again = self.read()?;
            if again == found {
                *taken = Some(again);
                return Ok(Some(found));
            }
            found = again;
        }
        Ok(None)
    }

    fn read(&self) -> Result<Contents, Error> {
        self.paths.iter().map(|path| regular_file::read(path, FILE_BYTES_MAX).map_err(|error| wrong(path, error))).collect()
    }
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("`{}`: {what}", path.display()))
}

/// Ends the pauses of all that look for changes, when the operator asks for a look at everything. By default nobody asks.
#[derive(Clone, Debug)]
pub struct LookAgain(watch::Receiver<()>);

impl LookAgain {
    /// Makes it, with the sender by which the operator asks.
    #[must_use]
    pub fn new() -> (watch::Sender<()>, Self) {
        let (ask, asked) = watch::channel(());
        (ask, Self(asked))
    }

    /// Waits until the operator asks. It ends at once if the operator has asked since the last wait.
    pub async fn asked(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could ask.
            std::future::pending().await
        }
    }

    /// Waits until the operator asks, but no longer than `pause`, if there is one.
    pub async fn pause(&mut self, pause: Option<Duration>) {
        match pause {
            Some(pause) => drop(timeout(pause, self.asked()).await),
            None => self.asked().await,
        }
    }
}

impl Default for LookAgain {
    fn default() -> Self {
        Self::new().1
    }
}

/// Looks at the files every two seconds as long as the actix System lives, and gives new contents to `take`. `take` returns
/// whether something has changed. The same error is logged only once.
pub fn follow(
    what: &'static str,
    paths: Vec<PathBuf>,
    mut again: LookAgain,
    take: impl Fn(&Contents) -> Result<bool, Error> + Send + Sync + 'static,
) {
    let shared = Arc::new((WatchedFiles::new(paths), take));
    actix::spawn(async move {
        let mut last_error = String::new();
        loop {
            again.pause(Some(LOOK_EVERY)).await;
            let parts = Arc::clone(&shared);
            let looked = web::block(move || parts.0.look()?.map(|contents| parts.1(&contents)).transpose());
            match looked.await {
                Ok(Ok(has_changed)) => {
                    last_error.clear();
                    if has_changed == Some(true) {
                        tracing::info!("{what}: read again after a change");
                    }
                }
                Ok(Err(error)) if last_error != error.message => {
                    tracing::error!("{what}: {error}; what was read before stays");
                    last_error = error.message;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn half_a_file_is_never_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let files = WatchedFiles::new(vec![path.clone()]);
        let whole = "token";
        fs::write(&path, "").unwrap();
        // Somebody writes a letter between two looks.
        let mut length = 0;
        let mut grow = || {
            length = whole.len().min(length + 1);
            fs::write(&path, &whole[..length]).unwrap();
        };
        assert_eq!(files.changed(&mut grow).unwrap(), Some(vec![whole.into()]));
        assert_eq!(files.changed(&mut grow).unwrap(), None, "nothing has changed");
        fs::write(&path, "other").unwrap();
        assert_eq!(files.changed(|| ()).unwrap(), Some(vec!["other".into()]));
        // A file that changes at every look is given up for now.
        let mut writes = 0;
        let rewrite = || {
            writes += 1;
            fs::write(&path, writes.to_string()).unwrap();
        };
        assert_eq!(files.changed(rewrite).unwrap(), None);
        fs::remove_file(&path).unwrap();
        assert!(files.changed(|| ()).unwrap_err().message.contains("tokens`: No such file"));
    }
}
