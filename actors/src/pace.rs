//! The pace of a queue, by which a request that would be late is refused when it comes and not when its time has run out.
//!
//! Without a pace, a queue that is longer than its requests' time serves nobody: each request reaches its run with too little time
//! left, and the run is wasted. The pace is the time from one batch to the next, measured only while other requests stay in the
//! queue. That time includes the run, the runs beside it, and the runs of other signatures on the same threads.

use std::time::{Duration, Instant};

/// The weight of all earlier batches against the latest one: each new batch shrinks the earlier ones by this factor.
const MEMORY: f64 = 0.8;

/// The rows that left the queue and the time in which they left. Both fade as new batches come.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    rows: f64,
    seconds: f64,
    /// When the last batch was formed.
    since: Option<Instant>,
}

impl Pace {
    /// Notes that `rows` rows left the queue at `now`. `others_wait` tells whether requests stay in it. If none stays, the pace is
    /// forgotten: it may be another when the queue is long again.
    ///
    /// A batch without rows counts as one row. The pace divides by rows, and any batch takes a run.
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

    /// The time in which one row leaves the queue; 0 while it is not known.
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
        assert_eq!(pace.per_row(), Duration::ZERO, "an empty queue forgets");
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
