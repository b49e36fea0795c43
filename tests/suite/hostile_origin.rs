//! Origins that play tricks with the ends of their answers. No byte of one answer may ever be seen in another.
//!
//! A [`Script`] is drawn from a seed, which is a part of the URL: [`Origin`] plays it, and the test knows by it what the fetch
//! must give.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use futures::future::join_all;
use tfweb_actors::fetcher::FetcherHandle;

use crate::fetcher::{fetch, policy, with_fetcher};
use crate::origin::{loopback, Origin, Wire};
use crate::support::Random;

/// One answer to one request.
pub(crate) struct Script {
    /// How long the origin thinks, so that late bytes of other answers come while a fetch waits.
    wait: Duration,
    bytes: Vec<u8>,
    /// Written together with their last.
    behind: Vec<u8>,
    /// Written some moments after the answer, while others are fetched.
    late: Vec<u8>,
    late_after: Duration,
    end: End,
    /// The bytes that the fetch gives; none where it fails.
    expect: Option<Vec<u8>>,
    random: Random,
}

/// The connection's fate behind an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It leaves it open, and would answer on it again.
    Stays,
    Closes,
}

/// Another request's answer.
const POISON: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

impl Script {
    /// The script that a path names.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let seed: u64 = path.strip_prefix("/script/")?.parse().ok()?;
        let mut random = Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let repeated = [0, 1, 1, 1, 20, 3000][random.below(6)];
        let body = format!("<{seed}>").repeat(repeated).into_bytes();
        let mut script = match random.below(10) {
            0..=2 => Self::good(&body, random),
            3 => Self::odd(&body, random),
            4 => Self::broken_head(&body, random),
            5 => Self::broken_chunks(&body, random),
            6 => Self::cut(&body, random),
            _ => Self::followed(&body, random),
        };
        if script.random.below(3) == 0 {
            std::mem::swap(&mut script.behind, &mut script.late);
        }
        script.late_after = Duration::from_millis(script.random.below(20) as u64);
        script.wait = Duration::from_millis([0, 0, 0, script.random.below(20)][script.random.below(4)] as u64);
        Some(script)
    }

    fn new(bytes: Vec<u8>, end: End, expect: Option<&[u8]>, random: Random) -> Self {
        let expect = expect.map(<[u8]>::to_vec);
        Self { wait: Duration::ZERO, bytes, behind: Vec::new(), late: Vec::new(), late_after: Duration::ZERO, end, expect, random }
    }

    /// Draws an answer as well-behaved servers send it.
    fn good(body: &[u8], mut random: Random) -> Self {
        let (bytes, end) = match random.below(6) {
            0..=2 => (sized("HTTP/1.1 200 OK", body), End::Stays),
            3 => (chunked("HTTP/1.1 200 OK", body, "", "\r\n", &mut random), End::Stays),
            4 => (sized("HTTP/1.1 200 OK\r\nConnection: close", body), End::Closes),
            _ => (sized("HTTP/1.1 200 OK", body), End::Closes),
        };
        Self::new(bytes, end, Some(body), random)
    }

    /// Draws an odd answer that is allowed, or has one meaning only.
    fn odd(body: &[u8], mut random: Random) -> Self {
        let length = body.len();
        let (bytes, end) = match random.below(10) {
            0..=2 => {
                let one =
                    |random: &mut Random| format!("HTTP/1.1 {} Wait\r\nLink: </a>\r\n\r\n", [100, 102, 103, 199][random.below(4)]);
                let interim: String = (0..=random.below(4)).map(|_| one(&mut random)).collect();
                ([interim.as_bytes(), &sized("HTTP/1.1 200 OK", body)].concat(), End::Stays)
            }
            3 => (sized("HTTP/1.0 200 OK", body), End::Stays),
            4 => (sized("HTTP/1.0 200 OK\r\nConnection: keep-alive", body), End::Stays),
            5 => (sized("HTTP/1.1 200 OK\r\nConnection: a, Close", body), End::Stays),
            6 => (head(["HTTP/1.1 200 OK", "HTTP/1.0 200 OK"][random.below(2)], body), End::Closes),
            7 => (chunked("HTTP/1.1 200 OK\r\nContent-Length: 3", body, "", "\r\n", &mut random), End::Stays),
            8 => (sized(&format!("HTTP/1.1 200\nContent-LENGTH : {length}, 00{length}\nA:"), body), End::Stays),
            _ => (chunked("HTTP/1.1 200 OK", body, " ;a=\"b\"", "A: b\r\nC:\r\n\r\n", &mut random), End::Stays),
        };
        Self::new(bytes, end, Some(body), random)
    }

    /// Draws an answer that is malformed, or no success.
    fn broken_head(body: &[u8], mut random: Random) -> Self {
        const FIRST: [&str; 14] = [
            "HTTP/0.9 200 OK",
            "HTTP/2 200 OK",
            "ICY 200 OK",
            "200 OK",
            "",
            "\0",
            "HTTP/1.1 20",
            "HTTP/1.1 101 Other",
            "HTTP/1.1 204 None",
            "HTTP/1.1 404 Not Found",
            "HTTP/1.1 999 What",
            "HTTP/1.1 200 OK\r\nno field",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded",
            "HTTP/1.1 200 OK\r\nA: \rb",
        ];
        const FRAMING: [&str; 10] = [
            "Content-Length: +1",
            "Content-Length: 99999999999999999999",
            "Content-Length: 18446744073709551615",
            "Content-Length: 0x1",
            "Content-Length: ",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 3, 4",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
        ];
        let body = &[body, b"."].concat();
        let bytes = match random.below(4) {
            0 => sized(FIRST[random.below(FIRST.len())], body),
            1 => chunked("HTTP/1.0 200 OK", body, "", "\r\n", &mut random),
            2 => return Self::new(sized("HTTP/1.1 404 Not Found", b""), End::Stays, None, random),
            _ => head(&format!("HTTP/1.1 200 OK\r\n{}", FRAMING[random.below(FRAMING.len())]), body),
        };
        Self::new(bytes, End::Stays, None, random)
    }

    fn broken_chunks(body: &[u8], mut random: Random) -> Self {
        const BROKEN: [&str; 9] = ["", "g", "+1", "0x1", "10000000000000000", "1\r\nxy", "1\n", "0\r\nA: b\n\nx", "1;\0"];
        let mut bytes = chunked("HTTP/1.1 200 OK", body, "", "", &mut random);
        bytes.truncate(bytes.len() - "0\r\n".len());
        bytes.extend_from_slice(BROKEN[random.below(BROKEN.len())].as_bytes());
        bytes.extend_from_slice(b"\r\n\r\n");
        Self::new(bytes, End::Stays, None, random)
    }

    /// An answer that breaks off, anywhere.
    fn cut(body: &[u8], mut random: Random) -> Self {
        let mut bytes = match random.below(3) {
            0 => chunked("HTTP/1.1 200 OK", body, "", "\r\n", &mut random),
            1 => head(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}", body.len() + 1), body),
            _ => sized("HTTP/1.1 200 OK", body),
        };
        bytes.truncate(random.below(bytes.len()));
        Self::new(bytes, End::Closes, None, random)
    }

    /// An answer, and bytes behind it that nobody asked for.
    fn followed(body: &[u8], mut random: Random) -> Self {
        let junk: &[u8] = [POISON, b"HTTP/1.1 103 Early\r\n\r\n", b"\r\n", b"garbage", b"\0"][random.below(5)];
        let mut script = match random.below(4) {
            0 => {
                let bytes = chunked("HTTP/1.1 200 OK", body, "", "\r\n", &mut random);
                Self::new(bytes, End::Stays, Some(body), random)
            }
            1 => Self::new(sized("HTTP/1.1 404 Not Found", body), End::Stays, None, random),
            // A length that is too short: the rest of the body is what follows.
            2 => {
                let (body, rest) = body.split_at(body.len() / 2);
                let script = Self::new(sized("HTTP/1.1 200 OK", body), End::Stays, Some(body), random);
                Self { late: rest.to_vec(), ..script }
            }
            _ => Self::new(sized("HTTP/1.1 200 OK", body), End::Stays, Some(body), random),
        };
        script.late.extend_from_slice(junk);
        script
    }

    /// Answers; whether the connection goes on.
    pub(crate) fn play(&mut self, wire: &mut dyn Wire) -> io::Result<bool> {
        // The paces are part of the script: they vary which bytes the fetcher sees together. No test relies on one.
        thread::sleep(self.wait);
        self.pieces().iter().try_for_each(|piece| wire.write_all(piece))?;
        if !self.late.is_empty() {
            thread::sleep(self.late_after);
            wire.write_all(&self.late)?;
        }
        Ok(self.end == End::Stays)
    }

    /// The answer as it is written: whole, in some pieces, or a small one byte by byte.
    fn pieces(&mut self) -> Vec<Vec<u8>> {
        let largest = match self.random.below(4) {
            0 => self.bytes.len(),
            1 if self.bytes.len() < 200 => 1,
            _ => self.bytes.len() / 3,
        };
        let last = if self.behind.is_empty() { 0 } else { 1 + self.random.below(self.bytes.len().min(1000)) };
        let (mut left, last) = self.bytes.split_at(self.bytes.len() - last);
        let mut pieces = Vec::new();
        while !left.is_empty() {
            let (piece, rest) = left.split_at((1 + self.random.below(largest.max(1))).min(left.len()));
            pieces.push(piece.to_vec());
            left = rest;
        }
        // Little enough for the system to send it in one.
        pieces.push([last, &self.behind].concat());
        pieces
    }
}

