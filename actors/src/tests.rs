//! The actors together, on a fake session.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use futures::future::join_all;
use futures::FutureExt;
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Code, Error, Session, Tensor};
use tfweb_limits::Deadline;

use crate::{start_model, ModelHandle, Policy, Prediction};

const POLICY: Policy = Policy { batch_rows_max: 32, queue_requests_max: 1024, queue_bytes_max: 1 << 20, run_threads: 1 };

fn start(behaviour: Behaviour, policy: Policy) -> (Arc<FakeSession>, ModelHandle) {
    let fake = Arc::new(FakeSession::new(behaviour));
    let session: Arc<dyn Session> = fake.clone();
    let handles = start_model(&Arbiter::current(), &session, policy, |_| Arc::default(), None).unwrap();
    (fake, handles.into_iter().next().unwrap())
}

fn column(values: &[f32]) -> Vec<Tensor> {
    vec![Tensor::from_vec(&[values.len()], values.to_vec())]
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn values(answer: Result<Prediction, Error>) -> Vec<f32> {
    answer.unwrap().outputs[0].as_slice::<f32>().unwrap().to_vec()
}

/// Waits for what the actors or a run thread will do soon.
async fn until(condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(!deadline.left().is_zero(), "waited too long");
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}

/// Sends requests while a run of one row is held, lets go once all of them wait, and gives their answers.
async fn behind_a_held_run<T>(fake: &FakeSession, handle: &ModelHandle, requests: Vec<impl Future<Output = T>>) -> Vec<T> {
    fake.hold();
    let inside = 1 + requests.len();
    let first = handle.predict(column(&[0.0]), soon(), None);
    let others = async {
        until(|| !fake.run_rows().is_empty()).await;
        join_all(requests).await
    };
    let open = async {
        until(|| handle.queued_requests() == inside).await;
        // They were admitted and sent; one more turn of this thread, which is the actors', and they are queued.
        actix::clock::sleep(Duration::from_millis(5)).await;
        fake.release();
    };
    futures::join!(first, others, open).1
}

#[actix::test]
async fn forty_requests_run_as_1_32_7() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    let requests = (0..39_i16).map(|i| handle.predict(column(&[f32::from(i)]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    for (i, answer) in (0..39_i16).zip(answers) {
        assert_eq!(values(answer), [f32::from(i) / 2.0 + 2.0], "to each its own");
    }
    assert_eq!(fake.run_rows(), [1, 32, 7]);
}

#[actix::test]
async fn one_request_of_100_rows_runs_as_32_32_32_4_where_runs_take_long() {
    for run_threads in [1, 2] {
        let (fake, handle) = start(Behaviour::Slow(Duration::from_millis(11)), Policy { run_threads, ..POLICY });
        let input: Vec<f32> = (0..100_i16).map(f32::from).collect();
        assert_eq!(values(handle.predict(column(&input), soon(), None).await), input, "order kept");
        let mut rows = fake.run_rows();
        rows.sort_unstable();
        assert_eq!(rows, [4, 32, 32, 32]);
        assert_eq!(handle.queued_requests(), 0);
    }
}

#[actix::test]
async fn parts_grow_where_runs_are_short_and_stay_so() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    let input: Vec<f32> = (0..10_000_i16).map(f32::from).collect();
    let expected: Vec<f32> = input.iter().map(|x| x / 2.0 + 2.0).collect();
    assert_eq!(values(handle.predict(column(&input), soon(), None).await), expected, "order kept");
    let first = fake.run_rows();
    assert_eq!((first[0], first.iter().sum::<usize>()), (32, 10_000));
    assert!(first.len() < 100, "some were larger than 32, of 313: {first:?}");
    assert_eq!(values(handle.predict(column(&input), soon(), None).await), expected);
    let second = &fake.run_rows()[first.len()..];
    assert!(second[0] > 32, "{second:?}");
}

#[actix::test]
async fn with_batches_of_one_a_request_runs_whole() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, Policy { batch_rows_max: 1, ..POLICY });
    let requests = vec![handle.predict(column(&[1.0; 500]), soon(), None), handle.predict(column(&[2.0]), soon(), None)];
    behind_a_held_run(&fake, &handle, requests).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    assert_eq!(fake.run_rows(), [1, 500, 1]);
    assert_eq!(handle.rows(&column(&[1.0; 500])), 500, "for logs and figures");
}

