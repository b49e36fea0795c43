//! The fetcher by itself: names that resolve as a test likes, its figures, its speed. The origins are real. The resolver of names
//! is a fake, because a test cannot replace the name server of this machine.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::System;
use awc::Client;
use futures::future::{join_all, BoxFuture};
use socket2::{Domain, Socket, Type};
use tfweb::observe::log;
use tfweb_actors::fetcher::rules::{Rules, Target};
use tfweb_actors::fetcher::{FetchPolicy, FetcherHandle, Outcome, Resolve};
use tfweb_actors::start_arbiter;
use tfweb_engine::{Code, Error};
use tfweb_limits::{Deadline, Ledger};

use crate::origin::{loopback, Origin};
use crate::support::{config, is_alone, until, Random};

/// Gives a name's answers one after another, and the last again.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    pub(crate) fn of(names: &[(&str, &[&[IpAddr]])]) -> Arc<Self> {
        let answers = |answers: &[&[IpAddr]]| answers.iter().rev().map(|addresses| addresses.to_vec()).collect();
        Arc::new(Self(Mutex::new(names.iter().map(|(name, list)| ((*name).to_owned(), answers(list))).collect())))
    }
}

impl Resolve for Names {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = names.get_mut(&host);
        let answer = answers.and_then(|answers| if answers.len() > 1 { answers.pop() } else { answers.last().cloned() });
        Box::pin(async { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

pub(crate) fn policy(flags: &str) -> FetchPolicy {
    config(&format!("--model none {flags}")).fetch.expect("urls are taken")
}

/// Runs a test against a fetcher of its own.
pub(crate) fn with_fetcher<T>(policy: FetchPolicy, test: impl AsyncFnOnce(&FetcherHandle) -> T) -> T {
    with_ledger(policy, Ledger::new(1 << 30), test)
}

/// Runs a test against a fetcher of its own, whose bodies count into a ledger.
pub(crate) fn with_ledger<T>(policy: FetchPolicy, ledger: Arc<Ledger>, test: impl AsyncFnOnce(&FetcherHandle) -> T) -> T {
    System::new().block_on(async {
        let arbiter = start_arbiter(log::end_process);
        let fetcher = FetcherHandle::start(&arbiter.handle(), policy, ledger);
        let result = test(&fetcher).await;
        arbiter.stop();
        result
    })
}

pub(crate) async fn fetch(fetcher: &FetcherHandle, url: &str) -> Result<Vec<u8>, Error> {
    let deadline = Deadline::after(Duration::from_secs(30));
    fetcher.fetch(&[url], deadline, "").await.map(|bodies| bodies[0].to_vec())
}

#[track_caller]
pub(crate) fn check_refused(fetched: &Result<Vec<u8>, Error>) {
    assert!(fetched.as_ref().is_err_and(|error| error.message.contains("is not allowed")), "{fetched:?}");
}

#[test]
fn names_that_resolve_to_what_is_private_are_refused() {
    let private = Origin::start();
    let port = private.address.port();
    let public: IpAddr = [8, 8, 8, 8].into();
    let names = Names::of(&[
        ("inside.example", &[&[loopback(1)]]),
        ("mixed.example", &[&[public, loopback(1)]]),
        ("mapped.example", &[&[std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()]]),
        ("six.example", &[&[Ipv6Addr::LOCALHOST.into()]]),
        ("none.example", &[&[]]),
    ]);
    with_fetcher(FetchPolicy { resolver: names, ..policy("") }, async |fetcher| {
        let hosts = ["inside", "mixed", "mapped", "six", "none", "unknown"];
        for host in hosts {
            check_refused(&fetch(fetcher, &format!("http://{host}.example:{port}/text/secret")).await);
        }
        assert_eq!(fetcher.observe().count(Outcome::Refused), hosts.len() as u64);
    });
    assert_eq!(private.connections(), 0);
}

#[test]
fn a_name_that_moves_inside_is_refused_then() {
    // On all addresses, so that the one port is free on both that count; who came is seen by where the name led.
    let everywhere = Origin::at(SocketAddr::from(([0, 0, 0, 0], 0)), |stream| Ok(Box::new(stream)));
    let port = everywhere.address.port();
    let names = || Names::of(&[("moves.example", &[&[loopback(2)], &[loopback(1)]])]);
    let open = || FetchPolicy { resolver: names(), ..policy("--url_allow 127.0.0.2") };
    let url = |path: &str| format!("http://moves.example:{port}{path}");
    with_fetcher(open(), async |fetcher| {
        // One look-up for the connection; there is none between the check and the dialling that could find the second answer.
        assert_eq!(fetch(fetcher, &url("/once")).await.unwrap(), b"once");
        check_refused(&fetch(fetcher, &url("/text/secret")).await);
    });
    // A redirect back to the same name, on a connection that is closed.
    with_fetcher(open(), async |fetcher| check_refused(&fetch(fetcher, &url("/away//text/secret")).await));
    assert_eq!((everywhere.gets("/once"), everywhere.gets("/away//text/secret"), everywhere.gets("/text/secret")), (1, 1, 0));
    assert_eq!(everywhere.connections(), 2, "the second address was not dialled");
}

#[test]
fn a_name_that_is_allowed_may_be_anywhere() {
    let origin = Origin::start();
    let port = origin.address.port();
    let names = Names::of(&[("store", &[&[loopback(1)]]), ("other", &[&[loopback(1)]])]);
    let policy = FetchPolicy { resolver: names, ..policy(&format!("--url_allow store:{port}")) };
    with_fetcher(policy, async |fetcher| {
        assert_eq!(fetch(fetcher, &format!("http://store:{port}/text/a")).await.unwrap(), b"a");
        assert_eq!(origin.header("host"), Some(format!("store:{port}")));
        check_refused(&fetch(fetcher, &format!("http://other:{port}/text/a")).await);
    });
}

#[test]
fn an_address_that_does_not_answer_gives_way_to_the_next() {
    let origin = Origin::start();
    // Nobody listens at that address.
    let names = Names::of(&[("two.example", &[&[loopback(9), loopback(1)]])]);
    let policy = FetchPolicy { resolver: names, ..policy("--url_allow 127.0.0.0/8") };
    with_fetcher(policy, async |fetcher| {
        let url = format!("http://two.example:{}/text/a", origin.address.port());
        assert_eq!(fetch(fetcher, &url).await.unwrap(), b"a");
    });
}

#[test]
fn every_end_is_counted() {
    let origin = Origin::start();
    let flags = "--url_allow 127.0.0.1 --url_size 1000 --url_timeout_ms 1000 --url_concurrency 4 --queue_size 1";
    with_fetcher(policy(flags), async |fetcher| {
        let count = |outcome| fetcher.observe().count(outcome);
        let url = |path: &str| origin.url(path);
        fetch(fetcher, &url("/size/1000")).await.unwrap();
        assert_eq!((count(Outcome::Fetched), fetcher.observe().bytes), (1, 1000));
        for (path, outcome) in [("/status/500", Outcome::Failed), ("/size/1001", Outcome::TooLarge), ("/silent", Outcome::TimedOut)]
        {
            fetch(fetcher, &url(path)).await.unwrap_err();
            assert_eq!(count(outcome), 1, "{path}");
        }
        fetch(fetcher, "file:///etc/passwd").await.unwrap_err();
        assert_eq!(count(Outcome::Refused), 1);
        let (a, b, c) = (url("/held/a"), url("/held/b"), url("/held/c"));
        let three = join_all([&a, &b, &c].map(|url| fetch(fetcher, url))).await;
        assert!(three.iter().all(Result::is_err));
        assert_eq!((count(Outcome::Overloaded), count(Outcome::TimedOut)), (1, 3));
        let late = fetcher.fetch(&[&a], Deadline::after(Duration::from_millis(20)), "").await;
        assert!(late.unwrap_err().message.contains("time ran out"));
        // The fetcher counts on a thread of its own.
        until("the fetch is cancelled", || count(Outcome::Cancelled) == 1);
        assert_eq!((fetcher.observe().in_flight, fetcher.observe().waiting), (0, 0));
    });
}

#[test]
fn connecting_and_handshakes_time_out_as_answers_do() {
    // Takes connections into its queue, and says nothing on them. One that has a queue of one takes no second.
    let listening = |queue: i32| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((loopback(1), 0)).into()).expect("a free port");
        socket.listen(queue).expect("a queue");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        (socket, address)
    };
    let ((_mute, mute), (_full, full)) = (listening(64), listening(0));
    let _filling: Vec<Socket> = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("an open socket");
            let _ = socket.connect(&full.into());
            socket
        })
        .collect();
    let names = Names::of(&[("two.example", &[&[loopback(1), loopback(1)]])]);
    let policy = FetchPolicy { resolver: names, ..policy("--url_allow 127.0.0.0/8 --url_timeout_ms 500") };
    with_fetcher(policy, async |fetcher| {
        let urls = [format!("http://{full}/"), format!("http://two.example:{}/", full.port()), format!("https://{mute}/")];
        for (before, url) in urls.iter().enumerate() {
            let error = fetch(fetcher, url).await.unwrap_err();
            assert_eq!((error.code, error.message), (Code::DeadlineExceeded, format!("url \"{url}\": timed out after 0.5 s")));
            assert_eq!(fetcher.observe().count(Outcome::TimedOut), before as u64 + 1, "{url}");
        }
    });
}

