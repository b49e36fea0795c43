//! Messages that are slow, many, endless, compressed or late.

use std::future::Future;
use std::io::Write as _;
use std::task::{Context, Poll};

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::Compression;
use futures::channel::mpsc::{unbounded, UnboundedReceiver, UnboundedSender};
use futures::{FutureExt, StreamExt};
use http_body::Frame;
use tonic::Code;

use super::*;

const MESSAGE_BYTES_MAX: usize = 100;
const LONG: Duration = Duration::from_secs(60);

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
    message: Pin<Box<dyn Future<Output = Result<Bytes, Status>>>>,
}

impl Call {
    fn send(&self, bytes: impl Into<Bytes>) {
        self.pieces.as_ref().unwrap().unbounded_send(bytes.into()).unwrap();
    }

    /// The message so far, or the error's code.
    fn poll(&mut self) -> Option<Result<Bytes, Code>> {
        (&mut self.message).now_or_never().map(|message| message.map_err(|status| status.code()))
    }

    /// The message after the last piece.
    fn end(&mut self) -> Result<Bytes, Code> {
        self.pieces = None;
        self.poll().expect("everything is here")
    }
}

fn call(ledger: &Arc<Ledger>, headers: &[(&'static str, &str)], bytes_max: usize, time: Duration) -> Call {
    let (pieces, receiver) = unbounded();
    let headers: HeaderMap = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let ledger = Arc::clone(ledger);
    let limit = MessageLimit { bytes_max, hint: "; hint" };
    let body = Body::new(Pieces(receiver));
    let message = async move { receive(body, &headers, limit, &ledger, Deadline::after(time)).await };
    Call { pieces: Some(pieces), message: Box::pin(message) }
}

fn plain(ledger: &Arc<Ledger>) -> Call {
    call(ledger, &[], MESSAGE_BYTES_MAX, LONG)
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
async fn messages_that_arrive_share_one_room() {
    let ledger = Ledger::new(150);
    let mut slow: Vec<Call> = (0..3).map(|_| plain(&ledger)).collect();
    for call in &mut slow {
        call.send(framed(0, &[0; 60])[..PREFIX_BYTES + 59].to_vec());
    }
    let code = |call: &mut Call| call.poll().map(Result::unwrap_err);
    assert_eq!(slow.iter_mut().map(code).collect::<Vec<_>>(), [None, None, Some(Code::Unavailable)]);
    let mut neighbour = plain(&ledger);
    neighbour.send(framed(0, &[7; 10]));
    assert_eq!(neighbour.end(), Ok(Bytes::from(vec![7; 10])));
    slow[0].send(vec![0; 1]);
    assert_eq!(slow[0].end().unwrap().len(), 60);
    slow.clear();
    assert_eq!((ledger.bytes(Holding::Received), ledger.shares(Holding::Received)), (0, 0));
}

#[actix_web::test]
async fn a_message_has_its_room_as_long_as_a_part_of_it_is_held() {
    let ledger = Ledger::new(100);
    let mut first = plain(&ledger);
    first.send(framed(0, &[0; 90]));
    let message = first.end().unwrap();
    drop(first);
    let part = message.slice(..1);
    drop(message);
    let mut second = plain(&ledger);
    second.send(framed(0, &[0; 20]));
    assert_eq!(second.end(), Err(Code::Unavailable));
    drop(part);
    assert_eq!(ledger.bytes(Holding::Received), 0);
}

#[actix_web::test]
async fn what_is_announced_takes_nothing() {
    let ledger = Ledger::new(1 << 30);
    let mut calls: Vec<Call> = (0..100).map(|_| call(&ledger, &[], 64 << 20, LONG)).collect();
    for call in &mut calls {
        call.send([&[0][..], &(64_u32 << 20).to_be_bytes(), &[1]].concat());
        assert_eq!(call.poll(), None);
    }
    assert_eq!(ledger.bytes(Holding::Received), 200, "twice what is here");
    // Memory grows with what arrives.
    let mut bytes = Vec::new();
    let mut share = ledger.empty(Holding::Received);
    for arrived in (1 << 10..8 << 20).step_by(1 << 10) {
        make_room(&mut bytes, 1 << 10, 64 << 20, &mut share).unwrap();
        bytes.extend_from_slice(&[1; 1 << 10]);
        assert!(arrived >= 8 << 20 || bytes.capacity() <= 2 * arrived, "{} for {arrived}", bytes.capacity());
        assert!((arrived..=2 * arrived).contains(&share.bytes()), "{} for {arrived}", share.bytes());
    }
    make_room(&mut bytes, 9 << 20, 64 << 20, &mut share).unwrap();
    assert_eq!(bytes.capacity(), 64 << 20, "more than an eighth has arrived");
    assert!(share.bytes() <= 34 << 20, "{}", share.bytes());
}

#[actix_web::test]
async fn there_is_an_end_of_messages() {
    let ledger = Ledger::new(1 << 20);
    let mut largest = plain(&ledger);
    largest.send(framed(0, &[0; MESSAGE_BYTES_MAX]));
    assert_eq!(largest.poll(), None);
    largest.send(vec![0; 1]);
    assert_eq!(largest.poll(), Some(Err(Code::Internal)), "a second message");
    let mut larger = plain(&ledger);
    larger.send(framed(0, &[0; MESSAGE_BYTES_MAX + 1])[..PREFIX_BYTES].to_vec());
    let refused = (&mut larger.message).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "the message is too large: expected at most 100 bytes, got 101 bytes; hint");
}

#[actix_web::test]
async fn a_message_that_stops_coming_is_given_up() {
    let ledger = Ledger::new(1 << 20);
    let call = call(&ledger, &[], MESSAGE_BYTES_MAX, Duration::from_millis(20));
    call.send(vec![0; 3]);
    assert_eq!(call.message.await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_message_has_little_time_between_its_pieces() {
    let ledger = Ledger::new(1 << 20);
    let mut call = call(&ledger, &[], MESSAGE_BYTES_MAX, Duration::from_secs(86_400));
    call.send(vec![0; 1]);
    assert_eq!(call.poll(), None);
    tokio::time::advance(PIECE_WAIT * 2).await;
    assert_eq!(call.poll(), Some(Err(Code::DeadlineExceeded)));
}

#[actix_web::test]
async fn compressed_messages_are_inflated_in_pieces_of_any_size() {
    let ledger = Ledger::new(1 << 20);
    for encoding in ["gzip", "deflate"] {
        for bytes in [compressed(&[7; 90], encoding), framed(0, &[7; 90])] {
            for size in [1, 4, 6, 1000] {
                let mut call = call(&ledger, &[(ENCODING, encoding)], MESSAGE_BYTES_MAX, LONG);
                bytes.chunks(size).for_each(|piece| call.send(piece.to_vec()));
                assert_eq!(call.end(), Ok(Bytes::from(vec![7; 90])), "{encoding} in pieces of {size}");
            }
        }
    }
}

#[actix_web::test]
async fn what_is_inflated_counts() {
    let ledger = Ledger::new(INFLATER_BYTES + 100);
    let bytes = compressed(&[0; 90], "gzip");
    let gzip = || call(&ledger, &[(ENCODING, "gzip")], MESSAGE_BYTES_MAX, LONG);
    let mut first = gzip();
    first.send(bytes.clone());
    let held = first.end().unwrap();
    assert_eq!(ledger.bytes(Holding::Received), 90, "the inflater is gone");
    let mut second = gzip();
    second.send(bytes);
    assert_eq!(second.end(), Err(Code::Unavailable));
    drop(held);
}

#[actix_web::test]
async fn a_compressed_message_takes_no_more_than_has_come() {
    let ledger = Ledger::new(1 << 30);
    let bytes = compressed(&[0; 90], "gzip");
    let mut calls: Vec<Call> = (0..100).map(|_| call(&ledger, &[(ENCODING, "gzip")], 64 << 20, LONG)).collect();
    for call in &mut calls {
        call.send(bytes[..bytes.len() - 1].to_vec());
        assert_eq!(call.poll(), None);
    }
    assert!(ledger.bytes(Holding::Received) <= 200 * bytes.len(), "{} bytes", ledger.bytes(Holding::Received));
}

#[actix_web::test]
async fn a_message_that_inflates_to_much_leaves_turns_to_others() {
    let ledger = Ledger::new(1 << 30);
    let mut call = call(&ledger, &[(ENCODING, "gzip")], 16 << 20, LONG);
    call.send(compressed(&vec![0; 10 << 20], "gzip"));
    call.pieces = None;
    assert_eq!(call.poll(), None);
    let held = ledger.bytes(Holding::Received);
    assert!((INFLATE_TURN_BYTES..4 * INFLATE_TURN_BYTES).contains(&held), "{held} bytes");
    assert_eq!(call.message.await.unwrap().len(), 10 << 20);
}

#[actix_web::test]
async fn what_is_not_one_message_is_refused() {
    let refuse = |headers: &[(&'static str, &str)], bytes: Vec<u8>| {
        let mut call = call(&Ledger::new(1 << 20), headers, MESSAGE_BYTES_MAX, LONG);
        call.send(bytes);
        call.end().unwrap_err()
    };
    let gzip = |bytes: Vec<u8>| refuse(&[(ENCODING, "gzip")], bytes);
    let valid = compressed(&[0; 90], "gzip");
    assert_eq!(gzip(compressed(&vec![0; 10 << 20], "gzip")), Code::ResourceExhausted, "a bomb");
    assert_eq!(gzip(framed(0, &[0; MESSAGE_BYTES_MAX + 1])), Code::ResourceExhausted);
    assert_eq!(gzip(valid[..valid.len() - 1].to_vec()), Code::Internal, "ended early");
    assert_eq!(gzip(valid[..3].to_vec()), Code::Internal, "ended in the prefix");
    assert_eq!(gzip(Vec::new()), Code::Internal, "nothing came");
    assert_eq!(gzip([valid.clone(), vec![0]].concat()), Code::Internal, "more than one");
    assert_eq!(gzip(framed(1, &[0; 20])), Code::Internal, "no gzip");
    assert_eq!(gzip(framed(2, &valid[PREFIX_BYTES..])), Code::Internal, "no such flag");
    assert_eq!(refuse(&[], valid.clone()), Code::Internal, "compressed, and not said how");
    assert_eq!(refuse(&[(ENCODING, "zstd")], framed(0, &[])), Code::Unimplemented);
    assert_eq!(refuse(&[], framed(0, &[0; 9]).repeat(2)), Code::Internal, "a second message");
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
