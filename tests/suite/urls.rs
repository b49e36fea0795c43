//! URL inputs seen from clients: where they may stand, which are refused, and which requests wait. `odd_origins` tests servers that
//! answer badly.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::client::{Connection, Request, Response};
use crate::gated::Gated;
use crate::origin::{loopback, Origin};
use crate::process::Process;
use crate::support::{is_alone, session, RunningServer};

pub(crate) const KITCHEN: &str = "--model tests/models/kitchen --url_allow 127.0.0.0/8";

/// Asks for the lengths of what URLs lead to.
pub(crate) fn lengths(urls: &[String]) -> Request {
    let texts: Vec<Value> = urls.iter().map(|url| json!({ "url": url })).collect();
    Request::post("/length", json!({ "text": texts }).to_string())
}

#[track_caller]
pub(crate) fn check_error(response: &Response, status: u16, expect: &str) {
    let error = response.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(response.status == status && error.contains(expect), "expected {status} {expect:?}, got {response:?}");
}

#[test]
fn urls_stand_wherever_strings_do() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    let url = |path: &str| json!({ "url": origin.url(path) });
    let mixed = json!({"x": [["plain", url("/text/first")], [{"b64": "YjY0"}, url("/text/second")], [url("/text/third"), ""]]});
    let response = server.call(&Request::post("/echo_string", mixed.to_string()));
    assert_eq!(response.json(), json!({"y": [["plain", "first"], ["b64", "second"], ["third", ""]]}), "{response:?}");

    let examples = json!([{"x": [url("/text/a"), "b"]}, {"x": ["c", url("/text/d")]}, {"x": [{"url": "data:,e%20f"}, "g"]}]);
    let response = server.call(&Request::post("/echo_string", examples.to_string()));
    assert_eq!(response.json(), json!([{"y": ["a", "b"]}, {"y": ["c", "d"]}, {"y": ["e f", "g"]}]), "{response:?}");

    let column: Vec<String> = (0..30).map(|i| origin.url(&format!("/size/{i}"))).collect();
    let response = server.call(&lengths(&column));
    assert_eq!(response.json(), json!({ "bytes": (0..30).collect::<Vec<_>>() }), "in order");

    let one = RunningServer::start(&format!("{KITCHEN} --batch_transpose"));
    let example = json!({ "text": url("/size/50000") });
    assert_eq!(one.post("/length", &example.to_string()), (200, r#"{"bytes":50000}"#.into()));
    assert_eq!(origin.header("user-agent"), Some(format!("tfweb/{}", env!("CARGO_PKG_VERSION"))));
    assert_eq!(origin.header("host"), Some(origin.address.to_string()));
}

#[test]
fn an_input_that_takes_no_strings_takes_no_urls() {
    let server = RunningServer::shared(KITCHEN);
    let (status, text) = server.post("/echo_int32", r#"{"x": {"url": "data:,1"}}"#);
    assert!(status == 400 && text.contains("only string inputs take urls"), "{text}");
}

/// The demo of the README: a server that fetches from itself what it serves.
#[test]
fn the_demo_fetches_its_own_images() {
    let flags = "--model examples/digits --batch_transpose --static_path examples/digits_images --url_allow localhost";
    let server = RunningServer::start(flags);
    let image = |digit: u8| json!({"image": {"url": format!("http://localhost:{}/web/{digit}.png", server.address.port())}});
    let response = server.call(&Request::post("/predict", image(7).to_string()));
    assert_eq!((response.status, &response.json()["class"]), (200, &json!(["7"])), "{response:?}");
    let timing = response.header("server-timing").unwrap_or_default();
    assert!(timing.contains("fetch;dur=") && !timing.contains("fetch;dur=0.000"), "{timing}");
    let response = server.call(&Request::post("/predict", json!([image(3), image(2)]).to_string()));
    assert_eq!((&response.json()[0]["class"], &response.json()[1]["class"]), (&json!(["3"]), &json!(["2"])), "{response:?}");
}

#[test]
fn what_is_not_public_is_refused_alike_and_at_once() {
    let server = RunningServer::start("--model tests/models/kitchen");
    let origin = Origin::at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |stream| Ok(Box::new(stream)));
    let port = origin.address.port();
    // Where the machine has IPv6; else there is nothing to be reached anyway.
    let over_v6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok();
    let v6 = over_v6.then(|| Origin::at(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), |stream| Ok(Box::new(stream))));
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "127.1",
        "017700000001",
        "user:pw@127.0.0.1",
    ];
    let mut urls: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}/text/secret")).collect();
    urls.extend(["file:///etc/passwd", "ftp:", "ftp://127.0.0.1/x", "user:pw@"].map(str::to_owned));
    urls.push(format!("https://127.0.0.1:{port}/"));
    urls.push("http://user:pw@example.org/".into());
    let mut messages = Vec::new();
    for url in &urls {
        // The answer may tell what the text of a URL tells, but not what only the network tells.
        let expect = match url {
            url if url.contains("//user:pw@") => "is not allowed; it must have no user and no password",
            url if url.starts_with("http") => "is not allowed; its host must be one that this server fetches from",
            _ => "is not allowed; its scheme must be http, https or data",
        };
        let request = lengths(std::slice::from_ref(url));
        // The quickest of some tries: the machine may be busy with other tests.
        let quickest = (0..5)
            .map(|_| {
                let start = Instant::now();
                let response = server.call(&request);
                check_error(&response, 400, expect);
                assert_eq!(response.json()["code"], json!("FAILED_PRECONDITION"), "{url}");
                let error = response.json()["error"].as_str().unwrap_or_default().to_owned();
                messages.push(error.rsplit_once("\": ").map(|(_, message)| message.to_owned()));
                start.elapsed()
            })
            .min();
        assert!(quickest < Some(Duration::from_millis(50)), "{url}: {quickest:?}");
    }
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert_eq!((origin.connections(), v6.map(|v6| v6.connections()).unwrap_or(0)), (0, 0), "nobody was dialled");
}

