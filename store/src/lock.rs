//! Runs file work on threads that may block, and lets one process at a time write a version.

use std::time::{Duration, Instant};

use tfweb_engine::{Code, Error};

use super::cache::{Lock, OriginCache};

/// The interval of tries to take a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// The longest wait for the lock, which covers a download of terabytes. A lock ends with its process.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// Runs work on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(format!("a file task failed: {error}")))?
}

/// Locks a version. Waits while another process holds the lock.
pub(super) async fn lock(cache: &OriginCache, version: &str) -> Result<Lock, Error> {
    let start = Instant::now();
    let mut is_said = false;
    loop {
        let (asked, of) = (cache.clone(), version.to_owned());
        let lock = blocking(move || {
            asked.make_directory()?;
            asked.try_lock(&of).map_err(|error| asked.cannot_write(&error))
        });
        if let Some(lock) = lock.await? {
            return Ok(lock);
        }
        if start.elapsed() > LOCK_WAIT_MAX {
            return Err(Error::new(Code::Unavailable, "another process has been writing the same version for hours"));
        }
        if !is_said {
            tracing::info!("waiting for another process that downloads the same version");
            is_said = true;
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
