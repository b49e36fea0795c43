//! Calls whose messages are a stream: health that is watched, and reflection. They have limits of time and of bytes, and their
//! answers count until the client has taken them.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{unbounded, UnboundedReceiver, UnboundedSender};
use futures::StreamExt;
use http_body::{Body as _, Frame};
use tfweb_limits::{Deadline, Holding, Ledger, Stage};
use tokio::task::AbortHandle;
use tokio::time::{sleep, Sleep};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::Status;

use super::call::refusal;
use super::counted::counted;
use super::receive::asked_time;
use crate::transport::body_limits::no_room;

/// The most bytes that one call sends. All questions that the services of this project can answer have a hundredth of it.
const STREAM_BYTES_MAX: usize = 256 << 10;
/// The memory of a piece beside its bytes, and how many times its bytes are held once they are decoded.
const PIECE_BYTES: usize = 256;
const BECOMES: usize = 4;

/// The first failure of a stream. It becomes the status of the call.
type Failure = Arc<OnceLock<Status>>;

/// Answers a call by a service that tonic made. It has `time` unless its caller gives less; without both it has no end of its own.
///
/// # Errors
/// None; a refusal is an answer.
pub(super) async fn answer<F, E>(
    request: Request<Body>,
    ledger: &Arc<Ledger>,
    time: Option<Duration>,
    service: impl FnOnce(Request<Body>) -> F,
) -> Result<Response<Body>, E>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    let time = [asked_time(request.headers()), time].into_iter().flatten().min();
    let (sender, questions) = unbounded();
    let failure = Failure::default();
    let (head, body) = request.into_parts();
    let reader = tokio::spawn(read(body, sender, Arc::clone(ledger), Arc::clone(&failure))).abort_handle();
    let reader = Reader(reader);
    let over = time.map(|time| Box::pin(sleep(time)));
    let answer = service(Request::from_parts(head, Body::new(Questions(questions)))).await?;
    let ledger = Arc::clone(ledger);
    Ok(answer.map(|body| Body::new(Answers { body, over, failure, ledger, _reader: reader })))
}

/// Reads what the client sends at once, whether or not the service waits for it: else it would lie uncounted below.
async fn read(mut body: Body, questions: UnboundedSender<Bytes>, ledger: Arc<Ledger>, failure: Failure) {
    let mut left = STREAM_BYTES_MAX;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.into_data() else { break };
        let counts = BECOMES * data.len() + PIECE_BYTES;
        let rest = left.checked_sub(data.len().max(1));
        let taken = rest.ok_or_else(too_much).and_then(|rest| {
            left = rest;
            ledger.take(Holding::Received, counts).map_err(|full| refusal(&no_room(full)))
        });
        match taken {
            Ok(share) => {
                if questions.unbounded_send(counted(data.to_vec(), share)).is_err() {
                    return;
                }
            }
            Err(status) => {
                let _ = failure.set(status);
                return;
            }
        }
    }
}

fn too_much() -> Status {
    Status::resource_exhausted(format!("a stream's messages are too large: expected at most {STREAM_BYTES_MAX} bytes, got more"))
}

struct Reader(AbortHandle);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The messages of a client, which a reader has counted.
struct Questions(UnboundedReceiver<Bytes>);

impl http_body::Body for Questions {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_next_unpin(context).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

/// The messages of a service.
struct Answers {
    body: Body,
    over: Option<Pin<Box<Sleep>>>,
    failure: Failure,
    ledger: Arc<Ledger>,
    _reader: Reader,
}

impl http_body::Body for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over.as_mut().is_some_and(|over| over.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Some(Err(refusal(&Deadline::passed(Stage::Unknown)))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(status) = self.failure.get() {
            return Poll::Ready(Some(Err(status.clone())));
        }
        let Some(frame) = frame.transpose()? else { return Poll::Ready(None) };
        Poll::Ready(Some(match frame.into_data() {
            Ok(data) => match self.ledger.take(Holding::Answers, data.len()) {
                Ok(share) => Ok(Frame::data(counted(data.into(), share))),
                Err(full) => Err(refusal(&no_room(full))),
            },
            Err(frame) => Ok(frame),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream::{self, BoxStream};
    use tonic::Code;

    use super::*;

    /// The messages of a test, or the answer of a service after all messages.
    enum Messages {
        Sent(BoxStream<'static, Bytes>),
        AfterAll(Body),
    }

    impl http_body::Body for Messages {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match &mut *self {
                Self::Sent(pieces) => pieces.poll_next_unpin(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
                Self::AfterAll(body) => {
                    while ready!(Pin::new(&mut *body).poll_frame(context)).is_some() {}
                    Poll::Ready(None)
                }
            }
        }
    }

    async fn reads_all(request: Request<Body>) -> Result<Response<Body>, Infallible> {
        Ok(Response::new(Body::new(Messages::AfterAll(request.into_body()))))
    }

    /// How a stream ends whose client sends `count` pieces, and then nothing more.
    async fn code(ledger: &Arc<Ledger>, count: usize, time: Option<Duration>) -> Option<Code> {
        let pieces = stream::iter(vec![Bytes::from(vec![0; 16 << 10]); count]).chain(stream::pending());
        let request = Request::new(Body::new(Messages::Sent(pieces.boxed())));
        let mut answers = answer(request, ledger, time, reads_all).await.unwrap().into_body();
        let frame = poll_fn(|context| Pin::new(&mut answers).poll_frame(context)).await;
        frame.and_then(|frame| frame.err().map(|status| status.code()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_has_an_end_of_time_and_of_bytes() {
        let ledger = Ledger::new(10 << 20);
        assert_eq!(code(&ledger, 1, Some(Duration::from_secs(30))).await, Some(Code::DeadlineExceeded));
        assert_eq!(code(&ledger, STREAM_BYTES_MAX / (16 << 10) + 1, None).await, Some(Code::ResourceExhausted));
        assert_eq!(code(&Ledger::new(100 << 10), 2, None).await, Some(Code::Unavailable));
    }
}
