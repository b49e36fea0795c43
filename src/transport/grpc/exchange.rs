//! One call on its connection: hands the request to the services, and sends the answer as fast as the client takes it.

use std::future::{poll_fn, Future};
use std::net::IpAddr;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body as _, Frame};
use tfweb_limits::Holding;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, Uri};
use tonic::codegen::Service;
use tonic::Status;

use super::call::refusal;
use super::connections::OpenConnection;
use super::gate::Gate;
use super::observe::{Client, Observed};
use crate::transport::body_limits::no_room;

/// All services, behind the gate and observed.
pub(super) type CallServices = Observed<Gate>;

/// The most bytes of an answer that the client must take within its time. A client that takes fewer would hold an answer for as
/// long as it likes.
const TURN_BYTES: usize = 64 << 10;
/// The memory of a header beside its text. The map that holds it may have grown to twice its size.
const HEADER_BYTES: usize = 256;
/// The memory of a call beside its head and messages: its task, and its place in h2. A test measures it.
const CALL_BYTES: usize = 8 << 10;

/// How a call ended.
pub(super) enum Ended {
    /// It was answered, or its client did not take the answer.
    Answered,
    /// The client cancelled it before its answer.
    Cancelled,
}

/// Answers a call. If this is dropped, the service's future is dropped too.
pub(super) async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    client: Option<IpAddr>,
    open: Arc<OpenConnection>,
    mut services: CallServices,
    stall: Duration,
) -> Ended {
    let _head = match services.inner().ledger().take(Holding::Heads, head_bytes(request.headers())) {
        Ok(share) => share,
        Err(full) => return send(refusal(&no_room(full)).into_http(), respond, stall).await,
    };
    let mut request = request.map(|stream| Body::new(Incoming(stream)));
    // The path that h2 gives is a window onto the buffer in which the head has come. A copy holds no more than its own bytes.
    *request.uri_mut() = Uri::try_from(request.uri().path()).unwrap_or_default();
    request.extensions_mut().insert(Client(client));
    request.extensions_mut().insert(open);
    let mut answering = pin!(services.call(request));
    let answered = poll_fn(|context| {
        // Checked first, so that a call that is cancelled at once costs nothing.
        if respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        answering.as_mut().poll(context).map(Result::ok)
    });
    match answered.await {
        Some(answer) => send(answer, respond, stall).await,
        None => Ended::Cancelled,
    }
}

fn head_bytes(headers: &HeaderMap) -> usize {
    let texts: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    CALL_BYTES + texts + headers.len() * HEADER_BYTES
}

/// The messages of a call as they arrive. Reading them lets the client send more.
struct Incoming(RecvStream);

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let ended = |error: h2::Error| Status::cancelled(format!("the message has ended early: {error}"));
        Poll::Ready(ready!(self.0.poll_data(context)).map(|data| {
            let data = data.map_err(ended)?;
            self.0.flow_control().release_capacity(data.len()).map_err(ended)?;
            Ok(Frame::data(data))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

async fn send(answer: Response<Body>, mut respond: SendResponse<Bytes>, stall: Duration) -> Ended {
    let (head, body) = answer.into_parts();
    let is_whole = body.is_end_stream();
    if let (Ok(stream), false) = (respond.send_response(Response::from_parts(head, ()), is_whole), is_whole) {
        // An error means that the client has left.
        let _ = send_body(body, stream, stall).await;
    }
    Ended::Answered
}

/// Sends the messages and the trailers of an answer. Returning early drops the stream, which resets it.
async fn send_body(body: Body, mut stream: SendStream<Bytes>, stall: Duration) -> Result<(), h2::Error> {
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|context| {
            // A stream whose client has left would wait for its next message.
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            body.as_mut().poll_frame(context).map(Some)
        });
        let trailers = match frame.await {
            None => return Ok(()),
            Some(None) => return stream.send_data(Bytes::new(), true),
            Some(Some(Err(status))) => trailers(&status),
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(mut bytes) => {
                    while !bytes.is_empty() {
                        let turn = bytes.split_to(bytes.len().min(TURN_BYTES));
                        let Ok(sent) = timeout(stall, send_turn(turn, &mut stream)).await else {
                            stream.send_reset(Reason::CANCEL);
                            return Ok(());
                        };
                        sent?;
                    }
                    continue;
                }
                Err(frame) => frame.into_trailers().unwrap_or_default(),
            },
        };
        return stream.send_trailers(trailers);
    }
}

async fn send_turn(mut bytes: Bytes, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        while stream.capacity() == 0 {
            match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(capacity) => drop(capacity?),
                None => return Err(Reason::CANCEL.into()),
            }
        }
        let most = stream.capacity().min(bytes.len());
        stream.send_data(bytes.split_to(most), false)?;
    }
    Ok(())
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // A text that is no header cannot be sent; the code alone says it then.
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
    }
    trailers
}
