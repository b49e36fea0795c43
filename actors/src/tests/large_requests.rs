//! Requests that are larger than a batch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use futures::FutureExt;
use tfweb_engine::fake::Behaviour;
use tfweb_engine::{Code, Tensor};
use tfweb_limits::{Deadline, Holding, Ledger};

use super::support::{
    behind_a_held_run, column, floats, soon, start, start_counted, start_own, until, until_queued, values, POLICY,
};
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
async fn what_fits_into_a_batch_teaches_nothing_about_parts() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, POLICY);
    for _ in 0..3 {
        drop(handle.predict(column(&[1.0; 32]), soon(), None).await.unwrap());
    }
    drop(handle.predict(column(&[1.0; 100]), soon(), None).await.unwrap());
    assert_eq!(fake.run_rows()[..4], [32; 4], "the first part is as large as a batch");
}

#[actix::test]
async fn a_large_request_that_runs_in_one_part_teaches_the_size_of_the_next() {
    let slow_below_zero = |x: &Tensor, _| {
        if floats(x)[0] < 0.0 {
            std::thread::sleep(Duration::from_millis(11));
        }
        Ok(vec![x.clone()])
    };
    let (own, handle) = start_own(POLICY, slow_below_zero);
    drop(handle.predict(column(&[0.0; 10_000]), soon(), None).await.unwrap());
    // Parts have grown, so the first of these may run whole.
    for _ in 0..16 {
        drop(handle.predict(column(&[-1.0; 100]), soon(), None).await.unwrap());
    }
    let last = own.run_values().pop().unwrap();
    assert!(last.len() < 100, "long runs have halved the parts until a request of 100 rows is divided: {} rows", last.len());
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

#[actix::test]
async fn a_large_request_of_any_shape_takes_turns_with_others() {
    let narrow = column(&vec![0.0; 1 << 20]);
    let wide = vec![Tensor::from_vec(&[1 << 10, 1 << 10], vec![0.0_f32; 1 << 20])];
    let empty = vec![Tensor::from_vec::<f32>(&[1 << 20, 0], vec![])];
    for inputs in [narrow, wide, empty] {
        let dims = inputs[0].dims().to_vec();
        let (own, handle) = start_own(Policy { queue_bytes_max: 1 << 30, ..POLICY }, |x, _| Ok(vec![x.clone()]));
        own.fake.hold();
        let large = handle.predict(inputs, soon(), None);
        let small = async {
            until(|| !own.fake.run_rows().is_empty()).await;
            let small = handle.predict(column(&[7.0]), soon(), None);
            let release = async {
                until_queued(&handle, 2).await;
                own.fake.release();
            };
            futures::join!(small, release).0
        };
        let (large, small) = futures::join!(large, small);
        assert_eq!(large.unwrap().outputs[0].dims(), dims);
        assert_eq!(values(small), [7.0], "{dims:?}");
        let before = own.run_values().iter().position(|run| run.contains(&7.0)).unwrap();
        let rows = &own.fake.run_rows()[..before];
        assert!(rows.len() <= 2 && rows.iter().all(|rows| *rows <= 64), "{dims:?}: {rows:?}");
    }
}

#[actix::test]
async fn parts_whose_outputs_are_not_their_rows_give_way_to_one_run_of_all() {
    let sum = |x: &Tensor, _| Ok(column(&[floats(x).iter().sum()]));
    let widest = |x: &Tensor, _| {
        let (rows, width) = (floats(x).len(), floats(x).iter().copied().fold(0.0, f32::max) as usize);
        Ok(vec![Tensor::from_vec(&[rows, width], vec![1.0_f32; rows * width])])
    };
    let input: Vec<f32> = (1..=100_i16).map(f32::from).collect();
    for run_threads in [1, 2] {
        let (own, handle) = start_own(Policy { run_threads, ..POLICY }, sum);
        assert_eq!(values(handle.predict(column(&input), soon(), None).await), [5050.0], "one row for all");
        assert!(own.run_values().contains(&input));
        let (own, handle) = start_own(Policy { run_threads, ..POLICY }, widest);
        let outputs = handle.predict(column(&input), soon(), None).await.unwrap().outputs;
        assert_eq!(outputs[0].dims(), [100, 100], "rows as wide as the widest of all");
        assert!(own.run_values().contains(&input));
        assert_eq!(handle.queued_requests(), 0);
    }
}

/// A row of outputs that are much larger than their row of inputs.
const WIDE: usize = 1000;
const WIDE_BYTES: usize = WIDE * size_of::<f32>();

fn wide(x: &Tensor) -> Vec<Tensor> {
    let rows = floats(x).len();
    vec![Tensor::from_vec(&[rows, WIDE], vec![1.0_f32; rows * WIDE])]
}

#[actix::test]
async fn outputs_of_parts_count_until_the_answer_is_dropped() {
    let ledger = Ledger::new(1 << 30);
    let held: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (counts, at_each_run) = (Arc::clone(&ledger), Arc::clone(&held));
    let (own, handle) = start_counted(POLICY, &ledger, move |x, _| {
        at_each_run.lock().unwrap().push(counts.bytes(Holding::Answers));
        Ok(wide(x))
    });
    let mut outputs = handle.predict(column(&[1.0; 100]), soon(), None).await.unwrap().outputs;
    let rows = own.fake.run_rows();
    let before = |run: usize| rows[..run].iter().sum::<usize>() * WIDE_BYTES;
    assert_eq!(*held.lock().unwrap(), (0..rows.len()).map(before).collect::<Vec<_>>());
    assert_eq!((outputs[0].dims(), ledger.bytes(Holding::Answers)), (&[100, WIDE][..], 100 * WIDE_BYTES));
    let share = outputs.take_share();
    drop(outputs);
    assert_eq!(ledger.bytes(Holding::Answers), 100 * WIDE_BYTES, "who writes the answer has the share");
    drop(share);
    assert_eq!(ledger.bytes(Holding::Answers), 0);
}

#[actix::test]
async fn outputs_of_parts_have_room_or_their_request_fails() {
    // While they are joined, all outputs exist twice.
    for (room_rows, expect) in [(70, false), (150, false), (200, true)] {
        let ledger = Ledger::new(room_rows * WIDE_BYTES);
        let (own, handle) = start_counted(POLICY, &ledger, |x, _| Ok(wide(x)));
        let answer = handle.predict(column(&[1.0; 100]), soon(), None).await;
        match &answer {
            Ok(prediction) => assert_eq!(prediction.outputs[0].dims(), [100, WIDE]),
            Err(error) => {
                assert_eq!(error.code, Code::Unavailable);
                assert!(error.message.contains(&format!("of {} bytes for all", room_rows * WIDE_BYTES)), "{error}");
            }
        }
        assert_eq!(answer.is_ok(), expect, "room for {room_rows} rows");
        drop(answer);
        assert_eq!(values(handle.predict(column(&[1.0]), soon(), None).await).len(), WIDE, "others are answered");
        assert_eq!((ledger.bytes(Holding::Answers), ledger.shares(Holding::Answers), handle.queued_requests()), (0, 0, 0));
        assert_eq!(own.fake.run_rows()[0], 32);
    }
}
