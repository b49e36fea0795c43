//! Decodes large bodies on other threads. Ten megabytes of JSON take a good part of a second, and every other request of the same
//! HTTP thread would wait.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use actix_web::web;
use tfweb_engine::Error;
use tfweb_limits::{Deadline, Stage};
use tokio::sync::Semaphore;

/// The most bytes of a body that is decoded on the HTTP thread. That takes about a millisecond, and another thread costs some ten
/// microseconds.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// One permit for each core. More threads would only take turns.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(places()));

fn places() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Runs `read`, which decodes a body of `bytes` bytes. For a large body it runs on another thread; this waits for a free thread
/// until `deadline`.
///
/// # Errors
/// Those of `read`; `DeadlineExceeded`.
pub async fn read<T: Send + 'static>(
    bytes: usize,
    deadline: Deadline,
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if bytes <= INLINE_BYTES_MAX {
        return read();
    }
    let Ok(Ok(place)) = deadline.limit(PLACES.acquire()).await else {
        return Err(Deadline::passed(Stage::AwaitThread));
    };
    let reading = web::block(move || {
        // The permit belongs to the thread and not to the request: if the caller goes away, the thread still works.
        let _place = place;
        read()
    });
    reading.await.unwrap_or_else(|error| Err(Error::internal(error.to_string())))
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use tfweb_engine::Code;

    use super::*;

    const LARGE_BYTES: usize = INLINE_BYTES_MAX + 1;

    async fn thread_of(bytes: usize, deadline: Deadline) -> Result<ThreadId, Error> {
        read(bytes, deadline, || Ok(thread::current().id())).await
    }

    #[actix_web::test]
    async fn a_large_body_is_read_on_another_thread() {
        let soon = Deadline::after(Duration::from_secs(60));
        assert_eq!(thread_of(INLINE_BYTES_MAX, soon).await, Ok(thread::current().id()));
        assert_ne!(thread_of(LARGE_BYTES, soon).await, Ok(thread::current().id()));
    }

    #[actix_web::test]
    async fn without_a_place_a_large_body_is_not_read() {
        let all = PLACES.acquire_many(u32::try_from(places()).unwrap()).await.unwrap();
        assert_eq!(thread_of(LARGE_BYTES, Deadline::after(Duration::ZERO)).await.unwrap_err().code, Code::DeadlineExceeded);
        assert!(thread_of(1, Deadline::after(Duration::ZERO)).await.is_ok(), "a small one needs none");
        drop(all);
    }
}
