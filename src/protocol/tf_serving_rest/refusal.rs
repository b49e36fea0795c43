//! Finds the words for a refused body: [`super::explain`] reads the body a second time. That of a large body takes a good part of
//! a second, so it happens on a thread of its own, for a few bodies at once, and the door's thread goes on with its neighbours.

use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Instant;

use actix_web::web;
use bytes::Bytes;
use tfweb_engine::{Error, Signature};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::document::{self, Document};
use super::explain;

/// A body no larger than this is explained at once: that takes a millisecond or so.
const EXPLAIN_INLINE_BYTES_MAX: usize = 16 << 10;

/// Places for large bodies that are explained at once.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(places()));

/// Half the cores, at least one, so that the doors' threads have the others.
fn places() -> usize {
    (available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// Why the inputs in a body, of which `document` was read, were refused. A large body waits for a place until `deadline`.
pub(super) async fn of(document: &Document<'_>, body: &Bytes, signature: &Signature, deadline: Instant) -> Error {
    if body.len() <= EXPLAIN_INLINE_BYTES_MAX {
        return explain::inputs(document, signature);
    }
    let Ok(Ok(place)) = timeout_at(deadline.into(), PLACES.acquire()).await else {
        return Error::invalid("the values do not fit the inputs; the request's time ran out before the server found where");
    };
    let (body, signature) = (body.clone(), signature.clone());
    let explaining = web::block(move || {
        // The thread has the place, not the request: a caller that goes away does not stop the thread.
        let _place = place;
        explain_body(&body, &signature)
    });
    explaining.await.unwrap_or_else(|error| Error::internal(error.to_string()))
}

fn explain_body(body: &[u8], signature: &Signature) -> Error {
    let mut quoted = String::new();
    document::read(body, &mut quoted).map_or_else(|error| error, |document| explain::inputs(&document, signature))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tfweb_engine::{DType, FeedShape, PartialShape, TensorSpec};

    use super::super::inputs;
    use super::super::raw::visited;
    use super::*;

    const LARGE_BYTES: usize = 1 << 20;

    fn signature(inputs: usize) -> Signature {
        let spec = |i| {
            let (name, shape) = (format!("x{i:03}"), PartialShape::UNKNOWN);
            TensorSpec { tensor: format!("{name}:0"), name, dtype: DType::Float32, shape, feed: FeedShape::ANY }
        };
        let inputs = (0..inputs).map(spec).collect();
        Signature { name: "s".into(), method: String::new(), inputs, outputs: Vec::new() }
    }

    /// Columns for each input, of `bytes` bytes together; the last value of the last input is null.
    fn refused(inputs: usize, bytes: usize) -> Bytes {
        let zeros = "0,".repeat(bytes / inputs / 2);
        let columns: Vec<String> = (0..inputs).map(|i| format!("\"x{i:03}\":[{zeros}0]")).collect();
        let columns = columns.join(",");
        format!("{{\"inputs\":{{{}null]}}}}", columns.strip_suffix("0]").unwrap()).into()
    }

    /// Explains a body; gives the words, and how many bytes of it this thread has read.
    async fn explain(inputs: usize, body: &Bytes, deadline: Instant) -> (String, usize) {
        let (signature, mut quoted) = (signature(inputs), String::new());
        let document = document::read(body, &mut quoted).unwrap();
        assert!(inputs::decode(&document, &signature).unwrap().is_none(), "it is refused");
        visited::take();
        let error = of(&document, body, &signature, deadline).await;
        (error.message, visited::take())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn more_inputs_do_not_make_a_body_read_more_often() {
        let read = |inputs| {
            let body = refused(inputs, LARGE_BYTES);
            visited::take();
            let error = explain_body(&body, &signature(inputs));
            assert_eq!(error.message, "JSON Value: null Type: Null is not of expected type: float");
            visited::take() / LARGE_BYTES
        };
        let times = [1, 10, 600].map(read);
        assert!(times.iter().all(|&times| times <= 6), "read {times:?} times");
    }

    #[actix_web::test]
    async fn a_large_body_is_read_on_another_thread() {
        let (small, large) = (refused(600, 1000), refused(600, LARGE_BYTES));
        let (words, read) = explain(600, &small, soon()).await;
        assert!(read >= small.len() - 20, "{read} bytes read here");
        assert_eq!(explain(600, &large, soon()).await, (words, 0));
    }

    #[actix_web::test]
    async fn without_a_place_a_large_body_is_not_read() {
        let all = PLACES.acquire_many(u32::try_from(places()).unwrap()).await.unwrap();
        let (words, read) = explain(1, &refused(1, LARGE_BYTES), Instant::now()).await;
        assert!(words.starts_with("the values do not fit the inputs; the request's time ran out"), "{words}");
        assert_eq!(read, 0);
        drop(all);
    }
}
