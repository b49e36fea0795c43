//! Proofs of functions that are written here, and of the fake session.

use std::cell::Cell;

use super::*;
use crate::dtype::DType;
use crate::fake::{Behaviour, FakeSession};
use crate::feed::FeedShape;
use crate::session::Session;
use crate::shape::PartialShape;
use crate::signature::TensorSpec;

/// Long enough for anything but a test of time.
fn long() -> Instant {
    Instant::now() + Duration::from_secs(600)
}

/// A signature with an input `x` and an output `y`, both `[-1]`.
fn column(dtype: DType) -> Signature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        tensor: format!("{name}:0"),
        dtype,
        shape: PartialShape::new([None]),
        feed: FeedShape::ANY,
    };
    Signature { inputs: vec![spec("x")], outputs: vec![spec("y")], ..Signature::default() }
}

/// Proves a function on the floats of all rows of a run. Gives also the runs that it took.
fn proved(function: impl Fn(&[f32]) -> Result<Vec<f32>, Error>) -> (Rows, Vec<Vec<f32>>) {
    let runs = std::cell::RefCell::new(Vec::new());
    let run = |inputs: &[Tensor], _: Duration| {
        let x = inputs[0].as_slice::<f32>().unwrap();
        runs.borrow_mut().push(x.to_vec());
        function(x).map(|y| vec![Tensor::from_vec(&[y.len()], y)])
    };
    let verdict = prove(&column(DType::Float32), long(), &run);
    (verdict, runs.into_inner())
}

/// Expects that the rows of a function depend on each other, for a reason with these words.
#[track_caller]
fn depends(words: &str, function: impl Fn(&[f32]) -> Vec<f32>) {
    let (verdict, _) = proved(|x| Ok(function(x)));
    let Rows::Dependent(why) = &verdict else { panic!("{verdict:?}") };
    assert!(why.contains(words), "{why}");
}

fn sum(x: &[f32]) -> f32 {
    x.iter().sum()
}

#[test]
fn rows_that_agree_in_any_company_are_independent() {
    let (verdict, runs) = proved(|x| Ok(x.iter().map(|x| x / 2.0 + 2.0).collect()));
    assert_eq!(verdict, Rows::Independent);
    let mut sizes: Vec<usize> = runs.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 3, 5, 5]);
    let noise = Cell::new(1.0);
    let near = |x: &[f32]| {
        noise.set(-noise.get());
        Ok(x.iter().map(|x| x * (1.0 + 1e-5 * noise.get())).collect())
    };
    assert_eq!(proved(near).0, Rows::Independent, "sums may differ in their last places");
}

#[test]
fn rows_that_look_at_each_other_are_found() {
    let differs = "differs for the same row beside other rows";
    depends(differs, |x| x.iter().map(|y| y - sum(x) / x.len() as f32).collect());
    depends(differs, |x| x.iter().map(|y| y.exp() / sum(&x.iter().map(|x| x.exp()).collect::<Vec<_>>())).collect());
    depends(differs, |x| {
        let mut sorted = x.to_vec();
        sorted.sort_by(f32::total_cmp);
        sorted
    });
    depends(differs, |x| (1..=x.len()).map(|end| sum(&x[..end])).collect());
    depends(differs, |x| x.iter().rev().copied().collect());
    depends(differs, |x| x.iter().enumerate().map(|(place, x)| x + place as f32).collect());
    depends(differs, |x| x.iter().map(|y| if x.contains(&-y) || x.len() == 3 { 0.0 } else { *y }).collect());
}

#[test]
fn the_number_of_rows_is_found() {
    depends("differs", |x| vec![x.len() as f32; x.len()]);
    for odd in [1, 2, 3, 5] {
        depends("differs", |x| x.iter().map(|y| if x.len() == odd { -y } else { *y }).collect());
    }
}

#[test]
fn outputs_that_are_not_the_rows_are_found() {
    let shape = "its output \"y\" has the shape";
    depends(shape, |x| x.iter().copied().filter(|x| *x > 0.0).collect());
    depends(shape, |x| x[..1].to_vec());
    depends(shape, |x| [x, x].concat());
    let unique = |x: &[f32]| {
        let mut unique: Vec<f32> = Vec::new();
        x.iter().for_each(|x| {
            if !unique.contains(x) {
                unique.push(*x)
            }
        });
        unique
    };
    depends(shape, unique);
}

#[test]
fn a_signature_that_takes_only_one_row_is_found() {
    let one = |x: &[f32]| if x.len() == 1 { Ok(x.to_vec()) } else { Err(Error::invalid("expected 1 row\n\t [[node]]")) };
    let (verdict, _) = proved(one);
    let Rows::Dependent(why) = &verdict else { panic!("{verdict:?}") };
    assert_eq!(why, "it takes each of 5 made-up rows alone, but not together: expected 1 row");
}

