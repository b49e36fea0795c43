//! How fast a queue moves, so that a request that would be late is refused when it comes and not when its time has run out.
//!
//! Without this, a queue that is longer than its requests' time serves nobody: each reaches its run with too little time left, and
//! the run is for nothing. Measured is only while more wait than a run takes, and the time between one batch and the next: that
//! has in it what a run takes, how many go side by side, and what other signatures take of the threads.

use std::time::{Duration, Instant};

/// How much of what was known counts beside what was just seen.
const MEMORY: f64 = 0.8;

/// Rows that left the queue, and the time that took, fading.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    rows: f64,
    seconds: f64,
    /// When the last batch was formed.
    since: Option<Instant>,
}

impl Pace {
    /// Notes that so many rows left the queue, and whether others stay behind. With none, all is forgotten: what was slow then
    /// need not be slow when the queue is long again.
    ///
    /// Rows that left count as one at least: the pace divides by them, and a batch takes a run whatever it holds.
    #[allow(clippy::cast_precision_loss, reason = "queues are far below 2^53")]
    pub(crate) fn advance(&mut self, now: Instant, rows: usize, others_wait: bool) {
        if !others_wait {
            *self = Self::default();
            return;
        }
        if let Some(since) = self.since {
            self.rows = self.rows * MEMORY + rows.max(1) as f64;
            self.seconds = self.seconds * MEMORY + now.saturating_duration_since(since).as_secs_f64();
        }
        self.since = Some(now);
    }

    /// How long a row takes; 0 while nothing is known.
    pub(crate) fn per_row(&self) -> Duration {
        if self.rows > 0.0 {
            Duration::from_secs_f64(self.seconds / self.rows)
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_queue_that_is_never_empty_has_a_pace() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        pace.advance(at(0), 1, false);
        pace.advance(at(1000), 1, true);
        assert_eq!(pace.per_row(), Duration::ZERO, "it was empty in between");
        pace.advance(at(1040), 4, true);
        assert_eq!(pace.per_row(), Duration::from_millis(10));
        (1..=40).for_each(|i| pace.advance(at(1040 + 20 * i), 4, true));
        assert_eq!(pace.per_row().as_millis(), 5, "the past fades");
        pace.advance(at(2000), 4, false);
        assert_eq!(pace.per_row(), Duration::ZERO, "and with an empty queue it is over");
        pace.advance(at(9000), 1, true);
        assert_eq!(pace.per_row(), Duration::ZERO);
    }

    #[test]
    fn batches_without_rows_keep_the_pace_finite() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for i in 0..1000 {
            pace.advance(start + Duration::from_millis(10 * i), 0, true);
        }
        assert_eq!(pace.per_row().as_millis(), 10);
    }
}
