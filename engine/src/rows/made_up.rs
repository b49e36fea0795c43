//! Makes up rows: numbers, words, images and examples that differ from row to row, the same ones every time.
//!
//! Numbers are small. Models use integers as sizes and as counts of loops, and a large one could take all memory.

use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::dtype::DType;
use crate::shape::{element_count, Dims};
use crate::signature::{Signature, TensorSpec};
use crate::tensor::Tensor;
use crate::with_scalar::with_scalar;

/// How many rows there are.
pub(crate) const ROWS: usize = 5;
/// The values of each row, by number. They are in no order, and two rows are the same: a model that sorts its rows or leaves out
/// equal ones gives itself away.
const VALUES: [usize; ROWS] = [2, 0, 3, 1, 0];
/// The largest input that is made up. A larger one would slow the load more than the proof is worth.
const INPUT_BYTES_MAX: usize = 64 << 20;
/// The sizes to try where the signature leaves a dimension of a row open. Many convolutions refuse small images, and some models
/// only take one element.
const OPEN_SIZES: [usize; 3] = [8, 64, 1];
/// The most elements of a row of integers above 1. As sizes of one tensor, more of them would make a large one.
const LARGER_INTEGERS_MAX: usize = 12;

/// Images of 64 x 64 pixels in three colours. TensorFlow's decoders of all formats take PNG.
pub(crate) const IMAGES: [&[u8]; 4] = [
    include_bytes!("images/0.png"),
    include_bytes!("images/1.png"),
    include_bytes!("images/2.png"),
    include_bytes!("images/3.png"),
];
const WORDS: [&[u8]; 4] = [b"a b", b"zz", b"d/e,f-g h", b"Mm"];
const NUMBERS: [&[u8]; 4] = [b"1003", b"7025", b"2500", b"4401"];
/// Each a tf.Example with one feature `x` of one float (tensorflow/core/example/example.proto).
const EXAMPLES: [&[u8]; 4] = [
    b"\x0a\x0f\x0a\x0d\x0a\x01x\x12\x08\x12\x06\x0a\x04\0\0\0\x3f",
    b"\x0a\x0f\x0a\x0d\x0a\x01x\x12\x08\x12\x06\x0a\x04\0\0\0\xc0",
    b"\x0a\x0f\x0a\x0d\x0a\x01x\x12\x08\x12\x06\x0a\x04\0\0\xc0\x3f",
    b"\x0a\x0f\x0a\x0d\x0a\x01x\x12\x08\x12\x06\x0a\x04\0\0\x40\x40",
];

/// A kind of rows. A signature may refuse one kind and take another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    strings: [&'static [u8]; 4],
    /// Whether some floats are below zero.
    has_negative: bool,
    /// The size of dimensions that the signature leaves open.
    open_size: usize,
}

/// The kinds of rows to try on a signature, the likeliest first.
pub(super) fn kinds(signature: &Signature) -> impl Iterator<Item = Kind> {
    let any = |is: fn(&TensorSpec) -> bool| signature.inputs.iter().any(is);
    let is_open = any(|spec| spec.shape.row().dims().is_some_and(|dims| dims.contains(&None)));
    let sizes = if is_open { &OPEN_SIZES[..] } else { &OPEN_SIZES[..1] };
    let strings = [WORDS, NUMBERS, IMAGES, EXAMPLES];
    let strings = if any(|spec| spec.dtype == DType::String) { strings.to_vec() } else { strings[..1].to_vec() };
    let signs = if any(|spec| is_float(spec.dtype)) { &[true, false][..] } else { &[false][..] };
    sizes.iter().flat_map(move |&open_size| {
        let strings = strings.clone();
        strings
            .into_iter()
            .flat_map(move |strings| signs.iter().map(move |&has_negative| Kind { strings, has_negative, open_size }))
    })
}

/// Makes the rows of all inputs. `None` if they would be large, or if a rank is not known.
pub(super) fn rows(signature: &Signature, kind: Kind) -> Option<Vec<Tensor>> {
    signature.inputs.iter().enumerate().map(|(input, spec)| tensor(spec, kind, input)).collect()
}

fn is_float(dtype: DType) -> bool {
    use DType::{Bfloat16, Complex128, Complex64, Float16, Float32, Float64};
    matches!(dtype, Float16 | Bfloat16 | Float32 | Float64 | Complex64 | Complex128)
}

/// Makes the rows of the input of this number.
fn tensor(spec: &TensorSpec, kind: Kind, input: usize) -> Option<Tensor> {
    let row: Dims = spec.shape.row().dims()?.iter().map(|dim| dim.unwrap_or(kind.open_size)).collect();
    let size = element_count(&row)?;
    if size.checked_mul(ROWS * 8)? > INPUT_BYTES_MAX {
        return None;
    }
    let mut dims = Dims::from_slice(&[ROWS]);
    dims.extend_from_slice(&row);
    let places = VALUES.iter().flat_map(|&value| (0..size).map(move |place| (value, place)));
    Some(with_scalar!(spec.dtype, T => {
        let number = |(value, place)| number(spec.dtype, kind, value, size, Noise::of([input, value, place]));
        Tensor::from_vec(&dims, places.map(|at| T::of(number(at))).collect::<Vec<T>>())
    }, else {
        let strings = places.map(|(value, place)| Bytes::from_static(kind.strings[(value + place) % kind.strings.len()]));
        Tensor::from_strings(&dims, Arc::new(strings.collect::<Vec<_>>()))
    }))
}