#[actix::test]
async fn rows_of_large_requests_do_not_count_one_by_one_as_time() {
    for batch_rows_max in [1, 32] {
        let (_, handle) = start(Behaviour::Slow(Duration::from_millis(5)), Policy { batch_rows_max, ..POLICY });
        // A queue of single rows has a pace of 5 ms for each at worst; 2,000 such rows would take 10 s.
        let ones = (0..100).map(|_| handle.predict(column(&[1.0]), soon(), None).boxed_local());
        let large = async {
            until(|| handle.queued_requests() > 50).await;
            until(|| handle.queued_requests() <= 50).await;
            handle.predict(column(&[1.0; 2000]), Deadline::after(Duration::from_secs(5)), None).await
        };
        let answers = join_all(ones.chain([large.boxed_local()])).await;
        let refused = answers.into_iter().filter(|answer| matches!(answer, Err(error) if error.code == Code::Unavailable));
        assert_eq!(refused.count(), 0, "batches of {batch_rows_max}");
    }
}

#[actix::test]
async fn requests_without_rows_run_alone_and_keep_the_pace() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    let long = vec![1.0; 5000];
    let long = handle.predict(column(&long), soon(), None);
    let empty = |dims: &[usize]| vec![Tensor::from_vec::<f32>(dims, vec![])];
    let none = (0..400).map(|i| handle.predict(empty(&[0, i]), soon(), None));
    let requests: Vec<_> = std::iter::once(long).chain(none).map(FutureExt::boxed_local).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    for (i, answer) in answers.into_iter().enumerate() {
        let outputs = answer.unwrap().outputs;
        assert_eq!(outputs[0].dims(), if i == 0 { vec![5000] } else { vec![0, i - 1] });
    }
    assert_eq!(fake.run_rows().iter().filter(|rows| **rows == 0).count(), 400, "they share runs with nobody");

    // Rows that hold nothing cost nothing to send: they are not taken in parts, and not taken at all if they are too many.
    let answer = handle.predict(empty(&[1 << 24, 0]), soon(), None).await.unwrap();
    assert_eq!(answer.outputs[0].dims(), [1 << 24, 0]);
    assert_eq!(fake.run_rows().last(), Some(&(1 << 24)));
    let error = handle.predict(empty(&[1 << 58, 0]), soon(), None).await.unwrap_err();
    assert_eq!((error.code, handle.queued_requests()), (Code::InvalidArgument, 0));
}

#[actix::test]
async fn a_failing_request_fails_alone() {
    let (fake, handle) = start(Behaviour::FailsOnNegative, POLICY);
    let requests =
        (0..32_i16).map(|i| handle.predict(column(&[if i == 11 { -1.0 } else { f32::from(i) }]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    for (i, answer) in (0..32_i16).zip(answers) {
        if i == 11 {
            let error = answer.unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, "x must not be negative"));
        } else {
            assert_eq!(values(answer), [f32::from(i)]);
        }
    }
    assert!(fake.run_rows().len() <= 2 + 2 * 5, "halving 32 takes five levels: {:?}", fake.run_rows());
}

#[actix::test]
async fn a_part_that_fails_fails_its_whole_request_only() {
    let (_, handle) = start(Behaviour::FailsOnNegative, POLICY);
    let mut input = vec![1.0; 100];
    input[70] = -1.0;
    let (bad, good) = futures::join!(handle.predict(column(&input), soon(), None), handle.predict(column(&[5.0]), soon(), None));
    assert_eq!(bad.unwrap_err().message, "x must not be negative");
    assert_eq!(values(good), [5.0]);
}

#[actix::test]
async fn a_panic_hurts_only_its_own_request_and_the_thread_lives_on() {
    let (fake, handle) = start(Behaviour::PanicsOnNegative, POLICY);
    let requests = [1.0, -1.0, 2.0].map(|x| handle.predict(column(&[x]), soon(), None));
    let answers = behind_a_held_run(&fake, &handle, requests.into()).await;
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.map(|_| ()).map_err(|error| error.code)).collect();
    assert_eq!(codes, [Ok(()), Err(Code::Internal), Ok(())]);
    assert_eq!(values(handle.predict(column(&[3.0]), soon(), None).await), [3.0]);
}

