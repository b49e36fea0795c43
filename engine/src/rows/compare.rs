//! Whether two outputs agree, as far as runs of the same values agree.

use half::{bf16, f16};

use crate::dtype::DType;
use crate::tensor::Tensor;

/// How far floats may be apart: by this part of the number, or by this part of the output's largest number. TensorFlow chooses
/// kernels by the number of rows, and their sums differ in the last places. Floats of two bytes have fewer places.
struct Tolerance {
    of_number: f64,
    of_largest: f64,
}

const FLOATS: Tolerance = Tolerance { of_number: 1e-3, of_largest: 1e-5 };
/// Of float16, whose numbers are 2^-10 apart.
const HALVES: Tolerance = Tolerance { of_number: 1e-2, of_largest: 2e-3 };
/// Of bfloat16, whose numbers are 2^-7 apart.
const BRAINS: Tolerance = Tolerance { of_number: 5e-2, of_largest: 2e-2 };

/// Whether each row of `output` agrees with the row of `whole` that has the number in `rows`. Floats agree within a tolerance, and all
/// others if they are equal.
pub(super) fn rows_agree(output: &Tensor, whole: &Tensor, rows: &[usize]) -> bool {
    let is_alike = output.dtype() == whole.dtype() && output.rows() == Some(rows.len()) && output.dims()[1..] == whole.dims()[1..];
    if !is_alike {
        return false;
    }
    let (Some(found), Some(expected)) = (floats(output), floats(whole)) else {
        return rows.iter().enumerate().all(|(row, &of)| output.slice_rows(row, 1) == whole.slice_rows(of, 1));
    };
    let Tolerance { of_number, of_largest } = tolerance(whole.dtype());
    let largest = expected.iter().filter(|float| float.is_finite()).fold(0.0_f64, |largest, float| largest.max(float.abs()));
    let agree = |(found, expected): (&f64, &f64)| {
        let is_near = (found - expected).abs() <= of_number * expected.abs() + of_largest * largest;
        found == expected || (found.is_nan() && expected.is_nan()) || (expected.is_finite() && is_near)
    };
    let size = found.len() / rows.len();
    rows.iter().enumerate().all(|(row, &of)| found[row * size..][..size].iter().zip(&expected[of * size..][..size]).all(agree))
}

/// The tolerance for floats of this dtype.
fn tolerance(dtype: DType) -> Tolerance {
    if dtype == DType::Float16 {
        HALVES
    } else if dtype == DType::Bfloat16 {
        BRAINS
    } else {
        FLOATS
    }
}

/// The floats of a tensor, of complex numbers both parts. `None` if its elements are no floats.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let halves = || Some(tensor.as_slice::<f16>()?.iter().map(|float| float.to_f64()).collect());
    let brains = || Some(tensor.as_slice::<bf16>()?.iter().map(|float| float.to_f64()).collect());
    let singles = || Some(tensor.as_slice::<f32>()?.iter().map(|float| f64::from(*float)).collect());
    let doubles = || Some(tensor.as_slice::<f64>()?.to_vec());
    let complex_singles = || Some(tensor.as_slice::<[f32; 2]>()?.iter().flatten().map(|float| f64::from(*float)).collect());
    let complex_doubles = || Some(tensor.as_slice::<[f64; 2]>()?.iter().flatten().copied().collect());
    singles().or_else(doubles).or_else(halves).or_else(brains).or_else(complex_singles).or_else(complex_doubles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Scalar;

    /// Compares the first element with the second, in an output whose largest element is the third.
    fn agree<T: Scalar>(elements: [T; 3]) -> bool {
        let output = Tensor::from_vec(&[3], elements.to_vec());
        rows_agree(&output.slice_rows(0, 1), &output, &[1])
    }

    #[test]
    fn floats_agree_within_a_tolerance_and_others_if_equal() {
        assert!(agree([1.0_f32, 1.0009, 1.0]) && !agree([1.0_f32, 1.002, 1.0]));
        assert!(agree([0.0_f64, 0.0009, 100.0]) && !agree([0.0_f64, 0.002, 100.0]), "the largest number counts");
        assert!(agree([[0.0_f32, 1.0], [0.0, 1.0], [0.0, 1.0]]) && !agree([[0.0_f32, 1.0], [0.0, 1.1], [0.0, 1.0]]));
        let half = |float| f16::from_f32(float);
        assert!(agree([half(1.0), half(1.002), half(1.0)]) && !agree([half(1.0), half(1.03), half(1.0)]));
        let brain = |float| bf16::from_f32(float);
        assert!(agree([brain(1.0), brain(1.01), brain(1.0)]) && !agree([brain(1.0), brain(1.2), brain(1.0)]));
        assert!(agree([1_000_000_i64, 1_000_000, 0]) && !agree([1_000_000_i64, 1_000_001, 0]));
        assert!(!agree([true, false, true]));
    }

    #[test]
    fn what_is_no_number_agrees_with_itself() {
        assert!(agree([f32::NAN, f32::NAN, 1.0]) && !agree([f32::NAN, 1.0, 1.0]) && !agree([1.0, f32::NAN, 1.0]));
        assert!(agree([f32::INFINITY, f32::INFINITY, 1.0]) && !agree([f32::INFINITY, f32::NEG_INFINITY, 1.0]));
        assert!(!agree([f32::INFINITY, 1.0, 1.0]));
    }

    #[test]
    fn shapes_must_be_the_same() {
        let (two, three) = (Tensor::from_vec(&[1, 2], vec![0.0_f32; 2]), Tensor::from_vec(&[1, 3], vec![0.0_f32; 3]));
        assert!(!rows_agree(&two, &three, &[0]) && !rows_agree(&two, &two, &[0, 0]) && rows_agree(&two, &two, &[0]));
    }
}
