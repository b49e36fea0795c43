//! Versions that take each other's place under load: no answer is lost or mixed, none much slower, and no memory stays taken.
//! Real TensorFlow.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Request;
use crate::keeping::{models, Shelf, THREE, TWO};
use crate::process::Process;
use crate::support::{is_alone, until};

const CLIENTS: usize = 16;
const SWAPS: u64 = 20;
/// Answers that a round without swaps measures: enough for a p99.
const CALM_ANSWERS: usize = 5000;

/// The words between the clients and the test while the clients ask.
#[derive(Default)]
struct Progress {
    answers: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends the clients, also where the test fails.
struct Over<'a>(&'a Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Has the clients ask until it is over. Gives the times of their requests, and the answers that were neither version's.
fn load(process: &Process, progress: &Progress) -> (Vec<Duration>, Vec<String>) {
    let client = || {
        let mut connection = process.connect();
        let (mut times, mut wrong) = (Vec::new(), Vec::new());
        // Rows that tell the versions apart by each of them: an answer of both would show.
        let request = Request::post("/", r#"{"x": [0, 2, 4, 6]}"#);
        while !progress.is_over.load(Ordering::Relaxed) {
            let start = Instant::now();
            match connection.call(&request) {
                Ok(response) if response.status == 200 => {
                    let text = response.text();
                    if text != r#"{"y":[2.0,3.0,4.0,5.0]}"# && text != r#"{"y":[3.0,4.0,5.0,6.0]}"# {
                        wrong.push(text);
                    }
                }
                other => wrong.push(format!("{other:?}")),
            }
            times.push(start.elapsed());
            progress.answers.fetch_add(1, Ordering::Relaxed);
            // The pace of the load: steady, and not as much as the machine can do.
            thread::sleep(Duration::from_millis(5));
        }
        (times, wrong)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut all = (Vec::new(), Vec::new());
        for (times, wrong) in clients.into_iter().map(|client| client.join().expect("a client ends")) {
            all.0.extend(times);
            all.1.extend(wrong);
        }
        all
    })
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

#[test]
fn twenty_swaps_under_load_lose_nothing() {
    if !is_alone("swaps::twenty_swaps_under_load_lose_nothing") {
        return;
    }
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let process = Process::serve(&shelf.flags("--poll_seconds 0.1"));
    let measure = |work: &dyn Fn(&Progress)| {
        let progress = Progress::default();
        thread::scope(|scope| {
            let clients = scope.spawn(|| load(&process, &progress));
            let over = Over(&progress);
            work(&progress);
            drop(over);
            clients.join().expect("the clients end")
        })
    };
    let newest = || models(&mut process.connect())[0]["version"].as_u64();
    let after_two = AtomicU64::new(0);
    let mut ratios = Vec::new();
    let mut number = 1;
    // Without and with swaps in turn, so that what else the machine does hurts both alike.
    for _ in 0..4 {
        let (mut calm, wrong) = measure(&|progress| {
            until("the clients have their answers", || progress.answers.load(Ordering::Relaxed) >= CALM_ANSWERS);
        });
        assert!(wrong.is_empty(), "{wrong:?}");
        let first = number + 1;
        let (mut swapping, wrong) = measure(&|_| {
            for number in first..first + SWAPS / 4 {
                shelf.put(number, if number % 2 == 0 { THREE } else { TWO });
                until("the new version is served", || newest() == Some(number));
                shelf.remove(number - 1);
                if number == 3 {
                    after_two.store(process.resident_kib(), Ordering::Relaxed);
                }
            }
        });
        number += SWAPS / 4;
        assert!(
            wrong.is_empty(),
            "{} of {} requests failed or are of no one version: {:?}",
            wrong.len(),
            swapping.len(),
            &wrong[..1]
        );
        let (calm, swapping) = (p99(&mut calm), p99(&mut swapping));
        ratios.push(swapping.as_secs_f64() / calm.as_secs_f64());
        eprintln!("p99 {calm:?} without swaps, {swapping:?} during {} of them; {} KiB resident", SWAPS / 4, process.resident_kib());
    }
    let (after_two, after_all) = (after_two.into_inner(), process.resident_kib());
    eprintln!("p99 during swaps / without: {ratios:.2?}; {after_two} KiB resident after two, {after_all} KiB after all");
    ratios.sort_by(f64::total_cmp);
    // The lower median: what else the machine does is in the p99 of some rounds.
    assert!(ratios[1] <= 2.0, "{ratios:.2?}");
    assert!(after_all <= after_two + after_two / 10, "{after_two} KiB resident after two, {after_all} KiB after all");
}