#[actix::test]
async fn one_panic_among_a_thousand_requests_is_found() {
    let (fake, handle) = start(Behaviour::PanicsOnNegative, Policy { batch_rows_max: 1024, ..POLICY });
    let requests =
        (0..1000_i16).map(|i| handle.predict(column(&[if i == 0 { -1.0 } else { f32::from(i) }]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    let failed: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(i, _)| i).collect();
    assert_eq!(failed, [0]);
}

#[actix::test]
async fn a_broken_session_is_not_run_for_ever() {
    let (fake, handle) = start(Behaviour::AlwaysFails, POLICY);
    let requests = (0..32).map(|_| handle.predict(column(&[1.0]), soon(), None)).collect();
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap_err().code == Code::Internal));
    assert!(fake.run_rows().len() < 32, "{:?}", fake.run_rows());
}

#[actix::test]
async fn short_outputs_are_answered_as_tensorflow_gave_them() {
    let (fake, handle) = start(Behaviour::PositiveOnly, POLICY);
    let requests = [&[1.0, -1.0][..], &[2.0], &[-3.0]].map(|x| handle.predict(column(x), soon(), None));
    let answers = behind_a_held_run(&fake, &handle, requests.into()).await;
    let answers: Vec<_> = answers.into_iter().map(values).collect();
    assert_eq!(answers, [vec![1.0], vec![2.0], vec![]]);
}

#[actix::test]
async fn rows_of_other_lengths_run_in_other_batches() {
    let (fake, handle) = start(Behaviour::Echo, POLICY);
    let request = |width: usize| vec![Tensor::from_vec(&[1, width], vec![1.0_f32; width])];
    fake.hold();
    let first = handle.predict(request(1), soon(), None);
    let others = join_all([2, 3, 2, 3].map(|width| handle.predict(request(width), soon(), None)));
    let open = async {
        actix::clock::sleep(Duration::from_millis(50)).await;
        fake.release();
    };
    let (_, answers, ()) = futures::join!(first, others, open);
    let widths: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().outputs[0].dims().to_vec()).collect();
    assert_eq!(widths, [[1, 2], [1, 3], [1, 2], [1, 3]]);
    assert_eq!(fake.run_rows(), [1, 2, 2]);
}

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
        actix::clock::sleep(Duration::from_millis(20)).await;
        let start = Instant::now();
        let error = handle.predict(column(&[1.0]), soon(), None).await.unwrap_err();
        fake.release();
        (error, start.elapsed())
    };
    let (answers, (error, time)) = futures::join!(sixteen, seventeenth);
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("(limit 16)"), "{error}");
    assert!(time < Duration::from_millis(50));
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
async fn run_threads_run_side_by_side() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, Policy { run_threads: 2, ..POLICY });
    fake.hold();
    let second = async {
        until(|| fake.run_rows().len() == 1).await;
        handle.predict(column(&[2.0]), soon(), None).await
    };
    let open = async {
        until(|| fake.run_rows().len() == 2).await;
        fake.release();
    };
    let (first, second, ()) = futures::join!(handle.predict(column(&[1.0]), soon(), None), second, open);
    assert_eq!([values(first), values(second)], [[2.5], [3.0]]);
}

