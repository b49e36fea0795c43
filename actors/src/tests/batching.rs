//! Which requests share a run, and who gets which answer.

use std::sync::Arc;

use futures::future::join_all;
use futures::FutureExt;
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Code, Rows, Tensor};

use super::support::{behind_a_held_run, column, soon, start, start_all, start_judged, until, until_queued, values, POLICY};
use crate::model_handle::Policy;

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
async fn rows_of_other_lengths_run_in_other_batches() {
    let (fake, handle) = start(Behaviour::Echo, POLICY);
    let request = |width: usize| vec![Tensor::from_vec(&[1, width], vec![1.0_f32; width])];
    fake.hold();
    let first = handle.predict(request(1), soon(), None);
    let others = join_all([2, 3, 2, 3].map(|width| handle.predict(request(width), soon(), None)));
    let open = async {
        until_queued(&handle, 5).await;
        fake.release();
    };
    let (_, answers, ()) = futures::join!(first, others, open);
    let widths: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().outputs[0].dims().to_vec()).collect();
    assert_eq!(widths, [[1, 2], [1, 3], [1, 2], [1, 3]]);
    assert_eq!(fake.run_rows(), [1, 2, 2]);
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

/// A constant of the model could broadcast along the rows, and then one would depend on the number of the others.
#[actix::test]
async fn requests_of_fewer_dimensions_run_alone() {
    let (fake, handle) = start(Behaviour::Echo, POLICY);
    let requests = [1, 100, 1].map(|rows| handle.predict(column(&vec![1.0; rows]), soon(), None));
    let answers = behind_a_held_run(&fake, &handle, requests.into()).await;
    let rows: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().outputs[0].dims()[0]).collect();
    assert_eq!((rows, fake.run_rows()), (vec![1, 100, 1], vec![1, 1, 100, 1]));
}

#[actix::test]
async fn dependent_rows_share_no_run_unless_their_user_says_so() {
    for chosen in [None, Some(8)] {
        let (fake, handle) = start_judged(Rows::Dependent("they are sorted".into()), chosen);
        assert_eq!((handle.runs_alone().is_some(), handle.shares_unproven()), (chosen.is_none(), None));
        let requests = [1, 40, 1].map(|rows| handle.predict(column(&vec![1.0; rows]), soon(), None));
        behind_a_held_run(&fake, &handle, requests.into()).await.into_iter().for_each(|answer| drop(answer.unwrap()));
        let runs = fake.run_rows();
        assert_eq!(runs.iter().sum::<usize>(), 43);
        assert_eq!(runs == [1, 1, 40, 1], chosen.is_none(), "{runs:?}");
        assert_eq!(runs.contains(&8), chosen.is_some(), "{runs:?}");
    }
    let (_, handle) = start_judged(Rows::Unproven("it is random".into()), None);
    assert_eq!((handle.is_batchable(), handle.shares_unproven()), (true, Some("it is random")));
    let (_, handle) = start_judged(Rows::Unproven("it is random".into()), Some(1));
    assert_eq!((handle.is_batchable(), handle.shares_unproven()), (false, None));
    let (_, handle) = start_judged(Rows::Independent, None);
    assert_eq!((handle.is_batchable(), handle.runs_alone(), handle.shares_unproven()), (true, None, None));
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

    // Rows that hold nothing cost nothing to send: they are taken in parts as others are, and not at all if they are too many.
    let before = fake.run_rows().len();
    let answer = handle.predict(empty(&[1 << 20, 0]), soon(), None).await.unwrap();
    assert_eq!(answer.outputs[0].dims(), [1 << 20, 0]);
    let parts = fake.run_rows().split_off(before);
    assert_eq!(parts.iter().sum::<usize>(), 1 << 20);
    let error = handle.predict(empty(&[1 << 58, 0]), soon(), None).await.unwrap_err();
    assert_eq!((error.code, handle.queued_requests()), (Code::InvalidArgument, 0));
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
    let handles = start_all(&fake);
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
