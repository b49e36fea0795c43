//! Calls of one message: their time, and the memory that they take from their arrival to their answer.

use futures::FutureExt;
use tfweb_proto::tensorflow::serving::{PredictRequest, PredictResponse};
use tfweb_proto::tensorflow::TensorProto;
use tfweb_proto::weight::Weights;
use tfweb_proto::DESCRIPTORS;

use super::*;
use crate::transport::elsewhere::all_places;

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

/// A method whose answer has `bytes` bytes, and shows outputs of as many.
fn showing(bytes: usize) -> Unary {
    let call = move |call: Call<PredictRequest>| {
        let mut outputs = Outputs::from(vec![Tensor::from_vec(&[bytes], vec![1_u8; bytes])]);
        let taken = call.head.memory.take_outputs(&mut outputs, 0);
        let tensor = TensorProto { tensor_content: vec![1; bytes].into(), ..TensorProto::default() };
        let outputs = [("y".to_owned(), tensor)].into();
        ready(taken.map(|()| PredictResponse { outputs, model_spec: None }))
    };
    Unary::new(call, Weights::read(DESCRIPTORS).unwrap().of_method(PATH).unwrap(), LIMIT)
}

#[tokio::test]
async fn what_an_answer_shows_counts_until_it_is_encoded() {
    for bytes in [INLINE_BYTES_MAX / 2, 2 * INLINE_BYTES_MAX] {
        let answer = async |bytes_max| {
            let ledger = Ledger::new(bytes_max);
            let answer = showing(bytes).answer(request(&[]), &ledger, Duration::from_secs(60)).await;
            let code = answer.extensions().get().map(Status::code);
            (code, counts(&ledger)[2] / bytes, answer)
        };
        let (code, held, _) = answer(2 * bytes).await;
        assert_eq!((code, held), (Some(tonic::Code::Unavailable), 0), "no room for the outputs and the answer together");
        let (code, held, _answer) = answer(3 * bytes).await;
        assert_eq!((code, held), (None, 1), "the outputs are gone");
    }
}

#[tokio::test]
async fn a_large_answer_is_encoded_on_another_thread_within_its_time() {
    let ledger = Ledger::new(1 << 30);
    let code = async |bytes| {
        let answer = showing(bytes).answer(request(&[]), &ledger, Duration::from_millis(50)).await;
        answer.extensions().get().map(Status::code)
    };
    let all = all_places().await;
    assert_eq!(code(2 * INLINE_BYTES_MAX).await, Some(tonic::Code::DeadlineExceeded), "no thread is free");
    drop(all);
    assert_eq!(counts(&ledger), [0; 3]);
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
    assert_eq!(code(&Ledger::new(2_000_000), &predict(1 << 20)).await, Some(tonic::Code::Unavailable), "no room for the answer");
    assert_eq!(kept.try_iter().count(), 3);
}
