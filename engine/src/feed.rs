//! Checks which tensors may be fed to a signature. Pure.
//!
//! TensorFlow's kernels state their assumptions with a `CHECK`, such as that the input of a convolution has four dimensions. A
//! `CHECK` is no error. If it fails, TensorFlow ends the whole process (SIGABRT) and every other request with it. Nothing can catch
//! that, so no request may reach a `CHECK` that fails. Some kernels do not even check, and write outside their memory.
//!
//! Kernels assume the rank and the known dimensions that shape inference found when the graph was built. A run does not compare the
//! tensors that are fed with those, so this file does. The shapes that a signature declares do not help: some declare less, and
//! some declare other shapes than clients feed (TensorFlow Serving's half_plus_two declares `[-1, 1]`, and clients feed `[3]`).
//!
//! So a tensor must agree with the shape that TensorFlow inferred, with one exception. A tensor that reaches only operations on
//! each element by itself may have any shape, for such operations take any. Several such tensors must not broadcast to more
//! elements than the largest of them has: `[6000, 1]` and `[1, 6000]` would become 36 million elements.
//!
//! TensorFlow also CHECKs that the sizes of a shape multiply to less than 2^63, with the sizes beside a zero, and the same of
//! shapes that it makes of others: `[1, 2^58, 0]` and `[64, 1, 1]` broadcast to too many elements. An input with elements is far
//! below that limit, for its client has sent them all. So two things are bounded here: the sizes of an empty input, and the shape
//! to which all inputs broadcast.

use std::fmt;

use crate::error::Error;
use crate::graph::Demands;
use crate::shape::{Dims, PartialShape};

/// All inputs of a run must broadcast to fewer elements than this, where a size of 0 counts as 1. It is half of TensorFlow's limit.
const BROADCAST_ELEMENTS_MAX: u64 = 1 << 62;
/// The greatest product of the sizes beside zeros of an input without elements. Such an input costs nothing to send, and yet
/// kernels make outputs for its rows and loop over them, and other requests wait for that. So it may claim no more rows than a request
/// with elements usually holds.
const EMPTY_PRODUCT_MAX: u64 = 1 << 20;

/// The shapes that may be fed to one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedShape {
    /// The shape that TensorFlow inferred.
    shape: PartialShape,
    demands: Demands,
    /// Whether the process ends if the tensor has no elements.
    needs_elements: bool,
}

impl FeedShape {
    /// Allows any shape.
    pub const ANY: Self = Self { shape: PartialShape::UNKNOWN, demands: Demands::UNKNOWN, needs_elements: false };

    pub(crate) const fn new(shape: PartialShape, demands: Demands, needs_elements: bool) -> Self {
        Self { shape, demands, needs_elements }
    }

    /// Whether a trial run may feed made-up values. It must not if they may end the process.
    pub(crate) const fn may_be_tried(&self) -> bool {
        !self.needs_elements
    }

    /// Whether a tensor of these dimensions agrees with the graph.
    fn agrees(&self, dims: &[usize]) -> bool {
        let has_last = dims.last().is_none_or(|last| *last >= self.demands.last_size_min);
        self.demands.ranks.contains(&dims.len()) && self.shape.accepts(dims) && has_last
    }

    /// Whether a tensor of these dimensions is empty although it must not be, or claims too many rows for an empty one.
    fn is_too_empty(&self, dims: &[usize]) -> bool {
        let chosen = |place: usize| self.shape.dims().and_then(|known| *known.get(place)?).is_none();
        let claimed: Dims = dims.iter().enumerate().filter(|(place, _)| chosen(*place)).map(|(_, size)| *size).collect();
        dims.contains(&0) && (self.needs_elements || product(&claimed).is_none_or(|product| product > EMPTY_PRODUCT_MAX))
    }
}

