//! Runs whose time runs out, and threads that panic outside of a run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Code, Error, Tensor};
use tfweb_limits::Deadline;

use super::support::{behind_a_held_run, column, floats, soon, start_observed, start_own, until, until_queued, values, POLICY};
use crate::observer::{ObservedRun, RunObserver, TraceLink};

fn in_ms(ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(ms))
}

#[actix::test]
async fn a_run_has_the_time_of_the_request_that_has_most() {
    let (own, handle) = start_own(POLICY, |x, _| Ok(vec![x.clone()]));
    let requests = [50_000, 200_000, 100_000].map(|ms| handle.predict(column(&[1.0]), in_ms(ms), None));
    behind_a_held_run(&own.fake, &handle, requests.into()).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let time = own.run_times()[1];
    assert!(time > Duration::from_secs(150) && time <= Duration::from_secs(200), "{time:?}");
}

#[actix::test]
async fn a_run_that_was_ended_for_its_time_is_not_begun_again() {
    let ends = |x: &Tensor, time| {
        if floats(x).iter().all(|value| *value >= 0.0) {
            return Ok(vec![x.clone()]);
        }
        std::thread::sleep(time);
        Err(Error::new(Code::DeadlineExceeded, "Timed out waiting for notification"))
    };
    let (own, handle) = start_own(POLICY, ends);
    let requests = [-1.0, 1.0, 2.0].map(|x| handle.predict(column(&[x]), in_ms(300), None));
    for answer in behind_a_held_run(&own.fake, &handle, requests.into()).await {
        let expected = Error::new(Code::DeadlineExceeded, "the request's time ran out while it ran");
        assert_eq!(answer.unwrap_err(), expected);
    }
    let requests = [3.0, 4.0].map(|x| handle.predict(column(&[x]), soon(), None));
    let answers = behind_a_held_run(&own.fake, &handle, requests.into()).await;
    assert_eq!(answers.into_iter().map(values).collect::<Vec<_>>(), [[3.0], [4.0]]);
    let runs = own.run_values();
    assert_eq!(runs[..2], [vec![0.0], vec![-1.0, 1.0, 2.0]]);
    assert!(!runs[2..].concat().iter().any(|value| [-1.0, 1.0, 2.0].contains(value)), "{runs:?}");
}

#[actix::test]
async fn a_run_that_was_ended_for_its_time_says_so_to_a_caller_that_has_not_noticed() {
    let ends = |_: &Tensor, time| {
        std::thread::sleep(time);
        Err(Error::new(Code::DeadlineExceeded, "Timed out waiting for notification"))
    };
    let (_, handle) = start_own(POLICY, ends);
    let mut late = std::pin::pin!(handle.predict(column(&[1.0]), in_ms(50), None));
    // Sent, and then not looked at until the run has answered.
    assert!(futures::poll!(late.as_mut()).is_pending());
    until(|| handle.queued_requests() == 0).await;
    assert_eq!(late.await.unwrap_err().message, "the request's time ran out while it ran");
}

#[actix::test]
async fn a_model_that_gives_up_before_its_time_has_an_error_of_its_own() {
    let own_error = || Error::new(Code::DeadlineExceeded, "the queue of the model gave nothing");
    let (_, handle) = start_own(POLICY, move |_, _| Err(own_error()));
    assert_eq!(handle.predict(column(&[1.0]), soon(), None).await.unwrap_err(), own_error());
}

#[actix::test]
async fn a_run_that_nobody_waits_for_gives_its_place_to_another_thread() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let sticks = move |x: &Tensor, _| {
        if floats(x)[0] < 0.0 {
            let _ = held.lock().unwrap().recv();
        }
        Ok(vec![x.clone()])
    };
    let (own, handle) = start_own(POLICY, sticks);
    let late = handle.predict(column(&[-1.0]), in_ms(20), None).await.unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    for x in [1.0, 2.0] {
        assert_eq!(values(handle.predict(column(&[x]), soon(), None).await), [x], "beside the run that does not end");
    }
    assert_eq!(own.run_values(), [[-1.0], [1.0], [2.0]]);
    assert_eq!(own.overdue.load(Ordering::Relaxed), 1, "the session can begin later runs so that they can be ended");

    // Once the run has ended, one thread runs at a time again.
    drop(release);
    own.fake.hold();
    let first = handle.predict(column(&[3.0]), soon(), None);
    let second = async {
        until(|| own.fake.run_rows().len() == 4).await;
        let second = handle.predict(column(&[4.0]), soon(), None);
        let stuck = async {
            until(|| handle.stuck_for().is_some()).await;
            own.fake.release();
        };
        futures::join!(second, stuck).0
    };
    let (first, second) = futures::join!(first, second);
    assert_eq!([values(first), values(second)], [[3.0], [4.0]]);
}

/// Panics at the start of runs of 3 rows, after runs of 5 rows, and at the start of the third run of 32 rows.
#[derive(Default)]
struct Panics {
    of_32: AtomicUsize,
}

impl RunObserver for Panics {
    fn begins(&self, rows: usize, _: usize) {
        assert!(rows != 3, "as the test wants it");
        assert!(rows != 32 || self.of_32.fetch_add(1, Ordering::Relaxed) != 2, "as the test wants it");
    }

    fn ran(&self, run: &ObservedRun<'_>) -> Option<TraceLink> {
        assert!(run.rows != 5, "as the test wants it");
        None
    }
}

#[actix::test]
async fn a_panic_outside_of_the_run_hurts_only_its_batch() {
    // Runs of 11 ms keep parts at 32 rows.
    let fake = Arc::new(FakeSession::new(Behaviour::Slow(Duration::from_millis(11))));
    let handle = start_observed(&fake, POLICY, Arc::new(Panics::default())).remove(0);
    let lost = Error::internal("the request was lost by a panic; this is a bug, see the server's log");
    for rows in [3, 5, 200] {
        let fails = handle.predict(column(&vec![1.0; rows]), soon(), None);
        let answers = if rows == 200 {
            futures::join!(fails, handle.predict(column(&[2.0]), soon(), None))
        } else {
            // A batch of its own: the panic takes the whole batch.
            let failed = fails.await;
            (failed, handle.predict(column(&[2.0]), soon(), None).await)
        };
        assert_eq!(answers.0.unwrap_err(), lost, "{rows} rows");
        assert_eq!(values(answers.1), [2.0]);
    }
    until_queued(&handle, 0).await;
    assert!(fake.run_rows().len() < 10, "the parts behind the lost one are left out: {:?}", fake.run_rows());
}

#[actix::test]
async fn the_parts_behind_a_lost_one_are_not_run() {
    let fake = Arc::new(FakeSession::new(Behaviour::Slow(Duration::from_millis(11))));
    let handle = start_observed(&fake, POLICY, Arc::new(Panics::default())).remove(0);
    handle.predict(column(&[1.0; 1000]), soon(), None).await.unwrap_err();
    // Each of these would wait for a part.
    for _ in 0..3 {
        assert_eq!(values(handle.predict(column(&[2.0]), soon(), None).await), [2.0]);
    }
    assert_eq!(fake.run_rows(), [32, 32, 1, 1, 1], "the third part is lost before its run");
}
