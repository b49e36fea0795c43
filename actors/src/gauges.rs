//! What a signature's actor is doing, for metrics: how many rows wait and run, and what its runs are made of.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::part_size::PartSize;

/// Bounds for the rows and the requests of a run.
const BATCH_BOUNDS: &[u64] = &[1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096];

/// Figures of one signature, kept while it runs.
#[derive(Debug)]
pub struct ModelObservation {
    queued: Gauge,
    running: Gauge,
    /// How long a row takes while others wait; 0 while that is not known.
    row_nanos: AtomicU64,
    part_size: Mutex<PartSize>,
    batch_rows: Histogram,
    batch_requests: Histogram,
}

/// Rows at a place, and those of them that count for the time that others wait: of each request at most a batch, for it takes
/// turns with them.
#[derive(Debug, Default)]
struct Gauge {
    rows: AtomicUsize,
    turn_rows: AtomicUsize,
}

impl Default for ModelObservation {
    fn default() -> Self {
        let [batch_rows, batch_requests] = [Histogram::new(BATCH_BOUNDS), Histogram::new(BATCH_BOUNDS)];
        Self {
            queued: Gauge::default(),
            running: Gauge::default(),
            row_nanos: AtomicU64::new(0),
            part_size: Mutex::default(),
            batch_rows,
            batch_requests,
        }
    }
}

impl ModelObservation {
    /// Rows that wait for a run.
    #[must_use]
    pub fn queued_rows(&self) -> usize {
        self.queued.rows.load(Ordering::Relaxed)
    }

    /// Rows in a run.
    #[must_use]
    pub fn running_rows(&self) -> usize {
        self.running.rows.load(Ordering::Relaxed)
    }

    /// Rows of each session run.
    #[must_use]
    pub fn batch_rows(&self) -> &Histogram {
        &self.batch_rows
    }

    /// Requests, or parts of them, of each session run.
    #[must_use]
    pub fn batch_requests(&self) -> &Histogram {
        &self.batch_requests
    }

    /// Notes how long a row takes while others wait.
    pub(crate) fn set_pace(&self, per_row: Duration) {
        self.row_nanos.store(u64::try_from(per_row.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long a request that takes so many rows in its turn will take behind those that are here; 0 where none waits, or that is
    /// not known.
    pub(crate) fn expected_time(&self, rows: usize) -> Duration {
        let queued = self.queued.turn_rows.load(Ordering::Relaxed);
        if queued == 0 {
            return Duration::ZERO;
        }
        let all = (queued + self.running.turn_rows.load(Ordering::Relaxed) + rows) as u64;
        Duration::from_nanos(self.row_nanos.load(Ordering::Relaxed).saturating_mul(all))
    }

    /// How many rows the next part of a large request has.
    pub(crate) fn part_rows(&self, batch_rows_max: usize) -> usize {
        self.part_size.lock().unwrap_or_else(PoisonError::into_inner).rows(batch_rows_max)
    }

    /// Learns from the run of a part alone.
    pub(crate) fn learn_part(&self, rows: usize, time: Duration, bytes: usize) {
        self.part_size.lock().unwrap_or_else(PoisonError::into_inner).observe(rows, time, bytes);
    }

    /// Counts a session run.
    pub(crate) fn count_run(&self, rows: usize, requests: usize) {
        self.batch_rows.observe(rows as u64);
        self.batch_requests.observe(requests as u64);
    }
}

/// Rows of a request where they are counted: among those that wait, then among those that run. Dropped, they are neither.
#[derive(Debug)]
pub(crate) struct CountedRows {
    rows: usize,
    /// The most rows of a batch.
    batch_rows_max: usize,
    running: bool,
    observation: Arc<ModelObservation>,
}

impl CountedRows {
    /// Counts rows that begin to wait.
    pub(crate) fn queue(rows: usize, batch_rows_max: usize, observation: Arc<ModelObservation>) -> Self {
        let counted = Self { rows, batch_rows_max, running: false, observation };
        counted.add();
        counted
    }

    /// The rows that others wait for at a time.
    pub(crate) fn turn_rows(&self) -> usize {
        self.rows.min(self.batch_rows_max)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn observation(&self) -> &Arc<ModelObservation> {
        &self.observation
    }

    /// Takes rows off, which go on as their own.
    pub(crate) fn split_off(&mut self, rows: usize) -> Self {
        debug_assert!(rows <= self.rows && !self.running, "rows are divided while they wait; this is a bug");
        self.take_off();
        self.rows -= rows;
        self.add();
        Self::queue(rows, self.batch_rows_max, Arc::clone(&self.observation))
    }

    /// Counts them among those that run; a second time changes nothing.
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
            &self.observation.running
        } else {
            &self.observation.queued
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
        let observation = Arc::new(ModelObservation::default());
        let counts = || (observation.queued_rows(), observation.running_rows());
        let mut rows = CountedRows::queue(5, 3, Arc::clone(&observation));
        let mut front = rows.split_off(2);
        assert_eq!(counts(), (5, 0));
        front.run();
        front.run();
        assert_eq!(counts(), (3, 2));
        drop(rows);
        assert_eq!(counts(), (0, 2));
        drop(front);
        assert_eq!(counts(), (0, 0));

        observation.set_pace(Duration::from_millis(1));
        let _large = CountedRows::queue(1000, 3, Arc::clone(&observation));
        assert_eq!(observation.expected_time(2), Duration::from_millis(3 + 2), "of the large request one batch is ahead");
    }
}
