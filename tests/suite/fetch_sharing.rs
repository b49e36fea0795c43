//! Requests that fetch URLs share turns, look-ups of names and memory. No request can take them from the others.

use std::future::{pending, Future};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{join, join_all, BoxFuture};
use tfweb_actors::fetcher::{FetchPolicy, FetcherHandle, Outcome, Resolve};
use tfweb_engine::{Code, Error};
use tfweb_limits::{Deadline, Holding, Ledger};

use crate::client::Request;
use crate::fetcher::{fetch, policy, with_fetcher, with_ledger};
use crate::gated::Gated;
use crate::origin::{loopback, Origin};
use crate::support::{is_alone, session, until, RunningServer};
use crate::urls::lengths;

/// Longer than a test may take: only a fetch that stalls would need it.
const LONG: &str = "--url_allow 127.0.0.0/8 --url_timeout_ms 60000";

async fn fetch_all(fetcher: &FetcherHandle, urls: &[String]) -> Result<Vec<Bytes>, Error> {
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    fetcher.fetch(&urls, Deadline::after(Duration::from_secs(120)), "").await
}

/// Runs `other` beside a fetch that does not end.
async fn beside<T>(endless: impl Future<Output = Result<Vec<Bytes>, Error>>, other: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = endless => panic!("it ended: {ended:?}"),
        other = other => other,
    }
}

/// Waits until a condition holds, and lets the other futures of the thread go on meanwhile.
async fn until_async(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited until {what}");
        // It only looks again: a test goes on when its condition holds.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn beside_160_urls_of_mute_hosts_others_have_their_turn() {
    let mute: Vec<Origin> = (2..6).map(|last| Origin::at(SocketAddr::from((loopback(last), 0)), |tcp| Ok(Box::new(tcp)))).collect();
    let good = Origin::start();
    let urls: Vec<String> = (0..160).map(|i| mute[i % 4].url(&format!("/silent/{i}"))).collect();
    with_fetcher(policy(LONG), async |fetcher| {
        beside(fetch_all(fetcher, &urls), async {
            let busy = || mute.iter().map(Origin::busy_max).sum::<usize>();
            until_async("16 fetches are under way", || busy() == 16).await;
            until_async("the rest waits", || fetcher.observe().waiting == 144).await;
            let mut quickest = Duration::MAX;
            for i in 0..20 {
                let start = Instant::now();
                assert_eq!(fetch(fetcher, &good.url(&format!("/text/{i}"))).await.unwrap(), i.to_string().into_bytes());
                quickest = quickest.min(start.elapsed());
            }
            eprintln!("beside 160 urls of mute hosts another's took {quickest:?}");
            assert_eq!((busy(), fetcher.observe().in_flight, fetcher.observe().waiting), (16, 16, 144));
        })
        .await;
    });
}

/// Finds `good.example` at once, and never any other name.
#[derive(Debug, Default)]
struct MuteNames(AtomicUsize);

impl Resolve for MuteNames {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        if host == "good.example" {
            return Box::pin(async { Ok(vec![loopback(1)]) });
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(pending())
    }
}

#[test]
fn beside_256_names_of_a_mute_name_server_others_are_looked_up() {
    let (good, names) = (Origin::start(), Arc::new(MuteNames::default()));
    let urls: Vec<String> = (0..256).map(|i| format!("http://mute-{i}.example/")).collect();
    let policy = FetchPolicy { resolver: names.clone(), ..policy(LONG) };
    with_fetcher(policy, async |fetcher| {
        beside(fetch_all(fetcher, &urls), async {
            until_async("240 names wait", || fetcher.observe().waiting == 240).await;
            let port = good.address.port();
            for i in 0..20 {
                let url = format!("http://good.example:{port}/text/{i}");
                assert_eq!(fetch(fetcher, &url).await.unwrap(), i.to_string().into_bytes());
            }
            assert_eq!(names.0.load(Ordering::Relaxed), 16, "a quarter of all look-ups");
            assert_eq!(fetcher.observe().in_flight, 0, "no name that is looked up has a turn to fetch");
        })
        .await;
    });
}