fn head(fields: &str, body: &[u8]) -> Vec<u8> {
    [fields.as_bytes(), b"\r\n\r\n", body].concat()
}

fn sized(fields: &str, body: &[u8]) -> Vec<u8> {
    head(&format!("{fields}\r\nContent-Length: {}", body.len()), body)
}

/// In chunks of random sizes.
fn chunked(fields: &str, body: &[u8], extension: &str, trailers: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = head(&format!("{fields}\r\nTransfer-Encoding: chunked"), b"");
    for chunk in body.chunks(1 + random.below(2 * body.len().max(1))) {
        bytes.extend([format!("{:x}{extension}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    bytes.extend_from_slice(format!("0{extension}\r\n{trailers}").as_bytes());
    bytes
}

const ROUNDS: usize = 50;
const ORIGINS: usize = 6;
/// How many fetches from one origin are under way: more than it is asked for at a time.
const AT_ONCE: usize = 24;

/// Fetches what a script answers, and checks that it is that.
async fn check(fetcher: &FetcherHandle, origin: &Origin, seed: usize) -> Script {
    let path = format!("/script/{seed}");
    let script = Script::of(&path).expect("a script");
    match (fetch(fetcher, &origin.url(&path)).await, &script.expect) {
        (Ok(bytes), Some(expect)) => assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(expect), "{path}"),
        (Err(error), None) => assert!(!error.message.contains("timed out"), "{path}: {error:?}"),
        (Ok(bytes), None) => panic!("{path}: expected a failure, got {:?}", String::from_utf8_lossy(&bytes)),
        (Err(error), Some(_)) => panic!("{path}: expected an answer, got {error:?}"),
    }
    script
}

#[test]
fn no_byte_of_one_answer_is_seen_in_another() {
    let origins: Vec<Origin> =
        (10..).take(ORIGINS).map(|last| Origin::at(SocketAddr::from((loopback(last), 0)), |tcp| Ok(Box::new(tcp)))).collect();
    let (mut late, mut failing) = (0, 0);
    with_fetcher(policy("--url_allow 127.0.0.0/8"), async |fetcher| {
        for round in 0..ROUNDS {
            let fetches = origins.iter().enumerate().flat_map(|(place, origin)| {
                let first = (round * ORIGINS + place) * AT_ONCE;
                (first..first + AT_ONCE).map(move |seed| check(fetcher, origin, seed))
            });
            for script in join_all(fetches).await {
                late += usize::from(!script.late.is_empty());
                failing += usize::from(script.expect.is_none());
            }
        }
    });
    eprintln!("behind {late} answers came late bytes, {failing} fetches had no answer");
    for origin in &origins {
        let requests = ROUNDS * AT_ONCE;
        assert_eq!((origin.requests(), origin.connections()), (requests, requests), "each connection carries one request");
    }
    assert!(late > 1000 && failing > 2000, "the scripts prove little");
}
