//! Learns how many rows a part of a large request should have. Pure: it reads no clock.
//!
//! Cheap rows cost less the more of them share a run: 100,000 rows of half_plus_two take 72 ms in runs of 32 rows, and 0.34 ms in
//! one run. Costly rows gain nothing, and a long run makes other requests wait. So a part begins as large as a batch. Its size
//! doubles as long as runs stay short and give more rows a second. Rows of other shapes may cost more, so a long run halves the
//! size again; so does the long run of a large request that fitted into one part. Rows without elements cost least and tell least:
//! what they have taught holds for others only until those have run. Each signature learns by itself.

use std::time::Duration;

/// The longest run of a part. Another request may have to wait for the thread as long.
const RUN_TIME_MAX: Duration = Duration::from_millis(10);
/// The most bytes of a part's inputs and outputs. The memory that TensorFlow uses for the run itself is not known.
const BYTES_MAX: usize = 32 << 20;
/// A larger part must give at least this many times the rows a second, so that noise does not count as a gain.
const GAIN_MIN: f64 = 1.1;

/// The size of parts as learnt so far.
#[derive(Debug, Default)]
pub(crate) struct PartSize {
    /// The rows of a part; 0 until a part has run.
    rows: usize,
    /// The most bytes of a part's inputs: twice the most that a short run has had. Rows of another shape may be larger, so the rows
    /// alone do not bound a part.
    input_bytes: usize,
    /// The most rows a second that parts of this size have given.
    rate: f64,
    /// The most rows a second that parts of half this size have given.
    rate_below: f64,
}

impl PartSize {
    /// How many rows of `row_bytes` bytes the next part has; at least a batch of `batch_rows_max` rows.
    pub(crate) fn rows(&self, batch_rows_max: usize, row_bytes: usize) -> usize {
        let rows = self.input_bytes.checked_div(row_bytes).map_or(self.rows, |most| most.min(self.rows));
        rows.max(batch_rows_max)
    }

    /// Learns from a run that held nothing but one part or one large request: its rows, its time, the bytes of inputs and outputs.
    #[allow(clippy::cast_precision_loss, reason = "rows are far below 2^53")]
    pub(crate) fn learn(&mut self, rows: usize, time: Duration, [input_bytes, output_bytes]: [usize; 2]) {
        let bytes = input_bytes.saturating_add(output_bytes);
        if rows > self.rows || input_bytes > self.input_bytes {
            *self = Self { rows, input_bytes, ..Self::default() };
        }
        if time > RUN_TIME_MAX || bytes > BYTES_MAX {
            *self = Self { rows: self.rows / 2, input_bytes: self.input_bytes / 2, ..Self::default() };
            return;
        }
        self.input_bytes = self.input_bytes.max(input_bytes.saturating_mul(2));
        if rows < self.rows {
            return;
        }
        self.rate = self.rate.max(rows as f64 / time.as_secs_f64().max(f64::EPSILON));
        // Twice the rows may take twice the time and memory.
        if time * 2 <= RUN_TIME_MAX && bytes.saturating_mul(2) <= BYTES_MAX && self.rate > self.rate_below * GAIN_MIN {
            *self = Self { rows: rows * 2, input_bytes: self.input_bytes, rate: 0.0, rate_below: self.rate };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `count` parts of a model: a run takes the time `run`, and `row` for each row. Gives the rows of each part.
    fn parts(run: Duration, row: Duration, row_bytes: usize, count: usize) -> Vec<usize> {
        let mut size = PartSize::default();
        let part = |_| {
            let rows = size.rows(32, row_bytes / 2);
            size.learn(rows, run + row * u32::try_from(rows).unwrap(), [rows * (row_bytes / 2); 2]);
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
        size.learn(256, micros(1), [0; 2]);
        assert_eq!(size.rows(32, 0), 512);
        size.learn(512, micros(20_000), [0; 2]);
        assert_eq!(size.rows(32, 0), 256);
        (0..10).for_each(|_| size.learn(size.rows(32, 0), micros(20_000), [0; 2]));
        assert_eq!(size.rows(32, 0), 32);
        size.learn(32, micros(1), [0; 2]);
        assert_eq!(size.rows(32, 0), 64, "and grows again");
    }

    #[test]
    fn a_part_at_its_limits_stays() {
        let size_after = |time, bytes| {
            let mut size = PartSize::default();
            size.learn(64, time, [0, bytes]);
            size.rows(32, 0)
        };
        assert_eq!((size_after(RUN_TIME_MAX, 0), size_after(RUN_TIME_MAX + micros(1), 0)), (64, 32));
        assert_eq!((size_after(micros(1), BYTES_MAX), size_after(micros(1), BYTES_MAX + 1)), (64, 32));
        assert_eq!((size_after(RUN_TIME_MAX / 2, 0), size_after(micros(1), BYTES_MAX / 2)), (128, 128), "twice as much still fits");
    }

    #[test]
    fn smaller_runs_only_halve() {
        let mut size = PartSize::default();
        size.learn(256, micros(50), [0; 2]);
        size.learn(7, micros(1), [0; 2]);
        assert_eq!(size.rows(32, 0), 512);
        size.learn(300, micros(90_000), [0; 2]);
        assert_eq!(size.rows(32, 0), 256, "rows of another shape take long");
        size.learn(100, micros(1), [0, BYTES_MAX + 1]);
        assert_eq!(size.rows(32, 0), 128, "or are large");
    }

    #[test]
    fn larger_rows_make_no_larger_parts() {
        let mut size = PartSize::default();
        size.learn(4096, micros(1), [4 * 4096, 0]);
        assert_eq!(size.rows(32, 4), 8192);
        assert_eq!(size.rows(32, 64), 512, "twice the bytes that ran quickly");
        assert_eq!(size.rows(32, 1 << 20), 32);
        assert_eq!(size.rows(32, 0), 8192);
        size.learn(512, micros(1), [64 * 512, 0]);
        assert_eq!(size.rows(32, 64), 1024, "half as many, and twice the bytes");
        assert_eq!(size.rows(32, 4), 8192, "which does not change the rows");
    }

    #[test]
    fn a_first_run_that_is_long_halves_the_bytes_too() {
        let mut size = PartSize::default();
        size.learn(256, micros(20_000), [1024, 0]);
        assert_eq!((size.rows(32, 4), size.rows(32, 8), size.rows(32, 16)), (128, 64, 32));
    }

    #[test]
    fn rows_without_elements_teach_nothing_about_others() {
        let mut size = PartSize::default();
        size.learn(1 << 20, micros(1), [0; 2]);
        assert_eq!((size.rows(32, 0), size.rows(32, 1)), (1 << 21, 32));
        size.learn(32, micros(1), [32, 0]);
        assert_eq!((size.rows(32, 0), size.rows(32, 1)), (64, 64), "one size for both, from the start");
    }
}
