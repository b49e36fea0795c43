//! Requests that wait: too many, too long, or without their callers.

use std::time::Duration;

use futures::future::join_all;
use tfweb_engine::fake::Behaviour;
use tfweb_engine::Code;
use tfweb_limits::Deadline;

use super::support::{column, soon, start, until, until_queued, values, POLICY};
use crate::model_handle::Policy;

#[actix::test]
async fn dropped_callers_are_left_out_and_free_their_places() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, Policy { queue_requests_max: 20, ..POLICY });
    fake.hold();
    let running = actix::spawn({
        let handle = handle.clone();
        async move { handle.predict(column(&[0.0]), soon(), None).await }
    });
    until(|| !fake.run_rows().is_empty()).await;
    for _ in 0..10 {
        let gone = (0..19).map(|_| handle.predict(column(&[1.0]), soon(), None));
        let waited = tokio::time::timeout(Duration::from_millis(5), join_all(gone)).await;
        assert!(waited.is_err(), "they wait, and then go away");
        until(|| handle.queued_requests() == 1).await;
    }
    fake.release();
    assert_eq!(values(handle.predict(column(&[2.0]), soon(), None).await), [3.0]);
    assert_eq!(values(running.await.unwrap()), [2.0]);
    assert_eq!(fake.run_rows(), [1, 1], "190 that went away cost no run");
}

#[actix::test]
async fn a_full_queue_says_so_at_once() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, Policy { queue_requests_max: 16, ..POLICY });
    fake.hold();
    let sixteen = join_all((0..16).map(|_| handle.predict(column(&[1.0]), soon(), None)));
    let seventeenth = async {
        until_queued(&handle, 16).await;
        // The run is held until the answer has come.
        let error = handle.predict(column(&[1.0]), soon(), None).await.unwrap_err();
        fake.release();
        error
    };
    let (answers, error) = futures::join!(sixteen, seventeenth);
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("(limit 16)"), "{error}");
    assert!(answers.into_iter().all(|answer| values(answer) == [2.5]));
}

#[actix::test]
async fn a_deadline_names_its_stage_and_costs_no_run() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    fake.hold();
    let in_ms = |ms| Deadline::after(Duration::from_millis(ms));
    let second = async {
        until(|| fake.run_rows().len() == 1).await;
        handle.predict(column(&[1.0]), in_ms(40), None).await
    };
    let (ran, queued) = futures::join!(handle.predict(column(&[1.0]), in_ms(40), None), second);
    let messages = [ran, queued].map(|answer| answer.unwrap_err()).map(|error| (error.code, error.message));
    let time_out = |stage: &str| (Code::DeadlineExceeded, format!("the request's time ran out while it {stage}"));
    assert_eq!(messages, [time_out("ran"), time_out("was queued")]);
    fake.release();
    assert_eq!(values(handle.predict(column(&[2.0]), soon(), None).await), [3.0]);
    assert_eq!(fake.run_rows(), [1, 1]);
}

#[actix::test]
async fn a_late_request_costs_no_run_even_if_its_caller_has_not_noticed() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    fake.hold();
    let running = actix::spawn({
        let handle = handle.clone();
        async move { handle.predict(column(&[0.0]), soon(), None).await }
    });
    until(|| fake.run_rows().len() == 1).await;
    let deadline = Deadline::after(Duration::from_millis(20));
    let mut late = std::pin::pin!(handle.predict(column(&[1.0]), deadline, None));
    // Sent, and then not looked at: its own timer cannot tell it.
    assert!(futures::poll!(late.as_mut()).is_pending());
    until(|| deadline.left().is_zero()).await;
    fake.release();
    running.await.unwrap().unwrap();
    assert_eq!(values(handle.predict(column(&[2.0]), soon(), None).await), [3.0]);
    assert_eq!(late.await.unwrap_err().code, Code::DeadlineExceeded);
    assert_eq!(fake.run_rows(), [1, 1]);
}

#[actix::test]
async fn what_would_be_late_is_refused_when_it_comes() {
    let policy = Policy { batch_rows_max: 1, ..POLICY };
    let (fake, handle) = start(Behaviour::Slow(Duration::from_millis(20)), policy);
    let in_a_second = || Deadline::after(Duration::from_secs(1));
    // Nothing is known yet, so all are let in.
    let mut waiting: Vec<_> = (0..30).map(|_| Box::pin(handle.predict(column(&[1.0]), soon(), None))).collect();
    for request in &mut waiting {
        assert!(futures::poll!(request.as_mut()).is_pending());
    }
    until(|| fake.run_rows().len() >= 4).await;
    let refused = handle.predict(column(&[1.0]), Deadline::after(Duration::from_millis(200)), None).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused}");
    assert!(refused.message.contains("the answer is expected after "), "{refused}");
    assert_eq!(values(handle.predict(column(&[2.0]), soon(), None).await), [2.0], "who has time may wait");
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    // The queue was empty in between: what was slow is forgotten.
    assert_eq!(values(handle.predict(column(&[3.0]), in_a_second(), None).await), [3.0]);
}
