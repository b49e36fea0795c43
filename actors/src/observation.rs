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
    queued_rows: AtomicUsize,
    running_rows: AtomicUsize,
    /// How long a row takes while others wait; 0 while that is not known.
    row_nanos: AtomicU64,
    part_size: Mutex<PartSize>,
    batch_rows: Histogram,
    batch_requests: Histogram,
}

impl Default for ModelObservation {
    fn default() -> Self {
        let [batch_rows, batch_requests] = [Histogram::new(BATCH_BOUNDS), Histogram::new(BATCH_BOUNDS)];
        Self {
            queued_rows: AtomicUsize::new(0),
            running_rows: AtomicUsize::new(0),
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
        self.queued_rows.load(Ordering::Relaxed)
    }

    /// Rows in a run.
    #[must_use]
    pub fn running_rows(&self) -> usize {
        self.running_rows.load(Ordering::Relaxed)
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

    /// How long a request of so many rows will take behind those that are here; 0 where none waits, or that is not known.
    pub(crate) fn expected_time(&self, rows: usize) -> Duration {
        let queued = self.queued_rows();
        if queued == 0 {
            return Duration::ZERO;
        }
        let all = (queued + self.running_rows() + rows) as u64;
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
    running: bool,
    observation: Arc<ModelObservation>,
}

impl CountedRows {
    /// Counts rows that begin to wait.
    pub(crate) fn queue(rows: usize, observation: Arc<ModelObservation>) -> Self {
        let counted = Self { rows, running: false, observation };
        counted.gauge().fetch_add(rows, Ordering::Relaxed);
        counted
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
        self.rows -= rows;
        Self { rows, running: false, observation: Arc::clone(&self.observation) }
    }

    /// Counts them among those that run; a second time changes nothing.
    pub(crate) fn run(&mut self) {
        if !self.running {
            self.gauge().fetch_sub(self.rows, Ordering::Relaxed);
            self.running = true;
            self.gauge().fetch_add(self.rows, Ordering::Relaxed);
        }
    }

    fn gauge(&self) -> &AtomicUsize {
        if self.running {
            &self.observation.running_rows
        } else {
            &self.observation.queued_rows
        }
    }
}

impl Drop for CountedRows {
    fn drop(&mut self) {
        self.gauge().fetch_sub(self.rows, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_in_one_place_at_a_time() {
        let observation = Arc::new(ModelObservation::default());
        let counts = || (observation.queued_rows(), observation.running_rows());
        let mut rows = CountedRows::queue(5, Arc::clone(&observation));
        let mut front = rows.split_off(2);
        assert_eq!(counts(), (5, 0));
        front.run();
        front.run();
        assert_eq!(counts(), (3, 2));
        drop(rows);
        assert_eq!(counts(), (0, 2));
        drop(front);
        assert_eq!(counts(), (0, 0));
    }
}
