//! Decodes large bodies, and encodes large answers, on other threads. Ten megabytes of JSON take a good part of a second, and every
//! other request of the same HTTP thread would wait. Decoded tensors, and answers until they are sent, count into the memory of all
//! requests.

use std::future::Future;
use std::sync::Arc;

use tfweb_actors::Outputs;
use tfweb_engine::{Error, Tensor};
use tfweb_limits::{Deadline, Holding, Ledger, Share, Stage};
use tokio::runtime::Handle;

use crate::transport::body_limits::{no_room, too_much, SMALL_BYTES};
use crate::transport::elsewhere::{elsewhere, INLINE_BYTES_MAX};

/// A body to decode.
pub struct LargeBody<'a> {
    /// The size of the body.
    pub bytes: usize,
    /// How many bytes decoding needs at most for each byte of the body.
    pub factor: usize,
    /// When the request's time ends.
    pub deadline: Deadline,
    /// The memory of all requests.
    pub ledger: &'a Arc<Ledger>,
}

/// A share of the memory of all requests for decoded tensors; `None` for so few bytes that the request's own share covers them.
pub type DecodedShare = Option<Share>;

impl LargeBody<'_> {
    /// Runs `decode`, which decodes the body, with a share for all that decoding may need. For a large body it runs on another
    /// thread; this waits for a free thread until the deadline.
    ///
    /// # Errors
    /// Those of `decode`; `OutOfRange` for a body that can never have room; `Unavailable` without room now; `DeadlineExceeded`.
    pub async fn decode<T: Send + 'static, F: Future<Output = Result<T, Error>>>(
        self,
        decode: impl FnOnce() -> F + Send + 'static,
    ) -> Result<(T, DecodedShare), Error> {
        let bytes = self.bytes.saturating_mul(self.factor);
        let ledger = Arc::clone(self.ledger);
        if bytes > ledger.bytes_max() {
            return Err(too_much(self.bytes, bytes, ledger.bytes_max()));
        }
        let share = move || (bytes > SMALL_BYTES).then(|| ledger.take(Holding::Decoded, bytes)).transpose().map_err(no_room);
        if self.bytes <= INLINE_BYTES_MAX {
            let share = share()?;
            return Ok((decode().await?, share));
        }
        elsewhere(self.deadline, Stage::DecodeBody, move || {
            let share = share()?;
            Ok((Handle::current().block_on(decode())?, share))
        })
        .await
    }
}

/// Gives back all of a share but what tensors hold. A vector that has grown has room for twice its elements.
pub fn keep_tensors(share: &mut DecodedShare, tensors: &[Tensor]) {
    if let Some(share) = share {
        share.shrink_to(tensors.iter().map(|tensor| 2 * tensor.held_bytes()).sum());
    }
}

/// Runs `encode`, which makes the text of an answer from outputs. For large outputs it runs on another thread, with a share for
/// them. Gives the text with its share, which the text keeps until it is an answer.
///
/// # Errors
/// Those of `encode`; `Unavailable` without room; `DeadlineExceeded`.
pub async fn encode(
    ledger: &Arc<Ledger>,
    mut outputs: Outputs,
    deadline: Deadline,
    encode: impl FnOnce(&[Tensor]) -> Result<Vec<u8>, Error> + Send + 'static,
) -> Result<Text, Error> {
    let bytes: usize = outputs.iter().map(Tensor::held_bytes).sum();
    if bytes <= INLINE_BYTES_MAX {
        return Ok(Text { bytes: encode(&outputs)?, _share: None });
    }
    let mut share = match outputs.take_share() {
        Some(share) => share,
        None => ledger.take(Holding::Answers, bytes).map_err(no_room)?,
    };
    elsewhere(deadline, Stage::WriteAnswer, move || {
        let text = encode(&outputs)?;
        share.grow(text.capacity()).map_err(no_room)?;
        drop(outputs);
        share.shrink_to(text.capacity());
        Ok(Text { bytes: text, _share: Some(share) })
    })
    .await
}

/// The text of an answer, with its share until the answer is made.
pub struct Text {
    /// The text.
    pub bytes: Vec<u8>,
    _share: Option<Share>,
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, _share: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use tfweb_engine::Code;

    use super::*;
    use crate::transport::elsewhere::all_places;

    const LARGE_BYTES: usize = INLINE_BYTES_MAX + 1;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    async fn thread_of(bytes: usize, deadline: Deadline) -> Result<ThreadId, Error> {
        let ledger = Ledger::new(1 << 30);
        let body = LargeBody { bytes, factor: 1, deadline, ledger: &ledger };
        body.decode(|| async { Ok(thread::current().id()) }).await.map(|(thread, _)| thread)
    }

