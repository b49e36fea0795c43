//! Gives memory back that requests have left, from each thread that works for them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tfweb_engine::tensorflow;
use tokio::time::{interval, MissedTickBehavior};

/// How often a thread gives memory back. The allocator itself keeps what was freed for as long.
const EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives memory back once a second, from the thread that polls it. It has no end.
pub async fn give_back_each_second() {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tensorflow::give_back_memory();
    }
}

/// Gives memory back from a thread that is about to wait, if it has not done so for a second.
pub fn give_back_before_waiting() {
    let now = Instant::now();
    if LAST.get().is_none_or(|last| now.duration_since(last) >= EVERY) {
        LAST.set(Some(now));
        tensorflow::give_back_memory();
    }
}
