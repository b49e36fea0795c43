//! The metrics of a signature's runs: how many rows and requests share a run.

use std::sync::Arc;

use tfweb_actors::{ObservedRun, RunObserver, TraceLink};

use super::histogram::Histogram;

/// Bounds for the rows and the requests of a run.
const BATCH_BOUNDS: &[u64] = &[1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096];

/// The sizes of runs.
pub struct RunFigures {
    /// The rows of each run.
    pub rows: Histogram,
    /// The requests, or parts of requests, of each run.
    pub requests: Histogram,
}

impl Default for RunFigures {
    fn default() -> Self {
        Self { rows: Histogram::new(BATCH_BOUNDS), requests: Histogram::new(BATCH_BOUNDS) }
    }
}

/// Counts the runs of a signature. Passes the runs of traced requests to the tracer.
pub struct RunCounter {
    /// The metrics of the signature's runs.
    pub figures: Arc<RunFigures>,
    /// The tracer of the signature's runs; `None` where traces are off.
    pub tracer: Option<Arc<dyn RunObserver>>,
}

impl RunObserver for RunCounter {
    fn begins(&self, rows: usize, requests: usize) {
        self.figures.rows.observe(rows as u64);
        self.figures.requests.observe(requests as u64);
    }

    fn ran(&self, run: &ObservedRun<'_>) -> Option<TraceLink> {
        self.tracer.as_ref().filter(|_| !run.links.is_empty())?.ran(run)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const LINK: TraceLink = TraceLink { trace: [1; 16], span: [2; 8] };

    #[derive(Default)]
    struct Tracer(AtomicUsize);

    impl RunObserver for Tracer {
        fn begins(&self, _: usize, _: usize) {}

        fn ran(&self, _: &ObservedRun<'_>) -> Option<TraceLink> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Some(LINK)
        }
    }

    #[test]
    fn every_run_is_counted_and_only_runs_with_traced_requests_are_traced() {
        let (figures, tracer) = (Arc::new(RunFigures::default()), Arc::new(Tracer::default()));
        let counter = RunCounter { figures: Arc::clone(&figures), tracer: Some(tracer.clone()) };
        counter.begins(7, 2);
        counter.begins(7, 2);
        let now = Instant::now();
        let run = |links| ObservedRun { begun: now, ended: now, rows: 7, requests: 2, links, error: None };
        assert_eq!((counter.ran(&run(&[])), counter.ran(&run(&[LINK]))), (None, Some(LINK)));
        assert_eq!(tracer.0.load(Ordering::Relaxed), 1);
        let [rows, requests] = [&figures.rows, &figures.requests].map(Histogram::read);
        assert_eq!([rows.sum, rows.count(), requests.sum, requests.count()], [14, 2, 4, 2]);
    }
}
