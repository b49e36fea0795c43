//! One request of an HTTP/2 connection.

use std::convert::Infallible;
use std::future::{pending, poll_fn, Future};
use std::net::SocketAddr;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;

use ::http::header::{DATE, EXPECT};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use actix_http::header::HttpDate;
use actix_http::{ConnectionType, Response};
use bytes::Bytes;
use futures::future::{select, Either};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body::Body as _;
use tfweb_limits::Holding;
use tokio::sync::watch;
use tokio::time::{sleep, timeout, timeout_at};

use super::activity::Activity;
use super::answer_body::{self, AnswerBody};
use super::handler::{Handler, Shared};
use super::request_body::RequestBody;
use super::timeouts::{closing, Timeouts, ANSWER_BYTES_PER_SECOND, DISCARD_BYTES_MAX};
use super::translate;
use crate::transport::body_limits::no_room;
use crate::transport::http::error;
use crate::transport::http::pace::Pace;

/// The most bytes of an answer that ask for window at once. Answers side by side take turns, so that none waits for another.
const TURN_BYTES: usize = 16 << 10;

/// How a request ended.
pub(super) enum Ended {
    /// The server answered it. The answer may tell the client to close its connection.
    Answered { says_close: bool },
    /// The client cancelled it before its answer.
    Cancelled,
}

/// The connection of a request.
pub(super) struct Origin<'a, S> {
    pub(super) peer: Option<SocketAddr>,
    pub(super) handler: &'a S,
    pub(super) shared: &'a Shared,
    pub(super) activity: Rc<Activity>,
    pub(super) closing_signal: watch::Receiver<bool>,
}

/// Answers a request. If this is dropped, the handler's future is dropped too. If the handler has not read the whole body, the
/// rest is thrown away meanwhile, and for a moment after the answer: some clients do not read an answer while they still send. A
/// request whose client goes on sending is reset.
pub(super) async fn answer(
    request: ::http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    origin: &Origin<'_, impl Handler>,
) -> Ended {
    let running = origin.activity.begin();
    let (parts, stream) = request.into_parts();
    let is_head = parts.method == ::http::Method::HEAD;
    let expects = expects_continue(&parts.headers);
    let body = RequestBody::new(stream, Rc::clone(&origin.activity));
    let ledger = &origin.shared.ledger;
    let mut share = ledger.empty(Holding::Heads);
    let answer = match origin.shared.count(&mut share, &parts) {
        Err(full) => error::respond(&no_room(full)).into(),
        Ok(()) => match translate::request(parts, origin.peer, body.payload()) {
            None => Response::bad_request().map_into_boxed_body(),
            Some(request) => {
                let answering = origin.handler.call(request);
                match unless_cancelled(answering, &mut respond, &body, expects).await {
                    None => return Ended::Cancelled,
                    Some(answered) => answered.unwrap_or_else(|refusal| refusal),
                }
            }
        },
    };
    let says_close = answer.head().connection_type() == ConnectionType::Close;
    let (answer, answer_body) = answer_body::take(answer, share, ledger, running);
    let sending = pin!(send(answer, answer_body, is_head, respond, &origin.shared.timeouts, &origin.closing_signal));
    let discarding = pin!(async {
        if !body.discard(DISCARD_BYTES_MAX).await {
            return;
        }
        pending::<Infallible>().await;
    });
    // Where discarding ends first, the answer is dropped, which resets the request.
    if let Either::Left(((), discarding)) = select(sending, discarding).await {
        if !body.has_ended() {
            let _ = timeout(origin.shared.timeouts.linger, discarding).await;
        }
    }
    Ended::Answered { says_close }
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Waits for an answer; `None` if the client cancels the request. Tells a client that expects it to send its body.
async fn unless_cancelled<A>(
    answering: impl Future<Output = A>,
    respond: &mut SendResponse<Bytes>,
    body: &RequestBody<RecvStream>,
    mut expects: bool,
) -> Option<A> {
    let mut answering = pin!(answering);
    poll_fn(|cx| {
        // Checked first, so that a request that is cancelled at once costs nothing.
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        let answered = answering.as_mut().poll(cx).map(Some);
        if answered.is_pending() && expects && body.is_requested() {
            expects = false;
            send_continue(respond);
        }
        answered
    })
    .await
}

/// Tells a waiting client to send its body.
fn send_continue(respond: &mut SendResponse<Bytes>) {
    let mut head = ::http::Response::new(());
    *head.status_mut() = StatusCode::CONTINUE;
    // If this fails, the request has ended.
    let _ = respond.send_informational(head);
}

async fn send(
    answer: Response<()>,
    body: AnswerBody,
    is_head: bool,
    mut respond: SendResponse<Bytes>,
    timeouts: &Timeouts,
    closing_signal: &watch::Receiver<bool>,
) {
    let size = body.size();
    let has_body = !is_head && !size.is_eof() && !matches!(answer.status().as_u16(), 204 | 304);
    let Some(mut head) = translate::answer(answer.head(), size) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    };
    if !head.headers.contains_key(DATE) {
        let now = HeaderValue::try_from(HttpDate::from(SystemTime::now()).to_string());
        head.headers.insert(DATE, now.expect("a date is a header's value; this is a bug"));
    }
    // A client that cancels while it is answered has already cost its run, so this does not count as cancelled.
    if let (Ok(stream), true) = (respond.send_response(::http::Response::from_parts(head, ()), !has_body), has_body) {
        let _ = send_body(body, stream, timeouts, closing_signal).await;
    }
}

/// Sends a body as fast as the client reads it.
async fn send_body(
    mut body: AnswerBody,
    mut stream: SendStream<Bytes>,
    timeouts: &Timeouts,
    closing_signal: &watch::Receiver<bool>,
) -> Result<(), h2::Error> {
    let mut pace = Pace::new(timeouts.stall, ANSWER_BYTES_PER_SECOND);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Some(mut bytes) = frame.ok().and_then(|frame| frame.into_data().ok()) else {
            stream.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        };
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len().min(TURN_BYTES));
            while stream.capacity() == 0 {
                let stopped = async {
                    closing(closing_signal.clone()).await;
                    sleep(timeouts.stop_stall).await;
                };
                let capacity = tokio::select! {
                    capacity = timeout_at(pace.end(), poll_fn(|cx| stream.poll_capacity(cx))) => capacity,
                    () = stopped => return Ok(()),
                };
                // Returning drops the stream, which resets it.
                let Ok(Some(capacity)) = capacity else { return Ok(()) };
                capacity?;
            }
            let most = stream.capacity().min(bytes.len());
            pace.moved(most);
            stream.send_data(bytes.split_to(most), false)?;
        }
    }
    stream.send_data(Bytes::new(), true)
}
