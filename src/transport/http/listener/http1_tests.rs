//! Clients that send much ahead, read nothing, send bodies to nobody, or begin a request and do not go on.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{Request, Response as Answer};
use actix_service::{fn_service, ServiceFactory};
use futures::future::join;
use tfweb_limits::Ledger;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::super::timeouts::Timeouts;
use super::*;
use crate::transport::http::protocol::HttpProtocol;
use crate::transport::http::routes::Routes;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);
const PATIENT: Timeouts =
    Timeouts { head: LONG, keep_alive: LONG, stall: LONG, stop_stall: LONG, linger: LONG, age: Duration::from_secs(360_000) };
const SECOND: Duration = Duration::from_secs(1);
const PIPE_BYTES: usize = 16 << 10;
const LARGE_BYTES: usize = 1 << 20;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";

/// A protocol with the one open path `/livez`.
struct Probes;

impl HttpProtocol for Probes {
    fn is_open(&self, path: &str) -> bool {
        path == "/livez"
    }

    fn mount(self: Arc<Self>, _: &mut Routes<'_>) {}
}

/// A server, as its client sees it.
struct Seen {
    ledger: Arc<Ledger>,
    requests: Rc<Cell<usize>>,
    stop: watch::Sender<bool>,
}

/// Runs a client against a server. Returns the client's result. Fails if the server does not end afterwards.
async fn meet<R, F: Future<Output = R>>(timeouts: Timeouts, client: impl FnOnce(DuplexStream, Seen) -> F) -> R {
    let (io, server) = duplex(PIPE_BYTES);
    let (stop, told) = watch::channel(false);
    // A client may drop its own.
    let _stop = stop.clone();
    let (ledger, requests) = (Ledger::new(1 << 30), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&requests);
    let handler = fn_service(move |request: Request| {
        counted.set(counted.get() + 1);
        async move {
            let body = if request.path() == "/large" { "a".repeat(LARGE_BYTES) } else { "short".to_owned() };
            Ok(Answer::ok().set_body(body).map_into_boxed_body())
        }
    });
    let handler = ServiceFactory::<Request>::new_service(&handler, ()).await.unwrap();
    let shared = Shared {
        timeouts,
        ledger: Arc::clone(&ledger),
        protocols: Arc::new([Arc::new(Probes)]),
        request_ids: Arc::default(),
        keep_alive: HeaderValue::from_static("timeout=60"),
    };
    let stream = ClientStream::new(server, &timeouts, Activity::new());
    let serving = serve(stream, None, &handler, &shared, told);
    timeout(1000 * LONG, join(client(io, Seen { ledger, requests, stop }), serving)).await.expect("the connection ends").0
}

/// Sends as much as the server takes, at most `most` times these bytes. Returns how many times it took.
async fn send_all(io: &mut DuplexStream, bytes: &[u8], most: usize) -> usize {
    for count in 0..most {
        if !matches!(timeout(LONG / 2, io.write_all(bytes)).await, Ok(Ok(()))) {
            return count;
        }
    }
    most
}

async fn rest(io: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    let _ = io.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answers_is_not_read_further() {
    let (taken, begun) =
        meet(PATIENT, |mut io, seen| async move { (send_all(&mut io, GET, 100_000).await * GET.len(), seen.requests.get()) }).await;
    // The pipe is full in both directions, and the server has read as much as one head may have.
    assert!(taken <= PIPE_BYTES + 2 * HEAD_BYTES_MAX, "{taken} bytes taken");
    assert!(begun < 2 * PIPE_BYTES / 60, "{begun} requests begun, with answers of some hundred bytes each");
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_it_is_sent_and_ends_with_a_deaf_client() {
    meet(Timeouts { stall: LONG, linger: SHORT, ..PATIENT }, |mut io, seen| async move {
        io.write_all(GET_LARGE).await.unwrap();
        tokio::time::sleep(LONG / 2).await;
        assert_eq!(seen.ledger.bytes(Holding::Answers), LARGE_BYTES);
        tokio::time::sleep(LONG).await;
        assert_eq!(Holding::ALL.map(|holding| seen.ledger.bytes(holding)), [0; 5], "it is let go");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deaf_client_does_not_hold_a_stop() {
    let begun = tokio::time::Instant::now();
    meet(Timeouts { stop_stall: SECOND, linger: SHORT, ..PATIENT }, |mut io, seen| async move {
        io.write_all(GET_LARGE).await.unwrap();
        tokio::time::sleep(SECOND).await;
        seen.stop.send_replace(true);
        // Only the end of the connection makes a write fail.
        while io.write_all(b"G").await.is_ok() {
            tokio::time::sleep(SECOND / 2).await;
        }
    })
    .await;
    assert!(begun.elapsed() < 4 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_no_answer_off_that_its_client_takes_slowly() {
    let text = meet(Timeouts { stop_stall: SECOND, linger: SHORT, ..PATIENT }, |mut io, seen| async move {
        io.write_all(GET_LARGE).await.unwrap();
        let mut text = vec![0; 1000];
        io.read_exact(&mut text).await.unwrap();
        seen.stop.send_replace(true);
        while text.len() + LARGE_BYTES / 40 < LARGE_BYTES {
            tokio::time::sleep(SECOND / 2).await;
            let mut more = vec![0; LARGE_BYTES / 40];
            io.read_exact(&mut more).await.unwrap();
            text.extend(more);
        }
        String::from_utf8_lossy(&text).into_owned() + &rest(&mut io).await
    })
    .await;
    assert_eq!(text.split("\r\n\r\n").nth(1).map(str::len), Some(LARGE_BYTES));
}

#[tokio::test(start_paused = true)]
async fn a_body_for_nobody_is_not_read_for_ever() {
    let timeouts = Timeouts { linger: LONG, ..PATIENT };
    let chunk = [&b"1000\r\n"[..], &[b'a'; 0x1000], b"\r\n"].concat();
    let (taken, text) = meet(timeouts, |io, _seen| async move {
        let (mut reader, mut writer) = tokio::io::split(io);
        writer.write_all(b"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let mut text = vec![0; 1000];
        let count = reader.read(&mut text).await.unwrap();
        let mut taken = 0;
        while timeout(LONG / 2, writer.write_all(&chunk)).await.is_ok_and(|written| written.is_ok()) {
            taken += chunk.len();
        }
        (taken, String::from_utf8_lossy(&text[..count]).into_owned())
    })
    .await;
    assert!(text.contains("connection: close"), "{text}");
    let most = super::super::timeouts::DISCARD_BYTES_MAX;
    assert!(taken < most + (1 << 20), "{taken} bytes taken");
}

#[tokio::test(start_paused = true)]
async fn who_has_had_a_request_and_sends_one_byte_is_not_held() {
    let text = meet(Timeouts { keep_alive: 10 * SECOND, linger: SHORT, ..PATIENT }, |mut io, _seen| async move {
        io.write_all(GET).await.unwrap();
        io.write_all(b"G").await.unwrap();
        rest(&mut io).await
    })
    .await;
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("HTTP/1.1 408"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_young_connection_is_kept_no_longer_than_an_old_one() {
    let begun = tokio::time::Instant::now();
    meet(Timeouts { keep_alive: 2 * SECOND, ..PATIENT }, |mut io, _seen| async move {
        io.write_all(GET).await.unwrap();
        rest(&mut io).await
    })
    .await;
    // The paused clock only moves to the next time at which something is due.
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_ends_with_its_next_answer() {
    let text = meet(Timeouts { age: 2 * LONG, keep_alive: 100 * LONG, ..PATIENT }, |mut io, _seen| async move {
        let mut text = vec![0; 1000];
        for _ in 0..3 {
            tokio::time::sleep(LONG / 2).await;
            io.write_all(GET).await.unwrap();
            let count = io.read(&mut text).await.unwrap();
            assert!(!String::from_utf8_lossy(&text[..count]).contains("connection: close"));
        }
        tokio::time::sleep(LONG).await;
        io.write_all(GET).await.unwrap();
        rest(&mut io).await
    })
    .await;
    assert!(text.contains("connection: close") && text.ends_with("short"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn heads_have_a_limit_that_fits_clients() {
    let status = |headers: String| async move {
        meet(Timeouts { linger: SHORT, ..PATIENT }, |mut io, seen| async move {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
            let _ = io.write_all(head.as_bytes()).await;
            let text = rest(&mut io).await;
            assert_eq!(seen.ledger.bytes(Holding::Heads), 0);
            text.get(9..12).unwrap_or_default().to_owned()
        })
        .await
    };
    let many = |count: usize, bytes: usize| (0..count).map(|i| format!("x-{i}: {}\r\n", "a".repeat(bytes))).collect::<String>();
    assert_eq!(status(many(94, 50)).await, "200");
    assert_eq!(status(many(4, 7000)).await, "200");
    assert_eq!(status(many(120, 10)).await, "431");
    assert_eq!(status(many(1, HEAD_BYTES_MAX)).await, "431");
    assert_eq!(status("Host: b\r\n".into()).await, "400");
}

#[tokio::test(start_paused = true)]
async fn probes_are_answered_when_there_is_no_room_for_requests() {
    let ask = |path: &'static str| {
        meet(Timeouts { linger: SHORT, ..PATIENT }, move |mut io, seen| async move {
            let mut heads = seen.ledger.empty(Holding::Heads);
            while heads.grow(1 << 10).is_ok() {}
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            io.write_all(head.as_bytes()).await.unwrap();
            rest(&mut io).await.get(9..12).unwrap_or_default().to_owned()
        })
    };
    assert_eq!((ask("/").await, ask("/livez").await), ("503".to_owned(), "200".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_refused_in_tfwebs_form() {
    let timeouts = Timeouts { head: 2 * SECOND, keep_alive: 3 * SECOND, ..PATIENT };
    for (before, seconds) in [(&b""[..], 2), (GET, 3)] {
        let text = meet(timeouts, |mut io, _seen| async move {
            io.write_all(before).await.unwrap();
            // The second head begins when the first request is answered.
            let mut first = [0; 1];
            if !before.is_empty() {
                io.read_exact(&mut first).await.unwrap();
            }
            io.write_all(b"GET / HT").await.unwrap();
            rest(&mut io).await
        })
        .await;
        let (head, body) = text.rsplit_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n") && head.contains("\r\nx-request-id: "),
            "{text}"
        );
        let expected = format!("the head of the request comes too slowly: expected its end within {seconds} s");
        assert_eq!(body, format!(r#"{{"error":"{expected}","code":"DEADLINE_EXCEEDED"}}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_a_refusal_is_not_waited_for() {
    let begun = tokio::time::Instant::now();
    meet(Timeouts { linger: SECOND, ..PATIENT }, |mut io, _seen| async move {
        // The answers fill the pipe, and the last head is none.
        io.write_all(GET_LARGE).await.unwrap();
        let _ = timeout(LONG / 2, io.write_all(&[b"x\r\n\r\n", GET].concat())).await;
        io
    })
    .await;
    assert!(begun.elapsed() < 3 * LONG, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn every_answer_says_its_length_once() {
    for (method, body_expected) in [("GET", "short"), ("HEAD", "")] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let text = meet(PATIENT, |mut io, _| async move {
            io.write_all(request.as_bytes()).await.unwrap();
            rest(&mut io).await
        })
        .await;
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let lengths: Vec<_> = head.lines().filter(|line| line.starts_with("content-length")).collect();
        assert_eq!((lengths.as_slice(), body), (["content-length: 5"].as_slice(), body_expected));
    }
}