impl fmt::Display for FeedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, greatest) = (self.demands.ranks.start(), self.demands.ranks.end());
        if self.shape.dims().is_some() || (*least == 0 && *greatest == usize::MAX) {
            write!(f, "shape {}", self.shape)?;
        } else if least == greatest {
            write!(f, "{least} dimensions")?;
        } else if *greatest == usize::MAX {
            write!(f, "{least} or more dimensions")?;
        } else {
            write!(f, "{least} to {greatest} dimensions")?;
        }
        if self.demands.last_size_min > 0 {
            write!(f, " with a last size of {} or more", self.demands.last_size_min)?;
        }
        Ok(())
    }
}

/// Checks that several tensors may be fed together. `inputs` gives the name, the feed shape and the dimensions of each.
///
/// # Errors
/// `InvalidArgument`, which names the first input that may not be fed.
pub(crate) fn check_feeds<'a>(inputs: impl Iterator<Item = (&'a str, &'a FeedShape, &'a [usize])>) -> Result<(), Error> {
    let (mut together, mut largest, mut odd) = (Dims::new(), 0, None);
    for (name, feed, dims) in inputs {
        if !feed.agrees(dims) {
            let error = || format!("input {name:?}: expected {feed}, for which the graph was built, got shape {dims:?}");
            if !feed.demands.takes_any_shape {
                return Err(Error::invalid(error()));
            }
            odd.get_or_insert_with(error);
        }
        if feed.is_too_empty(dims) {
            let most = if feed.needs_elements { "no size of 0" } else { "sizes beside 0 whose product is at most 2^20" };
            return Err(Error::invalid(format!("input {name:?}: expected {most}, got shape {dims:?}")));
        }
        largest = largest.max(product(dims).unwrap_or(u64::MAX));
        broadcast(&mut together, dims);
    }
    let elements = product(&together).filter(|elements| *elements < BROADCAST_ELEMENTS_MAX);
    let Some(elements) = elements else {
        let text = format!("expected inputs whose shapes broadcast to fewer than 2^62 elements, got {:?}", &together[..]);
        return Err(Error::invalid(text));
    };
    match odd {
        Some(error) if elements > largest => Err(Error::invalid(error)),
        Some(_) | None => Ok(()),
    }
}

/// Broadcasts a shape with the shapes before it: takes the greatest size of each dimension, counted from the last dimension.
fn broadcast(together: &mut Dims, dims: &[usize]) {
    while together.len() < dims.len() {
        together.insert(0, 1);
    }
    for (greatest, size) in together.iter_mut().rev().zip(dims.iter().rev()) {
        *greatest = (*greatest).max(*size);
    }
}

