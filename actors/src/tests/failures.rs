//! Runs that fail, and the requests that get the error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tfweb_engine::fake::Behaviour;
use tfweb_engine::{Code, Error, Tensor};

use super::support::{behind_a_held_run, column, floats, soon, start, start_own, values, POLICY};
use crate::model_handle::Policy;

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
    assert!(answers.into_iter().all(|answer| answer.unwrap_err() == Error::internal("the session is broken")));
    assert!(fake.run_rows().len() < 32, "{:?}", fake.run_rows());
}

/// Gives the values, or an error that names the first negative one.
fn damaged(code: Code) -> impl Fn(&Tensor, Duration) -> Result<Vec<Tensor>, Error> + Send + Sync {
    move |x, _| match floats(x).iter().find(|value| **value < 0.0) {
        Some(value) => Err(Error::new(code, format!("{value} is damaged"))),
        None => Ok(vec![x.clone()]),
    }
}

#[actix::test]
async fn each_bad_request_fails_alone_whatever_the_code() {
    let bad = |i: i16| i < 14 || i % 10 == 5;
    for code in [Code::DataLoss, Code::Internal, Code::FailedPrecondition, Code::InvalidArgument] {
        let (own, handle) = start_own(POLICY, damaged(code));
        let value = |i: i16| f32::from(if bad(i) { -i - 1 } else { i });
        let requests = (0..64).map(|i| handle.predict(column(&[value(i)]), soon(), None)).collect();
        for (i, answer) in (0..64).zip(behind_a_held_run(&own.fake, &handle, requests).await) {
            if bad(i) {
                assert_eq!(answer.unwrap_err(), Error::new(code, format!("{} is damaged", value(i))));
            } else {
                assert_eq!(values(answer), [value(i)], "{code:?}");
            }
        }
        assert!(own.run_values().len() < 80, "{code:?}: {} runs for 65 requests", own.run_values().len());
    }
}

#[actix::test]
async fn a_session_that_breaks_is_found_out_with_an_input_that_has_run_well() {
    for code in [Code::Internal, Code::DataLoss, Code::NotFound] {
        let runs = AtomicUsize::new(0);
        let breaks = move |x: &Tensor, _| match runs.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(vec![x.clone()]),
            _ => Err(Error::new(code, "the session is broken")),
        };
        let (own, handle) = start_own(POLICY, breaks);
        let requests = (1..33_i16).map(|i| handle.predict(column(&[f32::from(i)]), soon(), None)).collect();
        let answers = behind_a_held_run(&own.fake, &handle, requests).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap_err() == Error::internal("the session is broken")));
        let runs = own.run_values();
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 32, 16, 8, 4, 2, 1, 1], "one is alone, and one is the proof");
        assert_eq!(runs.last().unwrap(), &[0.0], "which ran well before");
    }
}

#[actix::test]
async fn damaged_bytes_are_the_clients_while_the_session_works() {
    let (own, handle) = start_own(POLICY, damaged(Code::DataLoss));
    let error = |code| Error::new(code, "-1 is damaged");
    assert_eq!(handle.predict(column(&[-1.0]), soon(), None).await.unwrap_err(), error(Code::DataLoss), "the first of all");
    assert_eq!(values(handle.predict(column(&[1.0, 2.0]), soon(), None).await), [1.0, 2.0]);
    assert_eq!(handle.predict(column(&[-1.0]), soon(), None).await.unwrap_err(), error(Code::DataLoss));
    assert_eq!(own.run_values(), [vec![-1.0], vec![1.0, 2.0], vec![-1.0], vec![1.0]], "the proof is one row");
}

#[actix::test]
async fn what_is_not_found_is_the_clients_where_others_have_run_well() {
    let (own, handle) = start_own(POLICY, damaged(Code::NotFound));
    let error = |code| Error::new(code, "-1 is damaged");
    let bad = async || handle.predict(column(&[-1.0]), soon(), None).await.unwrap_err();
    assert_eq!(bad().await, error(Code::Internal), "the model may lack a file, or an operation");
    assert_eq!(values(handle.predict(column(&[1.0, 2.0]), soon(), None).await), [1.0, 2.0]);
    assert_eq!(bad().await, error(Code::InvalidArgument));
    assert_eq!(own.run_values(), [vec![-1.0], vec![1.0, 2.0], vec![-1.0], vec![1.0]], "the proof is one row");
    // Nobody may try a signature that changes the model, but requests have run well.
    own.may_be_tried.store(false, Ordering::Relaxed);
    assert_eq!(bad().await, error(Code::InvalidArgument));
}

#[actix::test]
async fn what_is_known_to_work_is_a_copy_of_little() {
    let (own, handle) = start_own(POLICY, damaged(Code::DataLoss));
    let wide = |value: f32| vec![Tensor::from_vec(&[1, 300_000], vec![value; 300_000])];
    drop(handle.predict(wide(1.0), soon(), None).await.unwrap());
    assert_eq!(handle.predict(wide(-1.0), soon(), None).await.unwrap_err().code, Code::DataLoss);
    assert_eq!(own.run_values().len(), 2, "more than a megabyte is not kept, and without proof the session works");
}

#[actix::test]
async fn a_signature_that_may_change_the_model_runs_nothing_that_nobody_sent() {
    let (own, handle) = start_own(POLICY, damaged(Code::Internal));
    own.may_be_tried.store(false, Ordering::Relaxed);
    let requests = (1..7_i16).map(|i| handle.predict(column(&[f32::from(-i)]), soon(), None)).collect();
    let answers = behind_a_held_run(&own.fake, &handle, requests).await;
    let messages: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err().message).collect();
    assert_eq!(messages, [1, 2, 3, 4, 5, 6].map(|i| format!("-{i} is damaged")));
    assert_eq!(own.run_values().iter().filter(|run| run.contains(&0.0)).count(), 1, "{:?}", own.run_values());
}