#[test]
fn requests_that_fill_the_memory_do_not_wait_for_each_other() {
    let origin = Origin::start();
    let flags = format!("{LONG} --url_size 1000000 --url_memory 4000000");
    with_fetcher(policy(&flags), async |fetcher| {
        // Each holds its first body while its second one waits, and 50,000 bytes are free.
        let requests: Vec<Vec<String>> =
            (0..5).map(|i| ["/size/790000", "/held-size/200000"].map(|path| origin.url(&format!("{path}/{i}"))).into()).collect();
        let release = async {
            until_async("the first bodies are here", || fetcher.observe().count(Outcome::Fetched) == 5).await;
            until_async("the second ones are asked for", || origin.requests() == 10).await;
            origin.release();
        };
        let (ended, ()) = join(join_all(requests.iter().map(|urls| fetch_all(fetcher, urls))), release).await;
        let refused: Vec<&Error> = ended.iter().filter_map(|ended| ended.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].code, Code::Unavailable);
        assert!(refused[0].message.contains("was given up: fetched bodies fill the memory"), "{refused:?}");
    });
}

#[test]
fn memory_held_for_mute_origins_is_given_to_others() {
    let origin = Origin::start();
    let flags = format!("{LONG} --url_size 1000000 --url_memory 4000000");
    with_fetcher(policy(&flags), async |fetcher| {
        let mean: Vec<Vec<String>> =
            (0..4).map(|i| vec![origin.url(&format!("/size/990000/{i}")), origin.url(&format!("/silent/{i}"))]).collect();
        let other = async {
            until_async("the memory is full", || fetcher.observe().bytes == 4 * 990_000).await;
            let got = fetch(fetcher, &origin.url("/size/900000")).await.map(|bytes| bytes.len());
            origin.release();
            got
        };
        let (ended, other) = join(join_all(mean.iter().map(|urls| fetch_all(fetcher, urls))), other).await;
        assert_eq!(other, Ok(900_000));
        assert!(ended.iter().all(Result::is_err), "a mute origin gives nothing");
        let gave_way = ended.iter().filter(|ended| ended.as_ref().is_err_and(|error| error.message.contains("was given up")));
        assert_eq!(gave_way.count(), 1, "{ended:?}");
    });
}

#[test]
fn bodies_of_unknown_size_take_the_memory_that_they_need() {
    // At their largest possible size these bodies would fill the memory.
    let origins: Vec<Origin> =
        (2..22).map(|last| Origin::at(SocketAddr::from((loopback(last), 0)), |tcp| Ok(Box::new(tcp)))).collect();
    let requests = origins.chunks(5).map(|five| five.iter().map(|origin| origin.url("/open")).collect::<Vec<_>>());
    let requests: Vec<Vec<String>> = requests.collect();
    let large = Origin::start();
    with_fetcher(policy(LONG), async |fetcher| {
        let other = async {
            until_async("all are under way", || origins.iter().map(Origin::busy_max).sum::<usize>() == 20).await;
            for i in 0..10 {
                let got = fetch(fetcher, &large.url(&format!("/size/16000000/{i}"))).await;
                assert_eq!(got.map(|bytes| bytes.len()), Ok(16_000_000));
            }
            let got = fetch(fetcher, &large.url(&format!("/undeclared/{}", 15 << 20))).await;
            assert_eq!(got.map(|bytes| bytes.len()), Ok(15 << 20));
            origins.iter().for_each(Origin::release);
        };
        let (ended, ()) = join(join_all(requests.iter().map(|urls| fetch_all(fetcher, urls))), other).await;
        for bodies in ended {
            assert_eq!(bodies, Ok(vec![Bytes::from_static(b"open"); 5]));
        }
    });
}