const IMAGES: usize = 1000;
const AT_ONCE: usize = 16;

/// Fetches [`IMAGES`] different images, [`AT_ONCE`] at a time. Gives the seconds that took.
async fn timed<F: Future<Output = Vec<u8>>>(round: usize, origin: &Origin, fetch: impl Fn(String) -> F) -> f64 {
    let next = std::cell::Cell::new(0);
    let start = Instant::now();
    join_all((0..AT_ONCE).map(|_| async {
        while next.get() < IMAGES {
            let number = next.replace(next.get() + 1);
            assert_eq!(fetch(origin.url(&format!("/size/50000/{round}/{number}"))).await.len(), 50_000);
        }
    }))
    .await;
    start.elapsed().as_secs_f64()
}

#[test]
fn images_come_at_least_half_as_fast_as_from_a_plain_client() {
    if !is_alone("fetcher::images_come_at_least_half_as_fast_as_from_a_plain_client") {
        return;
    }
    let origin = Origin::start();
    let ratios: Vec<f64> = with_fetcher(policy("--url_allow 127.0.0.1"), async |fetcher| {
        // It keeps its connections, as the fetcher must not.
        let client = Client::default();
        let (client, origin) = (&client, &origin);
        let plain = async |url: String| client.get(url).send().await.unwrap().body().limit(1 << 20).await.unwrap().to_vec();
        let ours = async |url: String| fetch(fetcher, &url).await.unwrap();
        let mut ratios = Vec::new();
        for round in 0..5 {
            let (plain, ours) = (timed(2 * round, origin, plain).await, timed(2 * round + 1, origin, ours).await);
            ratios.push(plain / ours);
        }
        ratios
    });
    let best = ratios.iter().copied().fold(0.0, f64::max);
    eprintln!("images a second, of a plain awc loop's: {ratios:.2?}");
    assert!(best >= 0.5, "{ratios:.2?}");
}

