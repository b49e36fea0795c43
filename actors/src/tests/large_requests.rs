//! Requests that are larger than a batch.

use std::time::Duration;

use futures::future::join_all;
use futures::FutureExt;
use tfweb_engine::fake::Behaviour;
use tfweb_engine::Code;
use tfweb_limits::Deadline;

use super::support::{behind_a_held_run, column, soon, start, until, values, POLICY};
use crate::model_handle::Policy;

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
async fn a_part_that_fails_fails_its_whole_request_only() {
    let (_, handle) = start(Behaviour::FailsOnNegative, POLICY);
    let mut input = vec![1.0; 100];
    input[70] = -1.0;
    let (bad, good) = futures::join!(handle.predict(column(&input), soon(), None), handle.predict(column(&[5.0]), soon(), None));
    assert_eq!(bad.unwrap_err().message, "x must not be negative");
    assert_eq!(values(good), [5.0]);
}
