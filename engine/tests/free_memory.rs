//! Memory that one thread has allocated and another has freed goes back to the system. A binary of its own, for its allocator.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tfweb_engine::tensorflow::give_back_memory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WAIT_MAX: Duration = Duration::from_secs(30);
const BYTES: usize = 64 << 20;

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of kB")
}

#[test]
fn what_another_thread_has_freed_goes_back() {
    let before = resident_kib();
    let taken: Vec<Vec<u8>> = (0..4).map(|_| vec![1; BYTES]).collect();
    assert!(resident_kib() >= before + ((4 * BYTES) >> 10));
    thread::spawn(move || drop(taken)).join().expect("nothing panics");
    let begun = Instant::now();
    while resident_kib() > before + (BYTES >> 10) {
        assert!(begun.elapsed() < WAIT_MAX, "{} KiB are resident, {before} before", resident_kib());
        give_back_memory();
        thread::sleep(Duration::from_millis(10));
    }
}
