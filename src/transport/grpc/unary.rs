//! Calls that take one message and give one. Every such call comes by here, so each message is counted while it arrives, weighed
//! before it is decoded, and counted again as an answer until the client has it.

use std::future::{ready, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use prost::Message;
use tfweb_engine::{Code, Error};
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

/// The memory of what a call's message became.
pub struct CallMemory(Share);

impl CallMemory {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// `Unavailable` where the server holds too much.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.0.grow(bytes).map_err(no_room)
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.0.shrink_to(bytes);
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
                    let answer = call(Call { message, head });
                    Box::pin(async move { encode(&answer.await?, &ledger) })
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
        let call = CallHead { deadline, memory: CallMemory(memory), authorization, extensions };
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

/// Encodes an answer with its prefix. Its memory counts before it is made.
fn encode<A: Message>(answer: &A, ledger: &Arc<Ledger>) -> Result<Bytes, Error> {
    let length = answer.encoded_len();
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
mod tests {
    use futures::FutureExt;
    use tfweb_proto::tensorflow::serving::{PredictRequest, PredictResponse};
    use tfweb_proto::tensorflow::TensorProto;
    use tfweb_proto::weight::Weights;
    use tfweb_proto::DESCRIPTORS;

    use super::*;

    const PATH: &str = "/tensorflow.serving.PredictionService/Predict";
    const LIMIT: MessageLimit = MessageLimit { bytes_max: 64 << 20, hint: "" };

    /// A method that keeps the contents that it gets, and answers with them.
    fn keeping(kept: std::sync::mpsc::Sender<Bytes>) -> Unary {
        let call = move |call: Call<PredictRequest>| {
            let outputs = call.message.inputs;
            outputs.values().for_each(|tensor| kept.send(tensor.tensor_content.clone()).unwrap());
            ready(Ok(PredictResponse { outputs, model_spec: None }))
        };
        Unary::new(call, Weights::read(DESCRIPTORS).unwrap().of_method(PATH).unwrap(), LIMIT)
    }

    fn request(message: &[u8]) -> Request<Body> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let bytes = Bytes::from([&[0][..], &length, message].concat());
        let frames = futures::stream::iter([Ok::<_, Status>(Frame::data(bytes))]);
        Request::new(Body::new(Frames(frames)))
    }

    struct Frames<S>(S);

    impl<S: futures::Stream<Item = Result<Frame<Bytes>, Status>> + Unpin> http_body::Body for Frames<S> {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Pin::new(&mut self.0).poll_next(context)
        }
    }

    /// A method that answers never, and tells the deadlines of its calls.
    fn silent(told: std::sync::mpsc::Sender<Deadline>) -> Unary {
        let call = move |call: Call<PredictRequest>| {
            told.send(call.head.deadline).unwrap();
            std::future::pending::<Result<PredictResponse, Error>>()
        };
        Unary::new(call, Weights::read(DESCRIPTORS).unwrap().of_method(PATH).unwrap(), LIMIT)
    }

    #[tokio::test]
    async fn time_counts_from_the_arrival() {
        let (sender, told) = std::sync::mpsc::channel();
        let (unary, ledger) = (silent(sender), Ledger::new(1 << 20));
        let (pieces, receiver) = futures::channel::mpsc::unbounded();
        let mut request = Request::new(Body::new(Frames(receiver)));
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("10S"));
        let mut answer = Box::pin(unary.answer(request, &ledger, Duration::from_secs(60)));
        assert!((&mut answer).now_or_never().is_none());
        let arrived = Instant::now();
        std::iter::repeat_with(Instant::now).find(|now| *now > arrived);
        pieces.unbounded_send(Ok::<_, Status>(Frame::data(Bytes::from(vec![0; PREFIX_BYTES])))).unwrap();
        drop(pieces);
        assert!((&mut answer).now_or_never().is_none());
        let deadline = told.try_recv().unwrap();
        assert!(deadline <= Deadline::of(arrived, Duration::from_secs(10)), "the caller's time, which is less than the server's");
    }

    #[tokio::test]
    async fn a_caller_whose_time_is_over_is_told_so() {
        let (sender, _told) = std::sync::mpsc::channel();
        let mut request = request(&[]);
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("20m"));
        let answer = silent(sender).answer(request, &Ledger::new(1 << 20), Duration::from_secs(60)).await;
        assert_eq!(answer.extensions().get().map(Status::code), Some(tonic::Code::DeadlineExceeded));
    }

    fn predict(bytes: usize) -> Vec<u8> {
        let tensor = TensorProto { tensor_content: vec![7; bytes].into(), ..TensorProto::default() };
        PredictRequest { inputs: [("x".to_owned(), tensor)].into(), ..PredictRequest::default() }.encode_to_vec()
    }

    fn counts(ledger: &Ledger) -> [usize; 3] {
        [Holding::Received, Holding::Decoded, Holding::Answers].map(|holding| ledger.bytes(holding))
    }

    #[tokio::test]
    async fn a_message_and_its_answer_count_as_long_as_they_are_held() {
        let ledger = Ledger::new(1 << 20);
        let (sender, kept) = std::sync::mpsc::channel();
        let message = predict(10_000);
        let answer = keeping(sender).answer(request(&message), &ledger, Duration::from_secs(60)).now_or_never().unwrap();
        assert_eq!(counts(&ledger), [message.len(), 0, PREFIX_BYTES + message.len()], "the content is a part of the message");
        drop(answer);
        assert_eq!(counts(&ledger), [message.len(), 0, 0]);
        drop(kept);
        assert_eq!(counts(&ledger), [0, 0, 0]);
    }

    #[tokio::test]
    async fn what_a_message_becomes_is_refused_before_it_is_decoded() {
        let (sender, kept) = std::sync::mpsc::channel();
        let unary = keeping(sender);
        let code = async |ledger: &Arc<Ledger>, message: &[u8]| {
            let answer = unary.answer(request(message), ledger, Duration::from_secs(60)).await;
            answer.extensions().get().map(Status::code)
        };
        // An empty entry of a map takes two bytes here, and some 700 in memory.
        let empty = [0x12, 0].repeat(50_000);
        assert_eq!(code(&Ledger::new(1 << 20), &empty).await, Some(tonic::Code::ResourceExhausted));
        let ledger = Ledger::new(100 << 20);
        let others = ledger.take(Holding::Received, 90 << 20).unwrap();
        assert_eq!(code(&ledger, &empty).await, Some(tonic::Code::Unavailable));
        drop(others);
        assert_eq!(code(&ledger, &empty).await, None);
        // A large content weighs little beside its bytes.
        assert_eq!(code(&Ledger::new(2_100_000), &predict(1 << 20)).await, None);
        assert_eq!(
            code(&Ledger::new(2_000_000), &predict(1 << 20)).await,
            Some(tonic::Code::Unavailable),
            "no room for the answer"
        );
        assert_eq!(kept.try_iter().count(), 3);
    }
}
