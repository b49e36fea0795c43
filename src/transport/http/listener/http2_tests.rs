//! Clients that are silent, read nothing, or cancel their requests, with handlers that answer and handlers that do not.

use std::time::Duration;

use ::http::HeaderValue;
use actix_http::{Request, Response};
use actix_service::{fn_service, ServiceFactory};
use futures::future::join;
use tfweb_limits::Ledger;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);
const PATIENT: Timeouts = Timeouts { head: LONG, keep_alive: LONG, stall: LONG, stop_stall: LONG, linger: LONG, age: LONG };
/// More bytes than a client's window and the pipe hold together.
const LARGE_BYTES: usize = 1 << 20;
const PIPE_BYTES: usize = 16 << 10;
/// More bytes than the pipe holds, and fewer than h2 buffers. The handler finishes such an answer before the client has read any
/// of it.
const KEPT_BYTES: usize = 256 << 10;

/// The types of frames (RFC 9113, section 6), and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM_END_HEADERS: u8 = 5;
/// The reason with which a client cancels a request.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Serves one connection. `/large` and `/kept` have large answers, `/none` never answers, and all other paths have a short
/// answer.
async fn serve(io: DuplexStream, timeouts: Timeouts, told: watch::Receiver<bool>) {
    let handler = fn_service(|request: Request| async move {
        let body = match request.path() {
            "/none" => std::future::pending::<String>().await,
            "/large" => "a".repeat(LARGE_BYTES),
            "/kept" => "a".repeat(KEPT_BYTES),
            _ => "short".to_owned(),
        };
        Ok(Response::ok().set_body(body).map_into_boxed_body())
    });
    let handler = ServiceFactory::<Request>::new_service(&handler, ()).await.unwrap();
    let shared = Shared {
        timeouts,
        ledger: Ledger::new(1 << 30),
        protocols: std::sync::Arc::new([]),
        request_ids: std::sync::Arc::default(),
        keep_alive: HeaderValue::from_static("timeout=60"),
    };
    super::serve(ClientStream::new(io, &timeouts, Activity::new()), None, &handler, &shared, told).await;
}

/// Runs a client against a server. Returns the client's result. Fails if the server does not end afterwards.
async fn meet<R, F: Future<Output = R>>(timeouts: Timeouts, client: impl FnOnce(DuplexStream, watch::Sender<bool>) -> F) -> R {
    let (io, server) = duplex(PIPE_BYTES);
    let (stop, told) = watch::channel(false);
    let both = join(client(io, stop), serve(server, timeouts, told));
    timeout(LONG / 2, both).await.expect("the connection ends").0
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request without a body. The header names are numbers of HPACK's static table (RFC 7541, appendix A).
fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let head = [&[0x82, 0x86, 0x44, length], path.as_bytes(), &[0x41, 1, b'a']].concat();
    frame(HEADERS, END_STREAM_END_HEADERS, stream, &head)
}

fn greeting() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Allows answers of any size.
fn all_at_once() -> Vec<u8> {
    let window = [0x7f, 0, 0, 0];
    [frame(SETTINGS, 0, 0, &[&[0, 4][..], &window].concat()), frame(WINDOW_UPDATE, 0, 0, &window)].concat()
}

/// Reads the next frame. Returns its type and payload.
async fn next(io: &mut DuplexStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    io.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    io.read_exact(&mut payload).await.ok()?;
    Some((kind, payload))
}

/// Reads until the server closes the connection. Returns the types of its frames, and the reason of each GOAWAY.
async fn read(io: &mut DuplexStream) -> (Vec<u8>, Vec<Reason>) {
    let (mut kinds, mut reasons) = (Vec::new(), Vec::new());
    while let Some((kind, payload)) = next(io).await {
        kinds.push(kind);
        if kind == GOAWAY {
            reasons.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()).into());
        }
    }
    (kinds, reasons)
}