    #[actix_web::test]
    async fn a_large_body_is_read_on_another_thread() {
        assert_eq!(thread_of(INLINE_BYTES_MAX, soon()).await, Ok(thread::current().id()));
        assert_ne!(thread_of(LARGE_BYTES, soon()).await, Ok(thread::current().id()));
    }

    #[actix_web::test]
    async fn without_a_place_a_large_body_is_not_read() {
        let all = all_places().await;
        let late = thread_of(LARGE_BYTES, Deadline::after(Duration::ZERO)).await;
        assert_eq!(late, Err(Deadline::passed(Stage::AwaitThread)));
        assert!(thread_of(1, Deadline::after(Duration::ZERO)).await.is_ok(), "a small one needs none");
        drop(all);
    }

    #[actix_web::test]
    async fn what_a_body_may_become_counts_before_it_is_decoded() {
        for bytes in [SMALL_BYTES, LARGE_BYTES] {
            let ledger = Ledger::new(10 * bytes);
            let body = |factor| LargeBody { bytes, factor, deadline: soon(), ledger: &ledger };
            assert_eq!(body(11).decode(|| async { Ok(()) }).await.unwrap_err().code, Code::OutOfRange, "it never has room");
            let others = ledger.take(Holding::Received, 1).unwrap();
            assert_eq!(body(10).decode(|| async { Ok(()) }).await.unwrap_err().code, Code::Unavailable);
            drop(others);
            let counts = Arc::clone(&ledger);
            let ((), mut share) = body(10)
                .decode(move || async move {
                    assert_eq!(counts.bytes(Holding::Decoded), 10 * bytes);
                    Ok(())
                })
                .await
                .unwrap();
            keep_tensors(&mut share, &[Tensor::from_vec(&[2], vec![1.0_f32; 2])]);
            assert_eq!(ledger.bytes(Holding::Decoded), 16);
            drop(share);
            assert_eq!(ledger.bytes(Holding::Decoded), 0);
        }
    }

    #[actix_web::test]
    async fn a_large_answer_is_written_on_another_thread_and_counts() {
        let ledger = Ledger::new(3 * INLINE_BYTES_MAX);
        let outputs = |bytes: usize| Outputs::from(vec![Tensor::from_vec(&[bytes], vec![1_u8; bytes])]);
        let here = thread::current().id();
        let small = encode(&ledger, outputs(INLINE_BYTES_MAX), soon(), move |_| Ok(vec![u8::from(thread::current().id() == here)]));
        assert_eq!(small.await.unwrap().bytes, [1]);
        let write = move |_: &[Tensor]| {
            assert_ne!(thread::current().id(), here);
            Ok(vec![0; INLINE_BYTES_MAX])
        };
        let large = encode(&ledger, outputs(2 * INLINE_BYTES_MAX), soon(), write).await.unwrap();
        assert_eq!(ledger.bytes(Holding::Answers), INLINE_BYTES_MAX);
        let second = encode(&ledger, outputs(2 * INLINE_BYTES_MAX), soon(), write).await.map(|text| text.bytes);
        assert_eq!(second.unwrap_err().code, Code::Unavailable, "its outputs and its text together have no room");
        drop(large);
        assert_eq!(ledger.bytes(Holding::Answers), 0);
    }
    #[actix_web::test]
    async fn an_answer_that_is_not_written_in_time_is_given_up_and_counts_to_its_end() {
        let ledger = Ledger::new(1 << 30);
        let outputs = Outputs::from(vec![Tensor::from_vec(&[LARGE_BYTES], vec![1_u8; LARGE_BYTES])]);
        let (ends, end) = mpsc::channel::<()>();
        let write = move |_: &[Tensor]| {
            let _ = end.recv();
            Ok(Vec::new())
        };
        let late = encode(&ledger, outputs, Deadline::after(Duration::from_secs(1)), write).await.map(|text| text.bytes);
        assert_eq!(late, Err(Deadline::passed(Stage::WriteAnswer)));
        assert_eq!(ledger.bytes(Holding::Answers), LARGE_BYTES, "the thread still has the outputs");
        drop(ends);
        let deadline = soon();
        while ledger.bytes(Holding::Answers) > 0 {
            assert!(!deadline.left().is_zero(), "the thread ends");
            thread::yield_now();
        }
    }
}