#[test]
fn rows_of_several_lengths_may_be_refused_together() {
    let of_one_length = |inputs: &[Tensor], _: Duration| {
        let strings = inputs[0].as_strings().unwrap();
        let sums: Vec<f32> = strings.iter().map(|string| string.iter().map(|byte| f32::from(*byte)).sum()).collect();
        let is_one = strings.iter().all(|string| string.len() == strings.get(0).len());
        let output = || vec![Tensor::from_vec(&[sums.len()], sums.clone())];
        is_one.then(output).ok_or_else(|| Error::invalid("expected strings of one length"))
    };
    let mut signature = column(DType::String);
    signature.outputs[0].dtype = DType::Float32;
    assert_eq!(prove(&signature, long(), &of_one_length), Rows::Independent);
}

#[test]
fn a_refused_kind_of_rows_gives_way_to_another() {
    let positive = |x: &[f32]| {
        let is_positive = x.iter().all(|x| *x >= 0.0);
        is_positive.then(|| x.iter().map(|x| x.sqrt()).collect()).ok_or_else(|| Error::invalid("x must not be negative"))
    };
    assert_eq!(proved(positive).0, Rows::Independent);
    let mixed = |x: &[f32]| positive(x).map(|y| y.iter().map(|y| y + sum(x)).collect());
    assert!(matches!(proved(mixed).0, Rows::Dependent(_)));
    let none = proved(|_| Err(Error::invalid("no")));
    assert_eq!(none.0, Rows::Unproven("made-up rows were refused: no".into()));
    assert_eq!(none.1.len(), 2, "one row of each kind");
}

#[test]
fn what_differs_between_runs_is_not_judged() {
    let runs = Cell::new(0.0);
    let random = |x: &[f32]| {
        runs.set(runs.get() + 1.0);
        Ok(x.iter().map(|x| x + runs.get()).collect())
    };
    assert_eq!(proved(random).0, Rows::Unproven("its output \"y\" differs between two runs of the same rows".into()));
}

#[test]
fn outputs_that_do_not_vary_prove_nothing() {
    for constant in [1.0, f32::NAN] {
        let (verdict, _) = proved(|x| Ok(vec![constant; x.len()]));
        assert_eq!(verdict, Rows::Unproven("its outputs are the same for all made-up rows".into()));
    }
}

#[test]
fn a_proof_ends_in_its_time() {
    let session = FakeSession::new(Behaviour::HalfPlusTwo);
    let run = |inputs: &[Tensor], _: Duration| session.run(0, &[inputs]);
    let verdict = |deadline| prove(&session.signatures()[0], deadline, &run);
    assert_eq!(verdict(Instant::now()), Rows::Unproven("its trial at load had no more time".into()));
    assert_eq!(session.run_rows().len(), 0, "no run begins after the end");
    assert_eq!(verdict(long()), Rows::Independent);
    let ended = |_: &[Tensor], time: Duration| {
        assert!(time <= Duration::from_secs(600));
        Err(Error::new(Code::DeadlineExceeded, "over"))
    };
    assert_eq!(prove(&column(DType::Float32), long(), &ended), Rows::Unproven("its trial at load had no more time".into()));
}

#[test]
fn strings_are_words_numbers_images_and_examples() {
    let only = |start: &'static [u8]| {
        let run = move |inputs: &[Tensor], _: Duration| {
            let strings = inputs[0].as_strings().unwrap();
            let is_taken = strings.iter().all(|string| string.starts_with(start));
            is_taken.then(|| vec![inputs[0].clone()]).ok_or_else(|| Error::invalid("no"))
        };
        prove(&column(DType::String), long(), &run)
    };
    for start in [&b""[..], b"\x89PNG", b"\x0a\x0f"] {
        assert_eq!(only(start), Rows::Independent, "{start:?}");
    }
    assert!(matches!(only(b"GIF"), Rows::Unproven(_)));
}

#[test]
fn the_fake_sessions_rows_are_judged_as_they_are() {
    let judged = |behaviour| {
        let session = FakeSession::new(behaviour);
        let run = |inputs: &[Tensor], _: Duration| session.run(0, &[inputs]);
        prove(&session.signatures()[0], long(), &run)
    };
    assert_eq!(judged(Behaviour::Echo), Rows::Independent);
    assert_eq!(judged(Behaviour::FailsOnNegative), Rows::Independent);
    assert!(matches!(judged(Behaviour::PositiveOnly), Rows::Dependent(_)));
    assert!(matches!(judged(Behaviour::AlwaysFails), Rows::Unproven(_)));
}
