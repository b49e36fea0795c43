//! The observer of a signature's runs.

use std::sync::{Arc, Mutex};

use tfweb_engine::fake::{Behaviour, FakeSession};

use super::support::{behind_a_held_run, column, soon, start_observed, until, POLICY};
use crate::observer::{ObservedRun, RunObserver, TraceLink};

const REQUEST: TraceLink = TraceLink { trace: [1; 16], span: [2; 8] };
const RUN: TraceLink = TraceLink { trace: [3; 16], span: [4; 8] };

/// The observer's note of one run.
#[derive(Debug, PartialEq)]
struct Note {
    rows: usize,
    requests: usize,
    links: usize,
    error: Option<&'static str>,
}

/// Notes each run, and records a span for a run with links.
#[derive(Default)]
struct Notes {
    /// The rows and the requests of each run that has begun.
    begun: Mutex<Vec<(usize, usize)>>,
    ended: Mutex<Vec<Note>>,
}

impl RunObserver for Notes {
    fn begins(&self, rows: usize, requests: usize) {
        self.begun.lock().unwrap().push((rows, requests));
    }

    fn ran(&self, run: &ObservedRun<'_>) -> Option<TraceLink> {
        assert!(run.begun <= run.ended && run.links.iter().all(|link| *link == REQUEST));
        let ObservedRun { rows, requests, error, .. } = *run;
        self.ended.lock().unwrap().push(Note { rows, requests, links: run.links.len(), error });
        (!run.links.is_empty()).then_some(RUN)
    }
}

#[actix::test]
async fn an_observer_is_told_of_each_run_before_its_requests_are_answered() {
    let fake = Arc::new(FakeSession::new(Behaviour::HalfPlusTwo));
    let notes = Arc::new(Notes::default());
    let handle = start_observed(&fake, POLICY, notes.clone()).remove(0);
    let requests = vec![handle.predict(column(&[1.0; 3]), soon(), Some(REQUEST)), handle.predict(column(&[2.0]), soon(), None)];
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    assert_eq!(
        *notes.ended.lock().unwrap(),
        [Note { rows: 1, requests: 1, links: 0, error: None }, Note { rows: 4, requests: 2, links: 1, error: None }]
    );
    for answer in answers {
        assert_eq!(answer.unwrap().runs, [RUN], "the run that served it");
    }
}

#[actix::test]
async fn an_observer_is_told_of_runs_that_fail() {
    let fake = Arc::new(FakeSession::new(Behaviour::FailsOnNegative));
    let notes = Arc::new(Notes::default());
    let handle = start_observed(&fake, POLICY, notes.clone()).remove(0);
    handle.predict(column(&[-1.0]), soon(), Some(REQUEST)).await.unwrap_err();
    assert_eq!(*notes.ended.lock().unwrap(), [Note { rows: 1, requests: 1, links: 1, error: Some("INVALID_ARGUMENT") }]);
}

#[actix::test]
async fn an_observer_is_told_of_a_run_when_it_begins() {
    let fake = Arc::new(FakeSession::new(Behaviour::HalfPlusTwo));
    let notes = Arc::new(Notes::default());
    let handle = start_observed(&fake, POLICY, notes.clone()).remove(0);
    fake.hold();
    let running = async {
        until(|| fake.run_rows().len() == 1).await;
        assert_eq!(*notes.begun.lock().unwrap(), [(3, 1)]);
        assert_eq!(*notes.ended.lock().unwrap(), []);
        fake.release();
    };
    futures::join!(handle.predict(column(&[1.0; 3]), soon(), None), running).0.unwrap();
}