/// Whether an address is public, told apart from the fetcher's own table: by numbers, and for IPv6 by what is given out.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = matches!(
                (a, b, c),
                (0 | 10 | 127 | 224.., ..)
                    | (100, 64..=127, _)
                    | (169, 254, _)
                    | (172, 16..=31, _)
                    | (192, 168, _)
                    | (192, 0, 0 | 2)
                    | (192, 88, 99)
                    | (198, 18 | 19, _)
                    | (198, 51, 100)
                    | (203, 0, 113)
            );
            !special
        }
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                is_public(IpAddr::from((u32::from(high) << 16 | u32::from(low)).to_be_bytes()))
            }
            [first, second, ..] => {
                (0x2000..0x4000).contains(&first)
                    && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
                    && first != 0x2002
                    && !(first == 0x3fff && second < 0x1000)
            }
        },
    }
}

/// Hosts of URLs, good and bad.
const HOSTS: [&str; 40] = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "0.0.0.0",
    "10.0.0.1",
    "169.254.169.254",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "0x7f.1",
    "017700000001",
    "127.1",
    "0",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "[fc00::1]",
    "[fe80::1%25eth0]",
    "[::]",
    "[64:ff9b::10.0.0.1]",
    "[2002:7f00:1::]",
    "１２７.０.０.１",
    "127。0。0。1",
    "ⓛocalhost",
    "①②⑦.0.0.1",
    "%31%32%37.0.0.1",
    "example.org",
    "bücher.example",
    "xn--bcher-kva.example",
    "a.b.c.d.e",
    "8.8.8.8",
    "[2606:4700:4700::1111]",
    "1.1.1.1.",
    "user:pw@127.0.0.1",
    "127.0.0.1@example.org",
    "example.org#@127.0.0.1",
    "example.org\\@127.0.0.1",
    "0xffffffff",
    "256.1.1.1",
    "169.254.43518",
    "0251.0376.0251.0376",
];
const SCHEMES: [&str; 12] =
    ["http://", "https://", "HTTP://", "http:/", "http:", "http:\\\\", "h\tttp://", "//", "ftp://", "file://", " http://", "data:"];