#[test]
fn fetched_bytes_are_in_the_ledger_as_long_as_somebody_shows_them() {
    let origin = Origin::start();
    let ledger = Ledger::new(4_000_000);
    with_ledger(policy(LONG), Arc::clone(&ledger), async |fetcher| {
        let urls = [origin.url("/size/3000000"), origin.url("/text/four"), "data:,data".into(), origin.url("/size/3000000")];
        let bodies = fetch_all(fetcher, &urls).await.unwrap();
        assert_eq!(ledger.bytes(Holding::Fetched), 3_000_000 + 4 + 4, "a url that is named twice is fetched once");
        let refused = fetch(fetcher, &origin.url("/size/2000000")).await.unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);
        assert!(refused.message.contains("it needs 2000000 bytes more"), "{refused:?}");
        assert_eq!(fetcher.observe().count(Outcome::Overloaded), 1);
        let first = bodies[0].slice(..1);
        drop(bodies);
        assert_eq!(ledger.bytes(Holding::Fetched), 3_000_000, "a part shows the whole");
        drop(first);
        assert_eq!(fetch(fetcher, &origin.url("/size/2000000")).await.unwrap().len(), 2_000_000);
        until("all is given back", || ledger.bytes(Holding::Fetched) == 0);
    });
    assert_eq!((ledger.bytes(Holding::Fetched), ledger.shares(Holding::Fetched)), (0, 0));
}

#[test]
fn metrics_show_fetched_bytes_until_their_run_ends() {
    let origin = Origin::start();
    let gated = Gated::new(session("tests/models/kitchen"));
    let server = RunningServer::of(gated.clone(), "--url_allow 127.0.0.0/8");
    let fetched = || {
        let page = server.call(&Request::get("/metrics")).text();
        let line =
            page.lines().find(|line| line.starts_with(r#"tfweb_request_memory_bytes{holding="fetched"}"#)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).expect("a number of bytes")
    };
    gated.hold();
    let mut running = server.send_all([lengths(&[origin.url("/size/999000")])]);
    gated.until_runs(1);
    assert_eq!(fetched(), 999_000.0);
    gated.release();
    assert_eq!(running[0].receive().expect("an answer").status, 200);
    until("the bytes are given back", || fetched() == 0.0);
}

#[test]
fn who_joins_a_fetch_late_has_time_of_its_own() {
    let origin = Origin::start();
    let time = Duration::from_secs(2);
    with_fetcher(policy("--url_allow 127.0.0.1 --url_timeout_ms 2000"), async |fetcher| {
        let url = origin.url("/silent");
        let late = async {
            until_async("the fetch has begun", || origin.gets("/silent") == 1).await;
            // The later the second request joins, the earlier it was told that its time was over.
            let begun = Instant::now();
            until_async("half of the time is over", || begun.elapsed() > time / 2).await;
            let joined = Instant::now();
            (fetch(fetcher, &url).await, joined.elapsed())
        };
        let (first, (second, took)) = join(fetch(fetcher, &url), late).await;
        for error in [first.unwrap_err(), second.unwrap_err()] {
            assert!(error.message.contains("timed out after 2 s"), "{error:?}");
        }
        assert!(took >= time, "2 s are told, and it had {took:?}");
        assert_eq!(origin.gets("/silent"), 2, "the rest of its time was for a fetch of its own");
    });
}

/// Panics instead of finding a name.
#[derive(Debug)]
struct Panics;

impl Resolve for Panics {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { panic!("no address of {host}") })
    }
}

#[test]
fn a_panic_within_a_fetch_fails_that_fetch_alone() {
    // The panic of an actor would end this process, and with it all other tests.
    if !is_alone("fetch_sharing::a_panic_within_a_fetch_fails_that_fetch_alone") {
        return;
    }
    let origin = Origin::start();
    with_fetcher(FetchPolicy { resolver: Arc::new(Panics), ..policy(LONG) }, async |fetcher| {
        let both = join(fetch(fetcher, "http://a.example/"), fetch(fetcher, &origin.url("/text/good"))).await;
        let panicked = both.0.unwrap_err();
        assert!(panicked.code == Code::Internal && panicked.message.contains("the fetcher panicked"), "{panicked:?}");
        assert_eq!(both.1.unwrap(), b"good");
        assert_eq!(fetch(fetcher, &origin.url("/text/later")).await.unwrap(), b"later");
        until("no turn is held", || fetcher.observe().in_flight == 0);
    });
}
