//! A load of three times the capacity of a server: which requests it answers, which it refuses, and how soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tfweb_engine::fake::{Behaviour, FakeSession};

use crate::client::Request;
use crate::open_loop::{self, quantile, Answer};
use crate::process::resident_kib;
use crate::support::{is_alone, RunningServer};

/// The time of a run of the fake session. It sleeps, so that the machine has time for clients and the capacity is known.
const RUN: Duration = Duration::from_millis(20);
const BATCH_ROWS: u32 = 4;
/// The server answers a request that it takes within this time. At its capacity, a hundred requests wait.
const DEADLINE: Duration = Duration::from_millis(500);
/// How long the load goes on, unless the variable `OVERLOAD_SECONDS` says otherwise.
const SECONDS: u64 = 5;

fn seconds() -> Duration {
    Duration::from_secs(std::env::var("OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS))
}

#[test]
fn three_times_the_capacity_hurts_nobody_who_was_let_in() {
    if !is_alone("overload::three_times_the_capacity_hurts_nobody_who_was_let_in") {
        return;
    }
    let flags = format!("--run_threads 1 --batch_size {BATCH_ROWS} --request_timeout_ms {}", DEADLINE.as_millis());
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::Slow(RUN))), &flags);
    let request = Request::post("/", r#"{"x": [1]}"#);
    let bytes = [request.head(), request.body.clone()].concat();
    let load = |share: f64, time| {
        let capacity = f64::from(BATCH_ROWS) / RUN.as_secs_f64();
        open_loop::run(server.address, bytes.clone(), share * capacity, time).expect("every request is answered")
    };
    let before = alone(&server, &request);
    let warm = load(3.0, Duration::from_secs(1));
    assert!(!warm.is_empty());
    let kib = resident_kib(std::process::id());
    let time = seconds();
    let answers = load(3.0, time);
    let grown = resident_kib(std::process::id()).saturating_sub(kib);

    let of = |status: u16| answers.iter().filter(move |answer| answer.status == status);
    let times = |status: u16| of(status).map(|answer: &Answer| answer.time).collect::<Vec<_>>();
    let (mut accepted, mut refused) = (times(200), times(503));
    let late = of(504).count();
    // A sleep takes a little longer than it says. So the test measures how long the session's runs take on this machine.
    let run = (0..20)
        .map(|_| {
            let start = Instant::now();
            std::thread::sleep(RUN);
            start.elapsed()
        })
        .sum::<Duration>()
        / 20;
    let capacity = f64::from(BATCH_ROWS) / run.as_secs_f64() * time.as_secs_f64();
    let share = accepted.len() as f64 / capacity;
    let [accepted_p99, refused_p50, refused_p99] =
        [quantile(&mut accepted, 0.99), quantile(&mut refused, 0.5), quantile(&mut refused, 0.99)];
    let refused_max = quantile(&mut refused, 1.0);
    let after = alone(&server, &request);
    eprintln!(
        "{} answered, {share:.2} of capacity; p99 {accepted_p99:?}; {} refused, p50 {refused_p50:?} p99 {refused_p99:?} \
         max {refused_max:?}; {late} late; {grown} KiB more; alone {before:?} before, {after:?} after",
        accepted.len(),
        refused.len()
    );
    assert_eq!(accepted.len() + refused.len() + late, answers.len(), "nothing but 200, 503 and 504");
    assert!(share >= 0.9, "{share}");
    assert!(accepted_p99 <= DEADLINE, "{accepted_p99:?}");
    assert!(late * 100 <= accepted.len(), "{late} of {} that were let in are late", accepted.len() + late);
    assert!(of(503).all(|answer| answer.has_retry_after));
    assert!(refused_p50 < Duration::from_millis(20), "{refused_p50:?}");
    assert!(grown < 16 << 10, "{grown} KiB");
    assert!(after < before * 2, "{before:?} before, {after:?} after");
}

/// The median time of requests that come one by one.
fn alone(server: &RunningServer, request: &Request) -> Duration {
    let mut connection = server.connect();
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(connection.call(request).expect("an answer").status, 200);
            start.elapsed()
        })
        .collect();
    quantile(&mut times, 0.5)
}
