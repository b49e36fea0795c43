//! Work that would hold a listener's thread for long runs on another one. As many such threads work as there are cores.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tfweb_engine::Error;
use tfweb_limits::{Deadline, Stage};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The most bytes that are decoded or encoded on a listener's thread. That takes about a millisecond, and another thread costs some
/// ten microseconds.
pub const INLINE_BYTES_MAX: usize = 128 << 10;

/// One permit for each core. More threads would only take turns.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(places())));

fn places() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Runs `work` on another thread, when one is free. The caller waits until `deadline`; work that has begun goes on to its end.
///
/// # Errors
/// Those of `work`; `DeadlineExceeded`, which names [`Stage::AwaitThread`] before the work has begun, and then `stage`.
pub async fn elsewhere<T: Send + 'static>(
    deadline: Deadline,
    stage: Stage,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    elsewhere_in(&PLACES, deadline, stage, work).await
}

async fn elsewhere_in<T: Send + 'static>(
    places: &Arc<Semaphore>,
    deadline: Deadline,
    stage: Stage,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let place = deadline.limit(Arc::clone(places).acquire_owned()).await.map_err(|_| Deadline::passed(Stage::AwaitThread))?;
    let place = place.map_err(|error| Error::internal(error.to_string()))?;
    let working = spawn_blocking(move || {
        // The permit belongs to the thread and not to the request: if the caller goes away, the thread still works.
        let _place = place;
        work()
    });
    let worked = deadline.limit(working).await.map_err(|_| Deadline::passed(stage))?;
    worked.unwrap_or_else(|error| Err(Error::internal(error.to_string())))
}

/// All permits.
#[cfg(test)]
pub(super) async fn all_places() -> impl Drop {
    PLACES.acquire_many(u32::try_from(places()).unwrap()).await.unwrap()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_is_late_is_told_whether_the_work_has_begun() {
        let places = Arc::new(Semaphore::new(1));
        let (ends, end) = mpsc::channel::<()>();
        let late = || Deadline::after(Duration::from_millis(20));
        let begun = elsewhere_in(&places, late(), Stage::DecodeBody, move || {
            let _ = end.recv();
            Ok(())
        });
        assert_eq!(begun.await, Err(Deadline::passed(Stage::DecodeBody)));
        let waits = elsewhere_in(&places, late(), Stage::DecodeBody, || Ok(())).await;
        assert_eq!(waits, Err(Deadline::passed(Stage::AwaitThread)), "the only thread still works");
        drop(ends);
    }
}
