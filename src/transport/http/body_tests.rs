//! Bodies that are large, slow, silent, or larger when they are inflated.

use std::io::Write;

use actix_web::dev::Payload;
use actix_web::test::TestRequest;
use flate2::write::GzEncoder;
use flate2::Compression;
use futures::stream;

use super::*;

const MAX: usize = 10 << 20;
const SOON: Duration = Duration::from_secs(3600);

fn limits(ledger_bytes: usize) -> BodyLimits {
    BodyLimits { body_bytes_max: MAX, ledger: Ledger::new(ledger_bytes) }
}

async fn read_pieces(
    request: &HttpRequest,
    pieces: impl futures::Stream<Item = Result<Bytes, PayloadError>> + 'static,
    limits: &BodyLimits,
) -> Result<Bytes, Error> {
    let mut payload: Payload = Payload::Stream { payload: Box::pin(pieces) };
    let payload = <web::Payload as actix_web::FromRequest>::from_request(request, &mut payload).await.unwrap();
    read(request, payload, limits, Deadline::after(SOON)).await
}

fn declaring(bytes: usize) -> HttpRequest {
    TestRequest::post().insert_header((CONTENT_LENGTH, bytes.to_string())).to_http_request()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_declares_much_and_sends_nothing_takes_no_room() {
    let (limits, request) = (limits(MAX), declaring(MAX));
    let ledger = Arc::clone(&limits.ledger);
    let pieces = stream::once(async { Ok(Bytes::from_static(&[b' '; 8000])) }).chain(stream::once(async move {
        assert_eq!(ledger.bytes(Holding::Received), 8000, "what has come counts");
        std::future::pending().await
    }));
    let begun = tokio::time::Instant::now();
    let error = read_pieces(&request, pieces, &limits).await.unwrap_err();
    let Refused(status) = request.extensions_mut().remove().expect("a status");
    assert_eq!((error.code, status, begun.elapsed()), (Code::DeadlineExceeded, StatusCode::REQUEST_TIMEOUT, PAUSE_MAX));
    assert_eq!((limits.ledger.bytes(Holding::Received), limits.ledger.shares(Holding::Received)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_must_come_at_the_least_rate() {
    for (bytes, is_quick) in [(BYTES_PER_SECOND as usize / 2, false), (BYTES_PER_SECOND as usize, true)] {
        let pieces = stream::iter(0..100).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Bytes::from(vec![b' '; bytes]))
        });
        let read = read_pieces(&declaring(100 * bytes), pieces, &limits(MAX)).await;
        assert_eq!(read.map(|bytes| bytes.len()).ok(), is_quick.then_some(100 * bytes));
    }
}

#[actix_web::test]
async fn a_body_counts_as_long_as_anybody_holds_it() {
    let limits = limits(MAX);
    let pieces = || stream::iter((0..100).map(|_| Ok(Bytes::from_static(&[b' '; 1000]))));
    let body = read_pieces(&declaring(100_000), pieces(), &limits).await.unwrap();
    let part = body.slice(5..10);
    drop(body);
    assert_eq!(limits.ledger.bytes(Holding::Received), 100_000);
    drop(part);
    assert_eq!(limits.ledger.bytes(Holding::Received), 0);
    let full = limits.ledger.take(Holding::Received, MAX - 50_000).unwrap();
    assert_eq!(read_pieces(&declaring(100_000), pieces(), &limits).await.unwrap_err().code, Code::Unavailable);
    drop(full);
}

#[actix_web::test]
async fn what_inflates_counts_before_it_is_inflated_further() {
    let bomb = gzip(&vec![b' '; MAX]);
    assert!(bomb.len() < 11_000, "{}", bomb.len());
    let request = TestRequest::post().insert_header((CONTENT_ENCODING, "gzip")).to_http_request();
    let pieces = || stream::iter([Ok(Bytes::from(bomb.clone()))]);
    let small = limits(MAX / 4);
    assert_eq!(read_pieces(&request, pieces(), &small).await.unwrap_err().code, Code::Unavailable);
    assert_eq!(small.ledger.bytes(Holding::Received), 0);
    let large = limits(3 * MAX);
    let body = read_pieces(&request, pieces(), &large).await.unwrap();
    assert_eq!((body.len(), large.ledger.bytes(Holding::Received)), (MAX, MAX));
}

#[test]
fn a_step_inflates_to_little() {
    let bomb = Bytes::from(gzip(&vec![b' '; MAX]));
    let limits = limits(3 * MAX);
    let mut inflating = Inflating::new(Encoding::Gzip, bomb, None, &limits);
    inflating.run(INFLATE_INLINE_BYTES_MAX).unwrap();
    let inflated = inflating.inflater.inflated_bytes();
    assert!(
        (INFLATE_INLINE_BYTES_MAX..6 * INFLATE_INLINE_BYTES_MAX).contains(&inflated),
        "{inflated} here, and the rest elsewhere"
    );
}