/// The product of all sizes, where 0 counts as 1. `None` if it exceeds 64 bits.
fn product(dims: &[usize]) -> Option<u64> {
    dims.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::try_from(size.max(1)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds tensors of these dimensions. Expects these words of an error, or `None` if the tensors may be fed.
    #[track_caller]
    fn check(feeds: &[FeedShape], dims: &[&[usize]], expect: Option<&str>) {
        let checked = check_feeds(feeds.iter().zip(dims).map(|(feed, dims)| ("x", feed, *dims)));
        match expect {
            None => assert_eq!(checked, Ok(())),
            Some(words) => {
                let error = checked.unwrap_err();
                assert!(error.code == crate::error::Code::InvalidArgument && error.message.contains(words), "{error:?}");
            }
        }
    }

    #[test]
    fn rank_and_known_dimensions_have_to_agree() {
        let image = [FeedShape::new(PartialShape::new([None, None, Some(3)]), Demands::UNKNOWN, false)];
        check(&image, &[&[7, 0, 3]], None);
        check(&image, &[&[]], Some("input \"x\": expected shape [-1, -1, 3], for which the graph was built, got shape []"));
        check(&image, &[&[7, 1, 2]], Some("got shape [7, 1, 2]"));
    }

    #[test]
    fn ranks_are_held_where_the_shape_is_unknown() {
        let of = |ranks| [FeedShape::new(PartialShape::UNKNOWN, Demands { ranks, ..Demands::UNKNOWN }, false)];
        check(&of(2..=2), &[&[1, 1]], None);
        check(&of(2..=2), &[&[1]], Some("expected 2 dimensions"));
        check(&of(4..=5), &[&[1; 6]], Some("expected 4 to 5 dimensions"));
        check(&of(2..=usize::MAX), &[&[]], Some("expected 2 or more dimensions"));
        check(&of(0..=3), &[&[1; 4]], Some("expected 0 to 3 dimensions"));
        check(&of(0..=usize::MAX), &[&[1; 4]], None);
        let last = [FeedShape::new(PartialShape::UNKNOWN, Demands { last_size_min: 2, ..Demands::UNKNOWN }, false)];
        check(&last, &[&[1]], Some("expected shape unknown with a last size of 2 or more"));
        check(&[FeedShape::ANY], &[&[]], None);
        check(&[FeedShape::ANY], &[&[1; 32]], None);
    }

    #[test]
    fn inputs_broadcast_to_less_than_two_to_the_62nd() {
        let any = vec![FeedShape::ANY; 600];
        let too_many = |got| Some(format!("broadcast to fewer than 2^62 elements, got {got}"));
        let check = |dims: &[&[usize]], expect: Option<String>| check(&any[..dims.len()], dims, expect.as_deref());
        check(&[&[1 << 31, 1], &[(1 << 31) - 1]], None);
        check(&[&[1 << 31, 1], &[1 << 31]], too_many("[2147483648, 2147483648]"));
        check(&[&[0, 1 << 20, 1], &[1 << 42]], too_many("[1, 1048576, 4398046511104]"));
        check(&[&[usize::MAX], &[2, 1]], too_many("[2, 18446744073709551615]"));
        check(&[&[7, 1 << 20][..]; 600], None);
        check(&[&[32, 512, 512, 3], &[32, 128], &[], &[0]], None);
    }

    #[test]
    fn an_empty_input_claims_no_more_than_could_be_sent() {
        let large = [FeedShape::new(PartialShape::new([None, Some(1 << 20), Some(1 << 20)]), Demands::UNKNOWN, false)];
        check(&large, &[&[0, 1 << 20, 1 << 20]], None);
        let any = [FeedShape::ANY];
        check(&any, &[&[0, 0]], None);
        check(&any, &[&[1 << 10, 0, 1 << 10]], None);
        check(&any, &[&[1 << 10, 0, (1 << 10) + 1]], Some("whose product is at most 2^20, got shape [1024, 0, 1025]"));
        check(&any, &[&[1, 1 << 58, 0]], Some("product is at most 2^20"));
        check(&any, &[&[usize::MAX, 0, usize::MAX]], Some("product is at most 2^20"));
        check(&any, &[&[(1 << 20) + 1]], None);
    }

    #[test]
    fn elementwise_inputs_may_have_any_shape_that_makes_no_more_of_them() {
        let demands = Demands { takes_any_shape: true, ..Demands::UNKNOWN };
        let vector = || FeedShape::new(PartialShape::new([None]), demands.clone(), false);
        let scalar = || FeedShape::new(PartialShape::new([]), demands.clone(), false);
        check(&[vector()], &[&[2, 2]], None);
        check(&[vector()], &[&[]], None);
        check(&[scalar(), scalar()], &[&[1], &[1]], None);
        check(&[scalar(), vector()], &[&[1], &[1000]], None);
        check(&[vector(), vector()], &[&[6000, 1], &[1, 6000]], Some("input \"x\": expected shape [-1], for which"));
        let other = FeedShape::new(PartialShape::new([None]), Demands::UNKNOWN, false);
        check(&[vector(), other], &[&[2], &[]], Some("got shape []"));
    }

    #[test]
    fn transforms_need_elements() {
        let demands = Demands { last_size_min: 2, ..Demands::UNKNOWN };
        let transform = [FeedShape::new(PartialShape::new([None, None]), demands, true)];
        assert!(!transform[0].may_be_tried() && FeedShape::ANY.may_be_tried());
        check(&transform, &[&[1, 2]], None);
        check(&transform, &[&[0, 2]], Some("expected no size of 0, got shape [0, 2]"));
        check(&transform, &[&[3, 1]], Some("expected shape [-1, -1] with a last size of 2 or more"));
    }
}
