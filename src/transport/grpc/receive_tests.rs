//! Messages that are slow, many, endless, compressed or late, with a service that reads them to their end.

use std::convert::Infallible;
use std::io::Write as _;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::Compression;
use futures::channel::mpsc::{unbounded, UnboundedReceiver, UnboundedSender};
use futures::future::poll_fn;
use futures::{FutureExt, StreamExt};
use http_body::Body as _;
use tfweb_limits::{Holding, Ledger};
use tonic::codegen::BoxFuture;
use tonic::Code;

use super::*;

const MESSAGE_BYTES_MAX: usize = 100;
const LONG: Duration = Duration::from_secs(60);
const LENGTH: &str = "length";

/// A service that reads a message and answers with its length, or that never answers.
#[derive(Clone)]
struct Reader {
    answers: bool,
}

impl Service<Request<Body>> for Reader {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answers = self.answers;
        Box::pin(async move {
            let (head, mut body) = request.into_parts();
            assert!(!head.headers.contains_key(ENCODING), "whatever is passed on is not compressed");
            let mut message = Vec::new();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                match frame {
                    Ok(frame) => message.extend_from_slice(&frame.into_data().unwrap()),
                    Err(status) => return Ok(status.into_http()),
                }
            }
            if !answers {
                std::future::pending::<()>().await;
            }
            let mut answer = Response::builder().header(LENGTH, message.len()).body(Body::empty()).unwrap();
            answer.extensions_mut().insert(*head.extensions.get::<Deadline>().unwrap());
            Ok(answer)
        })
    }
}

/// A message whose pieces a test sends.
struct Pieces(UnboundedReceiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_next_unpin(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

struct Call {
    pieces: Option<UnboundedSender<Bytes>>,
    answer: Answering<BoxFuture<Response<Body>, Infallible>>,
}

impl Call {
    fn send(&self, bytes: impl Into<Bytes>) {
        self.pieces.as_ref().unwrap().unbounded_send(bytes.into()).unwrap();
    }

    /// The answer so far: the number of bytes, or the error's code.
    fn poll(&mut self) -> Option<Result<usize, Code>> {
        (&mut self.answer).now_or_never().map(|answer| read(&answer.unwrap()))
    }

    /// The answer after the last piece.
    fn end(&mut self) -> Result<usize, Code> {
        self.pieces = None;
        self.poll().expect("everything is here")
    }
}

fn read(answer: &Response<Body>) -> Result<usize, Code> {
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().parse::<i32>().unwrap());
    match header("grpc-status") {
        Some(code) => Err(Code::from(code)),
        None => Ok(usize::try_from(header(LENGTH).unwrap()).unwrap()),
    }
}

struct TestService {
    ledger: Arc<Ledger>,
    answers: bool,
    time: Duration,
}

impl TestService {
    fn new(bytes_max: usize) -> Self {
        Self { ledger: Ledger::new(bytes_max), answers: true, time: LONG }
    }

    fn call(&self, headers: &[(&str, &str)]) -> Call {
        let limits = BodyLimits { body_bytes_max: MESSAGE_BYTES_MAX, ledger: Arc::clone(&self.ledger) };
        let (pieces, receiver) = unbounded();
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::new(Pieces(receiver))).unwrap();
        let answer = Receive::new(Reader { answers: self.answers }, limits, self.time).call(request);
        Call { pieces: Some(pieces), answer }
    }
}

#[actix_web::test]
async fn messages_that_arrive_share_one_room() {
    let service = TestService::new(150);
    let mut slow: Vec<Call> = (0..3).map(|_| service.call(&[])).collect();
    for call in &mut slow {
        call.send(vec![0; 60]);
    }
    assert_eq!(slow.iter_mut().map(Call::poll).collect::<Vec<_>>(), [None, None, Some(Err(Code::Unavailable))]);
    let mut neighbour = service.call(&[]);
    neighbour.send(vec![0; 10]);
    assert_eq!(neighbour.end(), Ok(10));
    drop(neighbour);
    slow[0].send(vec![0; 20]);
    assert_eq!(slow[0].end(), Ok(80));
    slow.clear();
    let mut next = service.call(&[]);
    next.send(vec![0; 90]);
    assert_eq!(next.end(), Ok(90));
}

#[actix_web::test]
async fn a_message_has_its_room_until_it_is_answered() {
    let service = TestService { answers: false, ..TestService::new(100) };
    let mut first = service.call(&[]);
    first.send(vec![0; 90]);
    first.pieces = None;
    assert_eq!(first.poll(), None);
    let mut second = service.call(&[]);
    second.send(vec![0; 20]);
    assert_eq!(second.poll(), Some(Err(Code::Unavailable)));
    drop(first);
    assert_eq!(service.ledger.shares(Holding::Received), 1);
    drop(second);
    assert_eq!(service.ledger.shares(Holding::Received), 0);
}

#[actix_web::test]
async fn there_is_an_end_of_messages() {
    let service = TestService::new(1 << 20);
    let mut call = service.call(&[]);
    call.send(vec![0; PREFIX_BYTES + MESSAGE_BYTES_MAX]);
    assert_eq!(call.poll(), None);
    call.send(vec![0; 1]);
    assert_eq!(call.poll(), Some(Err(Code::ResourceExhausted)));
}

