//! Decodes large bodies on other threads than HTTP's: ten megabytes of JSON take a good part of a second, and every other request
//! of the same thread would wait for it.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use actix_web::web;
use tfweb_engine::Error;
use tfweb_limits::{Deadline, Stage};
use tokio::sync::Semaphore;

/// A body no larger than this is read at once. That takes about a millisecond; another thread costs some ten microseconds.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// Places for bodies that are read at once, one for each core: more would only take turns.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(places()));

fn places() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Runs `read`, which reads a body of `bytes` bytes; that of a large body on another thread, for which it waits until `deadline`.
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
        // The thread has the place, not the request: a caller that goes away does not stop the thread.
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
