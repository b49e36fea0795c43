//! How many rows a part of a large request has. Pure: it is told how long runs took.
//!
//! Cheap rows cost less the more of them share a run: 100,000 rows of half_plus_two take 72 ms in runs of 32, and 0.34 ms in one.
//! Costly rows gain nothing, and a long run makes its neighbours wait. So a part begins as large as a batch and is doubled for as
//! long as runs stay short and more rows a second come of it. Rows of other shapes may cost more: a long run halves it again, also
//! one of a request that fitted into a part. It is remembered for each signature.

use std::time::Duration;

/// How long a run of a part may take: so long a neighbour may have to wait for a free thread.
const RUN_TIME_MAX: Duration = Duration::from_millis(10);
/// The most bytes of a part's inputs and outputs. Nothing tells the bytes that a run takes besides.
const BYTES_MAX: usize = 32 << 20;
/// By how much more rows a second have to come of a larger part, so that noise does not pass for a gain.
const GAIN_LEAST: f64 = 1.1;

/// The size of parts, as far as it was learnt.
#[derive(Debug, Default)]
pub(crate) struct PartSize {
    /// 0 until a part has run.
    rows: usize,
    /// The most rows a second that came of parts of this size, and of the size below.
    rate: f64,
    rate_below: f64,
}

impl PartSize {
    /// How many rows the next part has, where a batch has `batch_rows_max`.
    pub(crate) fn rows(&self, batch_rows_max: usize) -> usize {
        self.rows.max(batch_rows_max)
    }

    /// Learns from the run of a part, or of a large request, alone: its rows, its time, the bytes of its inputs and outputs.
    #[allow(clippy::cast_precision_loss, reason = "rows are far below 2^53")]
    pub(crate) fn observe(&mut self, rows: usize, time: Duration, bytes: usize) {
        if rows > self.rows {
            *self = Self { rows, ..Self::default() };
        }
        if time > RUN_TIME_MAX || bytes > BYTES_MAX {
            *self = Self { rows: self.rows / 2, ..Self::default() };
            return;
        }
        if rows < self.rows {
            return;
        }
        self.rate = self.rate.max(rows as f64 / time.as_secs_f64().max(f64::EPSILON));
        // Twice the rows may take twice the time and memory.
        if time * 2 <= RUN_TIME_MAX && bytes.saturating_mul(2) <= BYTES_MAX && self.rate > self.rate_below * GAIN_LEAST {
            *self = Self { rows: rows * 2, rate: 0.0, rate_below: self.rate };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs parts of a model whose run takes so long, and each of its rows; gives the rows of each part.
    fn parts(run: Duration, row: Duration, row_bytes: usize, count: usize) -> Vec<usize> {
        let mut size = PartSize::default();
        let part = |_| {
            let rows = size.rows(32);
            size.observe(rows, run + row * u32::try_from(rows).unwrap(), rows * row_bytes);
            rows
        };
        (0..count).map(part).collect()
    }

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn parts_of_cheap_rows_are_doubled() {
        assert_eq!(parts(micros(50), Duration::ZERO, 8, 5), [32, 64, 128, 256, 512]);
    }

    #[test]
    fn costly_rows_stay_in_batches() {
        assert_eq!(parts(micros(50), micros(5000), 8, 4), [32; 4]);
    }

    #[test]
    fn parts_end_growing_when_runs_get_long_or_nothing_is_gained() {
        assert_eq!(parts(micros(1000), micros(10), 8, 7), [32, 64, 128, 256, 512, 512, 512]);
        assert_eq!(parts(micros(10), micros(10), 8, 4), [32, 64, 64, 64]);
    }

    #[test]
    fn parts_end_growing_with_the_bytes_of_their_rows() {
        assert_eq!(parts(micros(50), Duration::ZERO, 256 << 10, 4), [32, 64, 128, 128]);
    }

    #[test]
    fn a_long_run_halves_and_never_below_a_batch() {
        let mut size = PartSize::default();
        size.observe(256, micros(1), 0);
        assert_eq!(size.rows(32), 512);
        size.observe(512, micros(20_000), 0);
        assert_eq!(size.rows(32), 256);
        (0..10).for_each(|_| size.observe(size.rows(32), micros(20_000), 0));
        assert_eq!(size.rows(32), 32);
        size.observe(32, micros(1), 0);
        assert_eq!(size.rows(32), 64, "and grows again");
    }

    #[test]
    fn smaller_runs_only_halve() {
        let mut size = PartSize::default();
        size.observe(256, micros(50), 0);
        size.observe(7, micros(1), 0);
        assert_eq!(size.rows(32), 512);
        size.observe(300, micros(90_000), 0);
        assert_eq!(size.rows(32), 256, "rows of another shape take long");
        size.observe(100, micros(1), BYTES_MAX + 1);
        assert_eq!(size.rows(32), 128, "or are large");
    }
}