/// Sends bytes. Returns everything that the server answers until it closes the connection.
async fn answer(timeouts: Timeouts, sent: &[&[u8]]) -> (Vec<u8>, Vec<Reason>) {
    let sent = sent.concat();
    let client = |mut io: DuplexStream, stop| async move {
        // The server may close the connection before it has read everything.
        let _ = io.write_all(&sent).await;
        let answer = read(&mut io).await;
        drop(stop);
        answer
    };
    meet(timeouts, client).await
}

#[actix_web::test]
async fn a_client_that_says_nothing_is_given_up() {
    let answer = answer(Timeouts { head: SHORT, ..PATIENT }, &[]).await;
    assert_eq!(answer, (vec![SETTINGS], vec![]));
}

#[actix_web::test]
async fn a_client_that_asks_nothing_is_told_to_go() {
    let (_, reasons) = answer(Timeouts { head: SHORT, linger: SHORT, ..PATIENT }, &[&greeting()]).await;
    assert_eq!(reasons, [Reason::NO_ERROR]);
}

#[actix_web::test]
async fn a_client_that_asks_no_more_is_told_to_go() {
    let timeouts = Timeouts { keep_alive: SHORT, linger: SHORT, ..PATIENT };
    let (kinds, reasons) = answer(timeouts, &[&greeting(), &get(1, "/")]).await;
    assert!(kinds.contains(&DATA) && reasons == [Reason::NO_ERROR], "{kinds:?} {reasons:?}");
}

#[actix_web::test]
async fn an_old_connection_is_told_to_go_after_what_it_has_asked() {
    let client = |mut io: DuplexStream, stop| async move {
        io.write_all(&[greeting(), get(1, "/none")].concat()).await.unwrap();
        let mut asks = true;
        while let Some((kind, payload)) = next(&mut io).await {
            if kind == GOAWAY && std::mem::take(&mut asks) {
                assert_eq!(payload[4..8], u32::from(Reason::NO_ERROR).to_be_bytes());
                // A request of the same moment is answered. The open request ends after it.
                io.write_all(&[get(3, "/"), frame(RST_STREAM, 0, 1, &CANCEL)].concat()).await.unwrap();
            }
            if kind == DATA {
                drop(stop);
                return payload;
            }
        }
        panic!("the connection ends without an answer");
    };
    assert_eq!(meet(Timeouts { age: SHORT, ..PATIENT }, client).await, b"short");
}

#[actix_web::test]
async fn a_head_that_does_not_end_is_no_request() {
    let begun = frame(HEADERS, 0, 1, &[0x82, 0x86, 0x84]);
    let (_, reasons) = answer(Timeouts { head: SHORT, linger: SHORT, ..PATIENT }, &[&greeting(), &begun]).await;
    assert_eq!(reasons, [Reason::NO_ERROR]);
}

#[actix_web::test]
async fn a_head_without_an_end_ends_the_connection() {
    let begun = frame(HEADERS, 0, 1, &[0x82, 0x86, 0x84]);
    let more = frame(CONTINUATION, 0, 1, &[]).repeat(10_000);
    let (_, reasons) = answer(PATIENT, &[&greeting(), &begun, &more]).await;
    assert_eq!(reasons, [Reason::ENHANCE_YOUR_CALM]);
}

#[actix_web::test]
async fn an_answer_for_which_a_client_makes_no_room_is_given_up() {
    let timeouts = Timeouts { stall: SHORT, keep_alive: SHORT, linger: SHORT, ..PATIENT };
    let (kinds, reasons) = answer(timeouts, &[&greeting(), &get(1, "/large")]).await;
    assert!(kinds.contains(&DATA) && kinds.contains(&RST_STREAM), "{kinds:?}");
    assert_eq!(reasons, [Reason::NO_ERROR], "the connection goes on until it is idle");
}

