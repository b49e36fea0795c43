//! Calls that take one message and give one. Every such call comes by here, so each message is counted while it arrives, weighed
//! before it is decoded, and counted again as an answer until the client has it.

use std::future::{ready, Future};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use prost::Message;
use tfweb_actors::Outputs;
use tfweb_engine::{Code, Error, Tensor};
use tfweb_limits::{Deadline, Holding, Ledger, Share, Stage};
use tfweb_proto::weight::Weight;
use tonic::body::Body;
use tonic::codegen::http::header::{HeaderValue, AUTHORIZATION, CONTENT_TYPE};
use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{Extensions, HeaderMap, Request, Response};
use tonic::codegen::BoxFuture;
use tonic::Status;

use super::call::refusal;
use super::connections::{Busy, OpenConnection};
use super::counted::counted;
use super::receive::{asked_time, receive, MessageLimit, PREFIX_BYTES};
use crate::transport::body_limits::no_room;
use crate::transport::elsewhere::{elsewhere, INLINE_BYTES_MAX};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// A call as a protocol sees it.
pub struct Call<M> {
    /// Its message.
    pub message: M,
    /// The rest.
    pub head: CallHead,
}

/// A call without its message.
pub struct CallHead {
    /// The end of its time.
    pub deadline: Deadline,
    /// The memory of what its message became. A protocol that makes more of it lets this grow.
    pub memory: CallMemory,
    /// The token that it bears.
    pub authorization: Option<HeaderValue>,
    /// The values that the parts around it have left for it.
    pub extensions: Extensions,
}

/// The memory of a call beside what arrived: what its message became, and the outputs of its answer until the answer is encoded.
#[derive(Clone)]
pub struct CallMemory(Arc<Mutex<Shares>>);

struct Shares {
    message: Share,
    answer: Share,
    /// Those that outputs have brought along.
    outputs: Vec<Share>,
}

impl CallMemory {
    fn new(message: Share, ledger: &Arc<Ledger>) -> Self {
        Self(Arc::new(Mutex::new(Shares { message, answer: ledger.empty(Holding::Answers), outputs: Vec::new() })))
    }

    /// Takes `bytes` more for the message.
    ///
    /// # Errors
    /// `Unavailable` where the server holds too much.
    pub fn grow(&self, bytes: usize) -> Result<(), Error> {
        self.shares().message.grow(bytes).map_err(no_room)
    }

    /// Gives back all of the message but `bytes`.
    pub fn shrink_to(&self, bytes: usize) {
        self.shares().message.shrink_to(bytes);
    }

