//! Shapes of tensors, in which every dimension is known, and of signatures, in which some are not.

use std::fmt;

use smallvec::SmallVec;

/// The dimensions of a tensor, outermost first. Up to four need no allocation; a batch of images has four.
pub type Dims = SmallVec<[usize; 4]>;

/// The most dimensions that an input may have. TensorFlow's own limit is 254; models in use have far fewer.
pub const RANK_MAX: usize = 32;

/// Counts the elements of a tensor of these dimensions. `None` if the count overflows.
#[must_use]
pub fn element_count(dims: &[usize]) -> Option<usize> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim))
}

/// The shape that a signature declares. Its rank may be unknown. If the rank is known, some dimensions may vary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialShape(Option<Vec<Option<usize>>>);

impl PartialShape {
    /// The shape whose rank is unknown.
    pub const UNKNOWN: Self = Self(None);

    /// Makes a shape of known rank. `None` stands for a dimension that may vary.
    pub fn new(dims: impl Into<Vec<Option<usize>>>) -> Self {
        Self(Some(dims.into()))
    }

    /// The dimensions, if the rank is known.
    #[must_use]
    pub fn dims(&self) -> Option<&[Option<usize>]> {
        self.0.as_deref()
    }

    /// Whether the first dimension exists and may vary. Then it counts rows.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        matches!(self.dims(), Some([None, ..]))
    }

    /// The shape of one row, which is this shape without its first dimension.
    #[must_use]
    pub fn row(&self) -> Self {
        Self(self.dims().map(|dims| dims.get(1..).unwrap_or_default().to_vec()))
    }

    /// Whether a tensor of these dimensions fits the shape.
    #[must_use]
    pub fn accepts(&self, dims: &[usize]) -> bool {
        self.dims().is_none_or(|known| {
            known.len() == dims.len() && known.iter().zip(dims).all(|(known, dim)| known.is_none_or(|known| known == *dim))
        })
    }
}

impl fmt::Display for PartialShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dims) = self.dims() else {
            return f.write_str("unknown");
        };
        f.write_str("[")?;
        for (i, dim) in dims.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            match dim {
                Some(dim) => write!(f, "{comma}{dim}")?,
                None => write!(f, "{comma}-1")?,
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_fits() {
        let shape = PartialShape::new([None, Some(2)]);
        assert!(shape.accepts(&[7, 2]) && shape.accepts(&[0, 2]));
        assert!(!shape.accepts(&[7, 3]) && !shape.accepts(&[2]));
        assert!(PartialShape::UNKNOWN.accepts(&[1, 2, 3]));
        assert_eq!(shape.to_string(), "[-1, 2]");
        assert_eq!(shape.row().to_string(), "[2]");
        assert!(shape.has_rows() && !PartialShape::new([]).has_rows() && !PartialShape::UNKNOWN.has_rows());
    }

    #[test]
    fn element_count_does_not_overflow() {
        assert_eq!(element_count(&[]), Some(1));
        assert_eq!(element_count(&[usize::MAX, 2]), None);
        assert_eq!(element_count(&[usize::MAX, 2, 0]), Some(0));
    }
}
