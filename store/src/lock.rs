//! Work on files: off the threads that must not block, and by one process at a time.

use std::time::{Duration, Instant};

use tfweb_engine::{Code, Error};

use super::cache::{Lock, Place};

/// How often to see whether another process is done with a version.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// The most time to wait for it: as long as a download of terabytes takes. A process that ends lets go at once.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// Does what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(format!("a file task failed: {error}")))?
}

/// Takes the lock on a version, or waits for it.
pub(super) async fn lock(place: &Place, version: &str) -> Result<Lock, Error> {
    let start = Instant::now();
    let mut is_said = false;
    loop {
        let (asked, of) = (place.clone(), version.to_owned());
        let lock = blocking(move || {
            asked.make()?;
            asked.try_lock(&of).map_err(|error| asked.cannot_write(&error))
        });
        if let Some(lock) = lock.await? {
            return Ok(lock);
        }
        if start.elapsed() > LOCK_WAIT_MAX {
            return Err(Error::new(Code::Unavailable, "another process has been writing the same version for hours"));
        }
        if !is_said {
            tracing::info!("waiting for another process that is bringing the same model");
            is_said = true;
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
