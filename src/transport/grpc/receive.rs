//! Receives the messages of a service whose calls take one message and give one. Counts the bytes into the memory of all requests
//! as they arrive, inflates compressed messages, and ends calls whose time is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tfweb_limits::{Deadline, Encoding, Holding, InflateError, Inflater, Share, Stage};
use tokio::time::{sleep_until, Sleep};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::Status;

use super::call::refusal;
use super::message_limit::{self, PREFIX_BYTES};
use crate::transport::body_limits::{no_room, BodyLimits};

/// The headers of gRPC over HTTP/2.
const TIMEOUT: &str = "grpc-timeout";
const ENCODING: &str = "grpc-encoding";
/// The most digits of a time-out in a header (gRPC over HTTP/2, `TimeoutValue`).
const TIMEOUT_DIGITS_MAX: usize = 8;

/// Notes in each request when it came. tonic has a timer of its own for the caller's time-out, and answers CANCELLED when it
/// fires. A deadline that counts from this note always comes before it.
#[derive(Clone)]
pub(super) struct StampArrival<S>(pub(super) S);

#[derive(Clone, Copy)]
struct Arrival(Instant);

impl<S: Service<Request<Body>>> Service<Request<Body>> for StampArrival<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(Arrival(Instant::now()));
        self.0.call(request)
    }
}

/// A service with its limits.
#[derive(Clone)]
pub(super) struct Receive<S> {
    service: S,
    limits: BodyLimits,
    request_timeout: Duration,
}

impl<S> Receive<S> {
    /// Wraps a service. Its calls have `request_timeout`, or less if the caller asks for less.
    pub(super) fn new(service: S, limits: BodyLimits, request_timeout: Duration) -> Self {
        Self { service, limits, request_timeout }
    }
}

impl<S: NamedService> NamedService for Receive<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Receive<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let now = head.extensions.get().map_or_else(Instant::now, |Arrival(at)| *at);
        let asked = head.headers.get(TIMEOUT).and_then(|value| timeout(value.to_str().ok()?));
        let time = asked.map_or(self.request_timeout, |asked| asked.min(self.request_timeout));
        let deadline = Deadline::of(now, time);
        head.extensions.insert(deadline);
        let share = Arc::new(Mutex::new(self.limits.ledger.empty(Holding::Received)));
        // tonic refuses an encoding that is not known here.
        let name = head.headers.get(ENCODING).and_then(|name| name.to_str().ok());
        let encoding = name.and_then(Encoding::named).filter(|encoding| *encoding != Encoding::Identity);
        if encoding.is_some() {
            head.headers.remove(ENCODING);
        }
        let bytes_max = self.limits.body_bytes_max;
        let inflating = encoding.map(|encoding| Inflating { encoding, bytes_max, prefix: Vec::new(), left: 0, inflater: None });
        let message =
            Message { body, share: Arc::clone(&share), received: 0, bytes_max, inflating, inflated: None, deadline, over: None };
        let answer = self.service.call(Request::from_parts(head, Body::new(message)));
        Answering { answer, share, over: asked.map(|asked| Deadline::of(now, asked)) }
    }
}

/// Reads a time-out from its header: digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = !digits.is_empty() && digits.len() <= TIMEOUT_DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The answer to a call, with the call's share of the memory of all requests.
pub(super) struct Answering<F> {
    answer: F,
    #[allow(dead_code, reason = "it is held")]
    share: Arc<Mutex<Share>>,
    /// The end of the time that the caller gave.
    over: Option<Deadline>,
}

impl<F: Future<Output = Result<Response<Body>, E>> + Unpin, E> Future for Answering<F> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(context) {
            return Poll::Ready(answer);
        }
        // tonic's own timer wakes this task at that time.
        if self.over.is_none_or(|over| !over.has_passed(Instant::now())) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(refusal(&Deadline::passed(Stage::Unknown)).into_http()))
    }
}