#[actix_web::test]
async fn a_message_that_stops_coming_is_given_up() {
    let service = TestService { time: Duration::from_millis(20), ..TestService::new(1 << 20) };
    let call = service.call(&[]);
    call.send(vec![0; 10]);
    assert_eq!(read(&call.answer.await.unwrap()), Err(Code::DeadlineExceeded));
}

#[actix_web::test]
async fn a_caller_whose_time_is_over_is_told_so() {
    let service = TestService { answers: false, ..TestService::new(1 << 20) };
    let mut call = service.call(&[(TIMEOUT, "30m")]);
    // The message is complete; the answer takes too long.
    call.pieces = None;
    assert_eq!(call.poll(), None);
    // tonic's timer is such a one: it polls the call a last time, and then looks at the clock.
    let answer = tokio::time::timeout(Duration::from_millis(30), call.answer).await.expect("an answer before tonic's own");
    assert_eq!(read(&answer.unwrap()), Err(Code::DeadlineExceeded));
}

#[actix_web::test]
async fn time_counts_from_the_arrival() {
    let limits = BodyLimits { body_bytes_max: MESSAGE_BYTES_MAX, ledger: Ledger::new(100) };
    let service = Receive::new(Reader { answers: true }, limits, LONG);
    let arrival = Arrival(Instant::now());
    let request = || Request::builder().header(TIMEOUT, "10S").body(Body::empty()).unwrap();
    let mut late = request();
    late.extensions_mut().insert(arrival);
    let deadline = |answer: Response<Body>| answer.extensions().get::<Deadline>().unwrap().instant();
    let answer = service.clone().call(late).await.unwrap();
    assert_eq!(deadline(answer), arrival.0 + Duration::from_secs(10), "the caller's time, which is less than the server's");
    let answer = StampArrival(service).call(request()).await.unwrap();
    assert!(deadline(answer) > arrival.0 + Duration::from_secs(10));
}

fn compressed(plain: &[u8], encoding: &str) -> Vec<u8> {
    let message = if encoding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    framed(1, &message)
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[actix_web::test]
async fn compressed_messages_are_inflated_in_pieces_of_any_size() {
    let service = TestService::new(1 << 20);
    for encoding in ["gzip", "deflate"] {
        for bytes in [compressed(&[7; 90], encoding), framed(0, &[7; 90])] {
            for size in [1, 4, 6, 1000] {
                let mut call = service.call(&[(ENCODING, encoding)]);
                bytes.chunks(size).for_each(|piece| call.send(piece.to_vec()));
                assert_eq!(call.end(), Ok(PREFIX_BYTES + 90), "{encoding} in pieces of {size}");
            }
        }
    }
}

#[actix_web::test]
async fn what_is_inflated_counts() {
    let service = TestService { answers: false, ..TestService::new(150) };
    let bytes = compressed(&[0; 90], "gzip");
    let mut first = service.call(&[(ENCODING, "gzip")]);
    first.send(bytes.clone());
    first.pieces = None;
    assert_eq!(first.poll(), None);
    let mut second = service.call(&[(ENCODING, "gzip")]);
    second.send(bytes);
    assert_eq!(second.end(), Err(Code::Unavailable));
}

#[actix_web::test]
async fn what_cannot_be_inflated_is_refused() {
    let refuse = |bytes: Vec<u8>| {
        let mut call = TestService::new(1 << 20).call(&[(ENCODING, "gzip")]);
        call.send(bytes);
        call.end().unwrap_err()
    };
    let valid = compressed(&[0; 90], "gzip");
    assert_eq!(refuse(compressed(&vec![0; 10 << 20], "gzip")), Code::ResourceExhausted, "a bomb");
    assert_eq!(refuse(framed(0, &[0; MESSAGE_BYTES_MAX + 1])), Code::ResourceExhausted);
    assert_eq!(refuse(valid[..valid.len() - 1].to_vec()), Code::Internal, "ended early");
    assert_eq!(refuse(valid[..3].to_vec()), Code::Internal, "ended in the prefix");
    assert_eq!(refuse(Vec::new()), Code::Internal, "nothing came");
    assert_eq!(refuse([valid.clone(), vec![0]].concat()), Code::Internal, "more than one");
    assert_eq!(refuse(framed(1, &[0; 20])), Code::Internal, "no gzip");
    assert_eq!(refuse(framed(2, &valid[PREFIX_BYTES..])), Code::Internal, "no such flag");
}

#[test]
fn timeouts_are_read() {
    let cases = [("1S", 1_000_000), ("20m", 20_000), ("3u", 3), ("99999999n", 99_999), ("2M", 120_000_000), ("1H", 3_600_000_000)];
    for (text, micros) in cases {
        assert_eq!(timeout(text).map(|wait| wait.as_micros()), Some(micros), "{text}");
    }
    for text in ["", "S", "1", "123456789S", "-1S", "+1S", "1.5S", "1s", "1é"] {
        assert_eq!(timeout(text), None, "{text}");
    }
}