const TAILS: [&str; 10] = ["", "/", ":80/", ":0", ":65535/x", ":65536", ":+80", "/../..", "?@10.0.0.1", "#/\u{0}"];

#[test]
fn of_100_000_urls_nothing_private_passes() {
    let rules = Rules { redirects_max: 3, ..Rules::default() };
    let from = url::Url::parse("http://example.org/").unwrap();
    let mut random = Random(88_172_645_463_325_252);
    let (mut passed, mut literal) = (0, 0);
    for _ in 0..100_000 {
        let mut text = match random.below(4) {
            0 => {
                let address = IpAddr::from(u32::try_from(random.next() >> 32).unwrap().to_be_bytes());
                format!("{}{address}{}", SCHEMES[random.below(3)], TAILS[random.below(3)])
            }
            1 => {
                let address = Ipv6Addr::from(u128::from(random.next()) << 64 | u128::from(random.next() >> random.below(64)));
                let address = if random.below(2) == 0 { address } else { Ipv6Addr::from(u128::from(address) >> random.below(128)) };
                format!("{}[{address}]{}", SCHEMES[random.below(3)], TAILS[random.below(3)])
            }
            _ => [SCHEMES[random.below(12)], HOSTS[random.below(40)], TAILS[random.below(10)]].concat(),
        };
        for _ in 0..random.below(3) {
            let at = random.below(text.chars().count() + 1);
            let mut chars: Vec<char> = text.chars().collect();
            match random.below(3) {
                0 => chars.insert(at, char::from_u32(u32::try_from(random.next() >> 43).unwrap()).unwrap_or('.')),
                1 => drop(chars.get_mut(at).map(|c| *c = ['.', ':', '@', '/', '%', '0', 'x', '1'][random.below(8)])),
                _ => drop((at < chars.len()).then(|| chars.remove(at))),
            }
            text = chars.into_iter().collect();
        }
        let urls = [rules.target(&text), rules.redirect(&from, &text, 0).map(Target::Web)];
        for url in urls.into_iter().flatten() {
            let Target::Web(url) = url else { continue };
            passed += 1;
            assert!(["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.password().is_none(), "{text}");
            // As the client reads it, which is what is dialled.
            let Ok(uri) = url.as_str().parse::<awc::http::Uri>() else { continue };
            let host = uri.host().expect("a host").trim_matches(['[', ']']);
            assert_eq!(Some(host), url.host_str().map(|host| host.trim_matches(['[', ']'])), "{text}");
            if let Ok(address) = host.parse::<IpAddr>() {
                literal += 1;
                assert!(is_public(address), "{text} led to {address}");
            } else {
                // A name, whose addresses are checked when it is looked up; never a number that a resolver reads as one.
                let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
                assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{text} led to {host}");
            }
        }
    }
    assert!(passed > 10_000 && literal > 5_000, "{passed} passed, {literal} of them addresses: the rest hides nothing");
}

#[test]
fn of_a_million_addresses_just_the_public_ones_are_dialled() {
    let rules = Rules::default();
    let mut random = Random(7);
    for round in 0..1_000_000_u32 {
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        let address = match round % 4 {
            0 => IpAddr::from(u32::try_from(random.next() >> 32).unwrap().to_be_bytes()),
            1 => IpAddr::from(Ipv6Addr::from(bits >> random.below(128))),
            // Where networks begin and end.
            2 => IpAddr::from(Ipv6Addr::from(bits >> 112 << 112 | 1)),
            _ => IpAddr::from(Ipv6Addr::from(0x64_ff9b_u128 << 96 | bits >> 96)),
        };
        assert_eq!(rules.check_addresses("a.example", 80, &[address]).is_ok(), is_public(address), "{address}");
    }
}