/// An element of a row with this value. A float is between -1 and 1, or between 0 and 1. The elements of a row of one element have the
/// order of the values, and so have the first elements of longer rows.
fn number(dtype: DType, kind: Kind, value: usize, row_size: usize, noise: Noise) -> f64 {
    let Noise { at_first, fraction } = noise;
    let in_four = if at_first { value as f64 + fraction } else { 4.0 * fraction };
    match (is_float(dtype), kind.has_negative) {
        (true, true) => in_four / 2.0 - 1.0,
        (true, false) => in_four / 4.0,
        (false, _) if row_size > LARGER_INTEGERS_MAX => (in_four / 2.0).floor(),
        (false, _) => in_four.floor(),
    }
}

/// The random part of an element, which is the same every time.
struct Noise {
    at_first: bool,
    /// At least 0, and less than 1.
    fraction: f64,
}

impl Noise {
    /// The noise of an element by its input, the value of its row, and its place in the row.
    fn of([input, value, place]: [usize; 3]) -> Self {
        // splitmix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014).
        let seed = (((input as u64) << 8 | value as u64) << 40) + place as u64 + 1;
        let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let fraction = (bits ^ (bits >> 31)) >> 40;
        Self { at_first: place == 0, fraction: fraction as f64 / f64::from(1_u32 << 24) }
    }
}

/// A type of elements that can be made of a number.
trait Number {
    fn of(number: f64) -> Self;
}

macro_rules! numbers {
    ($($type:ty: |$number:ident| $made:expr;)*) => {
        $(impl Number for $type {
            fn of($number: f64) -> Self {
                $made
            }
        })*
    };
}

numbers! {
    f16: |number| Self::from_f64(number);
    bf16: |number| Self::from_f64(number);
    f32: |number| number as Self;
    f64: |number| number;
    i8: |number| number as Self;
    i16: |number| number as Self;
    i32: |number| number as Self;
    i64: |number| number as Self;
    u8: |number| number as Self;
    u16: |number| number as Self;
    u32: |number| number as Self;
    u64: |number| number as Self;
    bool: |number| number as u8 % 2 == 1;
    [f32; 2]: |number| [number as f32, 0.5];
    [f64; 2]: |number| [number, 0.5];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::FeedShape;
    use crate::shape::PartialShape;

    fn made(dtype: DType, row: &[Option<usize>]) -> Vec<Vec<Tensor>> {
        let dims: Vec<Option<usize>> = [&[None], row].concat();
        let spec =
            TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype, shape: PartialShape::new(dims), feed: FeedShape::ANY };
        let signature = Signature { inputs: vec![spec], ..Signature::default() };
        kinds(&signature).filter_map(|kind| rows(&signature, kind)).collect()
    }

    #[test]
    fn rows_differ_are_in_no_order_and_two_are_the_same() {
        for dtype in (1..=23).map(DType::from_number).filter(|dtype| dtype.is_served() && *dtype != DType::Bool) {
            for row in [&[][..], &[Some(3)], &[None, Some(2)]] {
                for inputs in made(dtype, row) {
                    let rows: Vec<Tensor> = (0..ROWS).map(|row| inputs[0].slice_rows(row, 1)).collect();
                    for (first, second) in (0..ROWS).flat_map(|first| (0..first).map(move |second| (first, second))) {
                        assert_eq!(rows[first] == rows[second], (first, second) == (4, 1), "{dtype} {row:?}: {rows:?}");
                    }
                }
            }
        }
        let floats = &made(DType::Float32, &[])[0][0];
        assert!(!floats.as_slice::<f32>().unwrap().is_sorted(), "{floats:?}");
        let bools = &made(DType::Bool, &[])[0][0];
        assert_eq!(bools.as_slice::<bool>().unwrap(), [false, false, true, true, false]);
    }

    #[test]
    fn numbers_are_small() {
        let integers = |row: &[Option<usize>]| made(DType::Int64, row)[0][0].as_slice::<i64>().unwrap().to_vec();
        assert_eq!(integers(&[]), [2, 0, 3, 1, 0]);
        assert!(integers(&[Some(12)]).iter().all(|integer| (0..4).contains(integer)));
        assert!(integers(&[Some(13)]).iter().all(|integer| (0..2).contains(integer)));
        let floats = made(DType::Float64, &[Some(100)]);
        let within = |inputs: &[Tensor], least: f64| inputs[0].as_slice::<f64>().unwrap().iter().all(|x| (least..1.0).contains(x));
        assert!(floats.len() == 2 && within(&floats[0], -1.0) && within(&floats[1], 0.0));
        assert!(floats[0][0].as_slice::<f64>().unwrap().iter().any(|x| *x < 0.0));
        assert_eq!(made(DType::Float32, &[Some(1 << 30)]).len(), 0, "nothing large is made up");
    }

    #[test]
    fn open_sizes_are_tried_one_after_another() {
        let dims = |made: Vec<Vec<Tensor>>| made.iter().map(|inputs| inputs[0].dims()[1]).collect::<Vec<_>>();
        assert_eq!(dims(made(DType::Int32, &[None])), [8, 64, 1]);
        assert_eq!(dims(made(DType::Int32, &[Some(3)])), [3]);
        assert_eq!(dims(made(DType::String, &[Some(1)])), [1; 4], "words, numbers, images and examples");
    }
}