#[test]
fn a_redirect_into_loopback_is_refused() {
    let open = Origin::at(SocketAddr::from((loopback(2), 0)), |stream| Ok(Box::new(stream)));
    let private = Origin::start();
    let server = RunningServer::start("--model tests/models/kitchen --url_allow 127.0.0.2");
    for location in [private.url("/text/secret"), format!("//0x7f.1:{}/x", private.address.port()), "file:///etc/passwd".into()] {
        let response = server.call(&lengths(&[open.url(&format!("/to/{location}"))]));
        check_error(&response, 400, "is not allowed");
    }
    assert_eq!(private.connections(), 0);
    assert_eq!(server.post("/length", &json!({"text": [{"url": open.url("/text/open")}]}).to_string()).0, 200);
}

#[test]
fn redirects_are_followed_three_times() {
    let (origin, other) = (Origin::start(), Origin::at(SocketAddr::from((loopback(3), 0)), |stream| Ok(Box::new(stream))));
    let server = RunningServer::shared(KITCHEN);
    assert_eq!(server.call(&lengths(&[origin.url("/down/3")])).text(), r#"{"bytes":[4]}"#);
    check_error(&server.call(&lengths(&[origin.url("/down/4")])), 400, "redirects more than 3 times");
    check_error(&server.call(&lengths(&[origin.url("/loop")])), 400, "redirects more than 3 times");
    check_error(&server.call(&lengths(&[origin.url("/nowhere")])), 400, "answered 302");
    check_error(&server.call(&lengths(&[origin.url("/to-latin-1")])), 400, "redirects to a location that is not UTF-8");
    let text = json!({"x": [[{"url": origin.url("/to-utf-8")}, ""]]});
    let response = server.call(&Request::post("/echo_string", text.to_string()));
    assert_eq!(response.json(), json!({"y": [["gr%C3%B6%C3%9Fe?a=%C3%BC", ""]]}), "{response:?}");
    let to_other = origin.url(&format!("/to/{}", other.url("/text/other")));
    assert_eq!(server.call(&lengths(&[to_other])).text(), r#"{"bytes":[5]}"#);
}

#[test]
fn flags_decide_what_is_taken() {
    let origin = Origin::start();
    let off = RunningServer::start(&format!("{KITCHEN} --no_url"));
    check_error(&off.call(&lengths(&[origin.url("/text/a")])), 400, "takes no urls (--no_url)");
    let other = RunningServer::start(&format!("{KITCHEN} --url_domains example.org,*.example.com"));
    check_error(&other.call(&lengths(&[origin.url("/text/a")])), 400, "is not allowed");
    let stay = RunningServer::start(&format!("{KITCHEN} --url_redirects 0 --url_size 10"));
    check_error(&stay.call(&lengths(&[origin.url("/down/1")])), 400, "redirects more than 0 times");
    check_error(&stay.call(&lengths(&[origin.url("/size/11")])), 413, "is 11 bytes, limit 10 bytes");
    check_error(&stay.call(&lengths(&["data:,12345678901".into()])), 413, "is 11 bytes, limit 10 bytes");
    assert_eq!(stay.call(&lengths(&[origin.url("/size/10")])).status, 200);
    assert_eq!(origin.gets("/text/a"), 0);
}

#[test]
fn a_request_names_at_most_256_urls() {
    let origin = Origin::start();
    let server = RunningServer::shared(KITCHEN);
    let urls = vec![origin.url("/size/7"); 257];
    check_error(&server.call(&lengths(&urls)), 400, "a request may name at most 256 urls");
    assert_eq!(origin.connections(), 0);
    assert_eq!(server.call(&lengths(&urls[..256])).json(), json!({ "bytes": vec![7; 256] }));
    assert_eq!(origin.gets("/size/7"), 1, "the same url in one request is fetched once");
}

#[test]
fn the_same_url_in_many_requests_is_fetched_once() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    let request = lengths(&[origin.url("/held")]);
    let waiting = server.send_all((0..64).map(|_| request.clone()));
    origin.until_busy(1);
    // All requests are with the fetcher once each thread of the server has answered something later.
    for _ in 0..64 {
        assert_eq!(server.call(&Request::get("/livez")).status, 200);
    }
    origin.release();
    for mut connection in waiting {
        assert_eq!(connection.receive().expect("an answer").text(), r#"{"bytes":[4]}"#);
    }
    assert_eq!(origin.gets("/held"), 1);
    assert_eq!(server.call(&request).status, 200);
    assert_eq!(origin.gets("/held"), 2, "it is no cache");
}

#[test]
fn one_host_is_asked_for_sixteen_at_a_time_and_all_for_sixty_four() {
    let server = RunningServer::start(KITCHEN);
    let origins: Vec<Origin> =
        (2..8).map(|last| Origin::at(SocketAddr::from((loopback(last), 0)), |tcp| Ok(Box::new(tcp)))).collect();
    // One request has a quarter of the turns too, so each host has its own.
    let of_host = |origin: &Origin| lengths(&(0..40).map(|i| origin.url(&format!("/held/{i}"))).collect::<Vec<_>>());
    let waiting = server.send_all(origins.iter().map(of_host));
    let busy = || origins.iter().map(Origin::busy_max).sum::<usize>();
    crate::support::until("64 fetches are under way", || busy() == 64);
    origins.iter().for_each(Origin::release);
    for mut connection in waiting {
        assert_eq!(connection.receive().expect("an answer").json(), json!({ "bytes": vec![4; 40] }));
    }
    assert!(origins.iter().all(|origin| origin.busy_max() <= 16), "{:?}", origins.iter().map(Origin::busy_max).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_is_answered_503() {
    let origin = Origin::start();
    let server = RunningServer::start(&format!("{KITCHEN} --url_concurrency 4 --queue_size 3"));
    let urls: Vec<String> = (0..4).map(|i| origin.url(&format!("/held/{i}"))).collect();
    let mut waiting = server.send_all([lengths(&urls)]);
    origin.until_busy(1);
    let other = Origin::at(SocketAddr::from((loopback(2), 0)), |stream| Ok(Box::new(stream)));
    assert_eq!(server.call(&lengths(&[other.url("/size/3")])).text(), r#"{"bytes":[3]}"#, "another host has its turn");
    let response = server.call(&lengths(&[origin.url("/held/more")]));
    check_error(&response, 503, "3 urls wait to be fetched (limit 3)");
    assert_eq!(response.header("retry-after"), Some("1"));
    origin.release();
    assert_eq!(waiting[0].receive().expect("an answer").status, 200);
}

#[test]
fn who_hangs_up_ends_the_fetch() {
    let origin = Origin::start();
    let server = RunningServer::start(KITCHEN);
    let mut both = server.send_all((0..2).map(|_| lengths(&[origin.url("/held")])));
    origin.until_busy(1);
    drop(both.pop());
    for _ in 0..8 {
        assert_eq!(server.call(&Request::get("/livez")).status, 200);
    }
    origin.until_busy(1);
    drop(both);
    origin.until_open(0);
}

#[test]
fn a_deadline_ends_the_fetch() {
    let origin = Origin::start();
    let server = RunningServer::start(&format!("{KITCHEN} --request_timeout_ms 200"));
    let response = server.call(&lengths(&[origin.url("/held")]));
    check_error(&response, 504, "the request's time ran out while its urls were fetched");
    origin.until_open(0);
}

#[test]
fn fetched_bytes_wait_for_room() {
    let origin = Origin::start();
    let server = RunningServer::start(&format!("{KITCHEN} --url_size 1000000 --url_memory 2000000"));
    let sent = server.send_all((0..40).map(|i| lengths(&[origin.url(&format!("/size/{}", 900_000 + i))])));
    for (i, mut connection) in sent.into_iter().enumerate() {
        assert_eq!(connection.receive().expect("an answer").json(), json!({ "bytes": [900_000 + i] }));
    }
    let two: Vec<String> = (0..2).map(|i| origin.url(&format!("/size/{}", 600_000 + i))).collect();
    check_error(&server.call(&lengths(&two)), 413, "the urls of one request may hold 976.5 KiB together");
    // Room comes back with what was refused, with what was run, and of bodies that were smaller than they could have been.
    for _ in 0..10 {
        assert_eq!(server.call(&lengths(&[origin.url("/until-end")])).json(), json!({"bytes": [13]}));
    }
    assert_eq!(server.call(&lengths(&[origin.url("/size/1000000")])).status, 200);
}

#[test]
fn no_memory_in_time_is_answered_503() {
    let origin = Origin::start();
    let gated = Gated::new(session("tests/models/kitchen"));
    let flags = "--url_allow 127.0.0.0/8 --url_size 1000000 --url_memory 1000000 --url_timeout_ms 300";
    let server = RunningServer::of(gated.clone(), flags);
    gated.hold();
    let mut running = server.send_all([lengths(&[origin.url("/size/999000")])]);
    gated.until_runs(1);
    let response = server.call(&lengths(&[origin.url("/size/2000")]));
    check_error(&response, 503, "waited 0.3 s for memory (limit --url_memory)");
    assert_eq!(response.header("retry-after"), Some("1"));
    gated.release();
    assert_eq!(running[0].receive().expect("an answer").json(), json!({"bytes": [999_000]}));
    assert_eq!(server.call(&lengths(&[origin.url("/size/2000")])).status, 200, "room came back with the run's end");
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let (origin, proxy) = (Origin::start(), Origin::start());
    let variables = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, proxy.url("/")));
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, url)| (*name, url.as_str())).collect();
    let process = Process::start(&format!("--host 127.0.0.1 --port 0 {KITCHEN}"), &variables).ready();
    assert_eq!(process.connect().call(&lengths(&[origin.url("/size/1")])).expect("an answer").status, 200);
    assert_eq!(proxy.connections(), 0);
}

/// The times that 99 of 100 requests without URLs stay under, at each of two servers asked in turn, so that what else the
/// machine does hurts both alike.
fn p99(addresses: [SocketAddr; 2]) -> [f64; 2] {
    let mut connections = addresses.map(|address| Connection::open(address).expect("the server accepts"));
    let request = Request::post("/length", r#"{"text": ["abc"]}"#);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..1000 {
        for (connection, times) in connections.iter_mut().zip(&mut times) {
            let start = Instant::now();
            assert_eq!(connection.call(&request).expect("an answer").status, 200);
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    })
}

#[test]
fn a_dead_host_delays_nobody_else() {
    if !is_alone("urls::a_dead_host_delays_nobody_else") {
        return;
    }
    let (dead, other) = (Origin::start(), Origin::at(SocketAddr::from((loopback(2), 0)), |stream| Ok(Box::new(stream))));
    let idle = RunningServer::start(KITCHEN);
    let busy = RunningServer::start(&format!("{KITCHEN} --url_timeout_ms 60000 --request_timeout_ms 60000"));
    let waiting = busy.send_all((0..500).map(|i| lengths(&[dead.url(&format!("/silent/{i}"))])));
    dead.until_busy(16);
    let rounds: Vec<f64> = (0..5)
        .map(|_| {
            let [idle, busy] = p99([idle.address, busy.address]);
            busy / idle
        })
        .collect();
    let best = rounds.iter().copied().fold(f64::MAX, f64::min);
    eprintln!("p99 beside 500 hanging fetches / p99 of an idle server: {rounds:.2?}");
    assert!(best < 1.5, "{rounds:.2?}");
    for i in 0..20 {
        let start = Instant::now();
        assert_eq!(busy.call(&lengths(&[other.url(&format!("/size/{i}"))])).json(), json!({ "bytes": [i] }));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    drop(waiting);
    dead.until_open(0);
}