#[actix::test]
async fn a_busy_signature_does_not_starve_another() {
    let fake = Arc::new(FakeSession::with_signatures(Behaviour::HalfPlusTwo, &["busy", "other"]));
    let session: Arc<dyn Session> = fake.clone();
    let handles = start_model(&Arbiter::current(), &session, POLICY, |_| Arc::default(), None).unwrap();
    let (busy, other) = (&handles[0], &handles[1]);
    fake.hold();
    let many = join_all((0..200).map(|_| busy.predict(column(&[1.0]), soon(), None)));
    let one = async {
        until(|| busy.queued_requests() == 200 && !fake.run_rows().is_empty()).await;
        let release = async {
            until(|| other.queued_requests() == 201).await;
            fake.release();
        };
        futures::join!(other.predict(column(&[2.0]), soon(), None), release).0
    };
    let (answers, answer) = futures::join!(many, one);
    assert_eq!(values(answer), [3.0]);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    let turn = fake.run_signatures().iter().position(|&signature| signature == 1);
    assert!(turn.is_some_and(|turn| turn <= 3), "the other's turn: {:?}", fake.run_signatures());
}

#[actix::test]
async fn inputs_that_disagree_on_rows_run_alone() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    let scalar = vec![Tensor::from_vec(&[], vec![2.0_f32])];
    let requests = vec![handle.predict(scalar, soon(), None), handle.predict(column(&[2.0]), soon(), None)];
    let answers = behind_a_held_run(&fake, &handle, requests).await;
    let dims: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().outputs[0].dims().to_vec()).collect();
    assert_eq!(dims, [vec![], vec![1]]);
    assert_eq!(fake.run_rows(), [1, 0, 1], "a scalar has no rows");
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
    let start = Instant::now();
    let refused = handle.predict(column(&[1.0]), Deadline::after(Duration::from_millis(200)), None).await.unwrap_err();
    assert_eq!((refused.code, start.elapsed() < Duration::from_millis(100)), (Code::Unavailable, true), "{refused}");
    assert!(refused.message.contains("what is queued takes about"), "{refused}");
    assert_eq!(values(handle.predict(column(&[2.0]), soon(), None).await), [2.0], "who has time may wait");
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    // The queue was empty in between: what was slow is forgotten.
    assert_eq!(values(handle.predict(column(&[3.0]), in_a_second(), None).await), [3.0]);
}

#[actix::test]
async fn threads_that_run_for_long_while_others_wait_are_told() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, Policy { run_threads: 2, ..POLICY });
    fake.hold();
    let runs = [0.0, 1.0].map(|x| handle.predict(column(&[x]), soon(), None));
    let [first, second] = runs;
    let others = async {
        until(|| fake.run_rows().len() == 1).await;
        assert_eq!(handle.stuck_for(), None, "a thread is free");
        let waits = async {
            until(|| fake.run_rows().len() == 2).await;
            assert_eq!(handle.stuck_for(), None, "nobody waits");
            let third = handle.predict(column(&[2.0]), soon(), None);
            let told = async {
                until(|| handle.stuck_for().is_some_and(|time| time >= Duration::from_millis(20))).await;
                fake.release();
            };
            futures::join!(third, told).0
        };
        futures::join!(second, waits)
    };
    let (first, (second, third)) = futures::join!(first, others);
    assert_eq!([first, second, third].map(values), [[2.0], [2.5], [3.0]]);
    until(|| handle.stuck_for().is_none()).await;
}

#[actix::test]
async fn a_thread_that_does_nothing_is_silent() {
    let arbiter = Arbiter::new();
    let heartbeat = crate::Heartbeat::start(&arbiter.handle());
    let (hold, held) = std::sync::mpsc::channel::<()>();
    arbiter.spawn_fn(move || {
        let _ = held.recv();
    });
    until(|| heartbeat.silent_for() > Duration::from_millis(1200)).await;
    drop(hold);
    until(|| heartbeat.silent_for() < Duration::from_millis(500)).await;
}