    /// Takes what outputs hold, and `more` bytes that are made of them.
    ///
    /// # Errors
    /// `Unavailable` where the server holds too much.
    pub fn take_outputs(&self, outputs: &mut Outputs, more: usize) -> Result<(), Error> {
        let mut shares = self.shares();
        let held = match outputs.take_share() {
            Some(share) => {
                shares.outputs.push(share);
                0
            }
            None => outputs.iter().map(Tensor::held_bytes).sum(),
        };
        shares.answer.grow(held + more).map_err(no_room)
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decodes a message, answers it and encodes the answer.
type Handler = Box<dyn Fn(Bytes, CallHead, Arc<Ledger>) -> BoxFuture<Bytes, Error> + Send + Sync>;

/// A method that takes one message and gives one.
pub(super) struct Unary {
    handler: Handler,
    weight: Weight,
    limit: MessageLimit,
}

impl Unary {
    pub(super) fn new<Q, A, F>(call: impl Fn(Call<Q>) -> F + Send + Sync + 'static, weight: Weight, limit: MessageLimit) -> Self
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Result<A, Error>> + Send + 'static,
    {
        let handler = move |bytes: Bytes, head: CallHead, ledger: Arc<Ledger>| -> BoxFuture<Bytes, Error> {
            match Q::decode(bytes) {
                Ok(message) => {
                    let (memory, deadline) = (head.memory.clone(), head.deadline);
                    let answer = call(Call { message, head });
                    Box::pin(async move { encode(answer.await?, memory, deadline, ledger).await })
                }
                Err(error) => Box::pin(ready(Err(Error::internal(error.to_string())))),
            }
        };
        Self { handler: Box::new(handler), weight, limit }
    }

    /// Answers a call, which has `time` unless its caller gives less.
    pub(super) async fn answer(&self, request: Request<Body>, ledger: &Arc<Ledger>, time: Duration) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        self.try_answer(&mut head, body, ledger, time).await.unwrap_or_else(Status::into_http)
    }

    async fn try_answer(
        &self,
        head: &mut Parts,
        body: Body,
        ledger: &Arc<Ledger>,
        time: Duration,
    ) -> Result<Response<Body>, Status> {
        let now = Instant::now();
        let asked = asked_time(&head.headers);
        let deadline = Deadline::of(now, asked.map_or(time, |asked| asked.min(time)));
        let bytes = receive(body, &head.headers, self.limit, ledger, deadline).await?;
        let busy = head.extensions.get::<Arc<OpenConnection>>().map(|open| open.busy());
        let memory = self.weigh(&bytes, ledger)?;
        let authorization = std::mem::take(&mut head.headers).remove(AUTHORIZATION);
        let extensions = std::mem::take(&mut head.extensions);
        let call = CallHead { deadline, memory: CallMemory::new(memory, ledger), authorization, extensions };
        let answer = (self.handler)(bytes, call, Arc::clone(ledger));
        let answer = match asked {
            // A protocol may do more than the caller waits for, such as a reload.
            Some(asked) => Deadline::of(now, asked).limit(answer).await.unwrap_or_else(|_| Err(Deadline::passed(Stage::Unknown))),
            None => answer.await,
        };
        let bytes = answer.map_err(|error| refusal(&error))?;
        let mut response = Response::new(Body::new(Answer { message: Some(bytes), is_ended: false, _busy: busy }));
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        Ok(response)
    }

    /// Takes the memory that a message becomes.
    fn weigh(&self, message: &[u8], ledger: &Arc<Ledger>) -> Result<Share, Status> {
        let bytes_max = ledger.bytes_max();
        let weight = self.weight.of(message, bytes_max);
        if weight > bytes_max {
            let text = format!(
                "the message has too many parts: decoded it would take more memory than the server has for requests ({bytes_max} \
                 bytes); send it in several calls"
            );
            return Err(Status::resource_exhausted(text));
        }
        ledger.take(Holding::Decoded, weight).map_err(|full| refusal(&no_room(full)))
    }
}

/// Encodes an answer. A large one is encoded on another thread. Outputs that the answer shows count in `memory` until then.
async fn encode<A: Message + 'static>(
    answer: A,
    memory: CallMemory,
    deadline: Deadline,
    ledger: Arc<Ledger>,
) -> Result<Bytes, Error> {
    // The message has been dropped. Its answer can share only the bytes that arrived.
    memory.shrink_to(0);
    let length = answer.encoded_len();
    let encode = move || {
        let bytes = encoded(&answer, length, &ledger);
        drop((answer, memory));
        bytes
    };
    if length <= INLINE_BYTES_MAX {
        return encode();
    }
    elsewhere(deadline, Stage::WriteAnswer, encode).await
}

/// Encodes an answer of `length` bytes with its prefix. Its memory counts before it is made.
fn encoded<A: Message>(answer: &A, length: usize, ledger: &Arc<Ledger>) -> Result<Bytes, Error> {
    let prefix = u32::try_from(length).map_err(|_| {
        Error::new(Code::ResourceExhausted, format!("the answer is too large: expected less than 4 GiB, got {length} bytes"))
    })?;
    let share = ledger.take(Holding::Answers, PREFIX_BYTES + length).map_err(no_room)?;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.push(0);
    bytes.extend_from_slice(&prefix.to_be_bytes());
    answer.encode_raw(&mut bytes);
    Ok(counted(bytes, share))
}

/// One message, and the trailers that say that all went well.
struct Answer {
    message: Option<Bytes>,
    is_ended: bool,
    _busy: Option<Busy>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.is_ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

#[cfg(test)]
#[path = "unary_tests.rs"]
mod tests;
