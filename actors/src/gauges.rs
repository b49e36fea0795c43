//! The gauges of one signature: how many rows wait and run, the pace of its queue, and the size of parts that it has learnt.
//!
//! The handle, the ModelActor and the run threads share them. Figures read them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::part_size::PartSize;

/// The gauges of one signature of one version. They outlive the model: a second load of the same version goes on with them.
#[derive(Debug, Default)]
pub struct RowGauges {
    queued: Gauge,
    running: Gauge,
    /// The time in which one row leaves the queue, in nanoseconds; 0 while it is not known.
    row_nanos: AtomicU64,
    part_size: Mutex<PartSize>,
}

/// The rows in one state, waiting or running.
#[derive(Debug, Default)]
struct Gauge {
    rows: AtomicUsize,
    /// The rows in one turn: of each request at most a batch, for a large request takes turns with the others.
    turn_rows: AtomicUsize,
}

impl RowGauges {
    /// How many rows wait for a run.
    #[must_use]
    pub fn queued_rows(&self) -> usize {
        self.queued.rows.load(Ordering::Relaxed)
    }

    /// How many rows are in a run.
    #[must_use]
    pub fn running_rows(&self) -> usize {
        self.running.rows.load(Ordering::Relaxed)
    }

    /// Notes the time in which one row leaves the queue; 0 if it is not known.
    pub(crate) fn set_pace(&self, per_row: Duration) {
        self.row_nanos.store(u64::try_from(per_row.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time that a new request will take, from now to the end of its run, if it has `rows` rows in its turn. 0 if no request
    /// waits or the pace is not known.
    pub(crate) fn expected_time(&self, rows: usize) -> Duration {
        let queued = self.queued.turn_rows.load(Ordering::Relaxed);
        if queued == 0 {
            return Duration::ZERO;
        }
        let all = (queued + self.running.turn_rows.load(Ordering::Relaxed) + rows) as u64;
        Duration::from_nanos(self.row_nanos.load(Ordering::Relaxed).saturating_mul(all))
    }

    /// How many rows the next part of a large request has, if a row has `row_bytes` bytes.
    pub(crate) fn part_rows(&self, batch_rows_max: usize, row_bytes: usize) -> usize {
        self.part_size().rows(batch_rows_max, row_bytes)
    }

    /// Learns from a run that held nothing but one part of a request: its rows, its time, the bytes of its inputs and outputs.
    pub(crate) fn learn_part(&self, rows: usize, time: Duration, bytes: [usize; 2]) {
        self.part_size().learn(rows, time, bytes);
    }

    fn part_size(&self) -> MutexGuard<'_, PartSize> {
        self.part_size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of a request, counted as waiting and later as running. Their drop takes them off.
#[derive(Debug)]
pub(crate) struct CountedRows {
    rows: usize,
    /// The most rows of a batch.
    batch_rows_max: usize,
    running: bool,
    gauges: Arc<RowGauges>,
}

impl CountedRows {
    /// Counts rows that begin to wait.
    pub(crate) fn queue(rows: usize, batch_rows_max: usize, gauges: Arc<RowGauges>) -> Self {
        let counted = Self { rows, batch_rows_max, running: false, gauges };
        counted.add();
        counted
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many of the rows run in one turn: at most a batch.
    pub(crate) fn turn_rows(&self) -> usize {
        self.rows.min(self.batch_rows_max)
    }

    pub(crate) fn gauges(&self) -> &RowGauges {
        &self.gauges
    }

    /// Takes off `rows` rows, which are counted by themselves from here on.
    pub(crate) fn split_off(&mut self, rows: usize) -> Self {
        debug_assert!(rows <= self.rows && !self.running, "rows are divided while they wait; this is a bug");
        self.take_off();
        self.rows -= rows;
        self.add();
        Self::queue(rows, self.batch_rows_max, Arc::clone(&self.gauges))
    }

    /// Makes what counts other rows of the same request once these are dropped.
    pub(crate) fn template(&self) -> impl FnOnce(usize) -> Self {
        let (batch_rows_max, gauges) = (self.batch_rows_max, Arc::clone(&self.gauges));
        move |rows| Self::queue(rows, batch_rows_max, gauges)
    }

    /// Counts the rows as running. A second call changes nothing.
    pub(crate) fn run(&mut self) {
        if !self.running {
            self.take_off();
            self.running = true;
            self.add();
        }
    }

    fn add(&self) {
        self.gauge().rows.fetch_add(self.rows, Ordering::Relaxed);
        self.gauge().turn_rows.fetch_add(self.turn_rows(), Ordering::Relaxed);
    }

    fn take_off(&self) {
        self.gauge().rows.fetch_sub(self.rows, Ordering::Relaxed);
        self.gauge().turn_rows.fetch_sub(self.turn_rows(), Ordering::Relaxed);
    }

    fn gauge(&self) -> &Gauge {
        if self.running {
            &self.gauges.running
        } else {
            &self.gauges.queued
        }
    }
}

impl Drop for CountedRows {
    fn drop(&mut self) {
        self.take_off();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_in_one_place_at_a_time() {
        let gauges = Arc::new(RowGauges::default());
        let counts = || (gauges.queued_rows(), gauges.running_rows());
        let mut rows = CountedRows::queue(5, 3, Arc::clone(&gauges));
        let mut front = rows.split_off(2);
        assert_eq!(counts(), (5, 0));
        front.run();
        front.run();
        assert_eq!(counts(), (3, 2));
        drop(rows);
        assert_eq!(counts(), (0, 2));
        drop(front);
        assert_eq!(counts(), (0, 0));

        gauges.set_pace(Duration::from_millis(1));
        let _large = CountedRows::queue(1000, 3, Arc::clone(&gauges));
        assert_eq!(gauges.expected_time(2), Duration::from_millis(3 + 2), "one batch of the large request is ahead");
        let mut running = CountedRows::queue(2, 3, Arc::clone(&gauges));
        running.run();
        assert_eq!(gauges.expected_time(4), Duration::from_millis(3 + 2 + 4), "and what runs");
    }
}