#[actix_web::test]
async fn a_client_that_reads_nothing_is_given_up() {
    let client = |mut io: DuplexStream, stop: watch::Sender<bool>| async move {
        io.write_all(&[greeting(), all_at_once(), get(1, "/large")].concat()).await.unwrap();
        stop.closed().await;
    };
    meet(Timeouts { stall: SHORT, ..PATIENT }, client).await;
}

/// The clock is the test's own: the client's sleep takes no time, and the server's limits pass within it.
#[tokio::test(start_paused = true)]
async fn a_stop_cuts_no_answer_off_that_its_client_takes_late() {
    let client = |mut io: DuplexStream, stop: watch::Sender<bool>| async move {
        io.write_all(&[greeting(), all_at_once(), get(1, "/kept")].concat()).await.unwrap();
        while next(&mut io).await.is_some_and(|(kind, _)| kind != HEADERS) {}
        stop.send_replace(true);
        tokio::time::sleep(5 * SHORT).await;
        let mut bytes = 0;
        while let Some((kind, payload)) = next(&mut io).await {
            bytes += if kind == DATA { payload.len() } else { 0 };
        }
        bytes
    };
    assert_eq!(meet(Timeouts { linger: SHORT, ..PATIENT }, client).await, KEPT_BYTES);
}

#[actix_web::test]
async fn a_stop_waits_for_no_client_that_has_no_request() {
    let client = |mut io: DuplexStream, stop: watch::Sender<bool>| async move {
        io.write_all(&[greeting(), get(1, "/")].concat()).await.unwrap();
        while next(&mut io).await.is_some_and(|(kind, _)| kind != DATA) {}
        stop.send_replace(true);
        read(&mut io).await.1
    };
    assert_eq!(meet(Timeouts { linger: SHORT, ..PATIENT }, client).await, [Reason::NO_ERROR]);
}

#[actix_web::test]
async fn a_client_that_goes_on_asking_after_a_stop_is_refused() {
    let client = |mut io: DuplexStream, stop: watch::Sender<bool>| async move {
        // The first request gets no answer, so the connection is never idle.
        io.write_all(&[greeting(), all_at_once(), get(1, "/none")].concat()).await.unwrap();
        // The client does not answer the server's pings, so the server cannot know whether it has read the GOAWAY.
        for stream in (3..).step_by(2) {
            io.write_all(&get(stream, "/")).await.unwrap();
            let answered = loop {
                let (kind, payload) = next(&mut io).await.unwrap();
                if kind == HEADERS || kind == RST_STREAM {
                    break (kind, payload);
                }
            };
            stop.send_replace(true);
            if answered.0 == RST_STREAM {
                assert_eq!(answered.1, u32::from(Reason::REFUSED_STREAM).to_be_bytes());
                break;
            }
        }
        io.write_all(&frame(RST_STREAM, 0, 1, &CANCEL)).await.unwrap();
        read(&mut io).await;
    };
    meet(Timeouts { linger: SHORT, ..PATIENT }, client).await;
}

#[actix_web::test]
async fn requests_that_are_taken_back_again_and_again_end_the_connection() {
    let client = |mut io: DuplexStream, stop| async move {
        io.write_all(&greeting()).await.unwrap();
        for stream in (1..5 * RESETS_MAX).step_by(2) {
            for sent in [get(stream, "/none"), frame(RST_STREAM, 0, stream, &CANCEL)] {
                // This lets the server run, so that it sees the request.
                tokio::task::yield_now().await;
                if io.write_all(&sent).await.is_err() {
                    drop(stop);
                    return (read(&mut io).await.1, stream / 2);
                }
            }
        }
        panic!("as if nothing was");
    };
    let (reasons, taken_back) = meet(PATIENT, client).await;
    assert_eq!(reasons, [Reason::ENHANCE_YOUR_CALM]);
    assert!((RESETS_MAX..RESETS_MAX + 5).contains(&taken_back), "{taken_back}");
}