/// A message that arrives.
struct Message {
    body: Body,
    share: Arc<Mutex<Share>>,
    /// The bytes so far.
    received: usize,
    bytes_max: usize,
    inflating: Option<Inflating>,
    /// The inflated message, after its prefix has been passed on.
    inflated: Option<Bytes>,
    deadline: Deadline,
    /// Fires at the deadline. Most messages are complete before they need it.
    over: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(inflated) = this.inflated.take() {
                return Poll::Ready(Some(Ok(Frame::data(inflated))));
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                let over = this.over.get_or_insert_with(|| Box::pin(sleep_until(this.deadline.instant().into())));
                ready!(over.as_mut().poll(context));
                return Poll::Ready(Some(Err(refusal(&Deadline::passed(Stage::ReadMessage)))));
            };
            let Some(data) = frame.transpose()?.and_then(|frame| frame.into_data().ok()) else {
                let Some(inflating) = this.inflating.take() else { return Poll::Ready(None) };
                let message = inflating.finish()?;
                // The inflater gives its last bytes only here.
                this.take(message.len() - this.received)?;
                let prefix = Frame::data(prefix(message.len())?);
                this.inflated = Some(message);
                return Poll::Ready(Some(Ok(prefix)));
            };
            let Some(inflating) = &mut this.inflating else {
                this.take(data.len())?;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            };
            let before = inflating.inflated_bytes();
            inflating.push(data)?;
            let grown = inflating.inflated_bytes() - before;
            this.take(grown)?;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.inflating.is_none() && self.inflated.is_none()
    }
}

impl Message {
    /// Takes a share of the memory of all requests for more bytes.
    fn take(&mut self, bytes: usize) -> Result<(), Status> {
        self.received += bytes;
        // The prefix limits one message, but a client can send messages without end.
        if self.received > self.bytes_max + PREFIX_BYTES {
            return Err(too_large(self.bytes_max));
        }
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        share.grow(bytes).map_err(|full| refusal(&no_room(full)))
    }
}

fn too_large(bytes_max: usize) -> Status {
    message_limit::too_large(bytes_max, "more; raise --grpc_message_size")
}

fn prefix(length: usize) -> Result<Bytes, Status> {
    let length = u32::try_from(length).map_err(|_| Status::resource_exhausted("a message of more than 4 GiB"))?;
    Ok([&[0][..], &length.to_be_bytes()].concat().into())
}

/// A message that comes compressed, if its prefix says so.
struct Inflating {
    encoding: Encoding,
    bytes_max: usize,
    prefix: Vec<u8>,
    /// The missing bytes of the message.
    left: usize,
    inflater: Option<Inflater>,
}

impl Inflating {
    fn push(&mut self, mut data: Bytes) -> Result<(), Status> {
        let missing = (PREFIX_BYTES - self.prefix.len()).min(data.len());
        self.prefix.extend_from_slice(&data.split_to(missing));
        if self.inflater.is_none() {
            let Some((flag, mut length)) = self.prefix.split_first().filter(|(_, length)| length.len() == PREFIX_BYTES - 1) else {
                return Ok(());
            };
            let encoding = match flag {
                0 => Encoding::Identity,
                1 => self.encoding,
                flag => return Err(Status::internal(format!("a message's compressed flag is 0 or 1, got {flag}"))),
            };
            self.left = length.get_u32() as usize;
            self.inflater = Some(Inflater::new(encoding, self.bytes_max, 0));
        }
        self.left = self.left.checked_sub(data.len()).ok_or_else(|| Status::internal("expected one message, got more"))?;
        let Some(inflater) = &mut self.inflater else { return Ok(()) };
        inflater.push(&data).map_err(|error| self.refusal(error))
    }

    fn inflated_bytes(&self) -> usize {
        self.inflater.as_ref().map_or(0, Inflater::inflated_bytes)
    }

    fn finish(mut self) -> Result<Bytes, Status> {
        let inflater = self.inflater.take().filter(|_| self.left == 0);
        let inflater = inflater.ok_or_else(|| Status::internal("the message ended early"))?;
        inflater.finish().map(Bytes::from).map_err(|error| self.refusal(error))
    }

    fn refusal(&self, error: InflateError) -> Status {
        match error {
            InflateError::TooLarge => too_large(self.bytes_max),
            InflateError::Damaged(what) => Status::internal(format!("the message cannot be inflated: {what}")),
        }
    }
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
