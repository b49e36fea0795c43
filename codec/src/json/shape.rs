//! The shape of an input while its values are being read: known from the signature, or shown by the lists so far.

use std::borrow::Cow;

use tfweb_engine::{element_count, Dims, PartialShape, RANK_MAX};

use super::context::Problem;
use super::found::Found;

/// Stands for a dimension that no list has shown yet. No list in a body is that long.
const UNSEEN: usize = usize::MAX;
/// The numbers of a pair.
const PAIR: usize = 2;

/// The shape of one input, as far as the signature or the lists so far tell it.
pub(super) struct SeenShape<'s> {
    known: Option<Cow<'s, [Option<usize>]>>,
    rank: Option<usize>,
    seen: Dims,
}

impl<'s> SeenShape<'s> {
    /// Starts from the shape that the signature gives.
    pub(super) fn new(shape: &'s PartialShape) -> Self {
        Self::known(shape.dims().map(Cow::Borrowed))
    }

    /// Starts from the shape that the signature gives, with pairs of numbers as its elements.
    pub(super) fn of_pairs(shape: &PartialShape) -> Self {
        Self::known(shape.dims().map(|dims| Cow::Owned([dims, &[Some(PAIR)]].concat())))
    }

    fn known(known: Option<Cow<'s, [Option<usize>]>>) -> Self {
        let dims = known.as_deref().unwrap_or_default();
        let (rank, seen) = (known.as_ref().map(|dims| dims.len()), dims.iter().map(|dim| dim.unwrap_or(UNSEEN)).collect());
        Self { known, rank, seen }
    }

    /// Whether the innermost lists so far are pairs.
    pub(super) fn ends_in_pairs(&self) -> bool {
        self.seen.last() == Some(&PAIR)
    }

    /// The rank, where the signature or a first value has settled it.
    pub(super) const fn rank(&self) -> Option<usize> {
        self.rank
    }

    /// Settles the rank by the first value, where the signature does not.
    pub(super) fn settle_rank(&mut self, rank: usize) {
        if self.rank.is_none() {
            self.rank = Some(rank);
            self.seen.resize(rank, UNSEEN);
        }
    }

    /// Whether a list may stand at `depth`.
    pub(super) fn takes_list(&self, depth: usize) -> bool {
        depth < self.rank.unwrap_or(RANK_MAX)
    }

    /// Why a list is refused where none may stand.
    #[cold]
    pub(super) fn too_deep(&self) -> Problem {
        let problem = Problem::got(Found::List.to_string());
        if self.rank.is_none() {
            problem.noting(format!("lists may be at most {RANK_MAX} deep"))
        } else {
            self.noting_rank(problem)
        }
    }

    /// Whether a list at `depth` may have `count` values: the signature and the lists so far give no other length.
    pub(super) fn takes_length(&mut self, depth: usize, count: usize) -> bool {
        let dim = &mut self.seen[depth];
        if *dim == UNSEEN {
            *dim = count;
        }
        *dim == count
    }

    /// Why a list of `count` values at `depth` is refused.
    #[cold]
    pub(super) fn other_length(&self, depth: usize, count: usize) -> Problem {
        let values = if count == 1 { "value" } else { "values" };
        let problem = Problem::got(format!("a list of {count} {values}"));
        if self.known.as_ref().is_some_and(|known| known[depth].is_some()) {
            problem
        } else {
            problem.noting(format!("the lists before it have {}", self.seen[depth]))
        }
    }

    /// Settles every dimension from `depth` on by the number of bytes of all elements, each of `element_bytes`.
    pub(super) fn fit_bytes(&mut self, depth: usize, bytes: usize, element_bytes: usize) -> Result<(), Problem> {
        let Some(known) = self.known.as_ref().and_then(|known| known.get(depth..)).map(<[_]>::to_vec) else {
            return Err(Problem::got("bytes as \"b64\"").noting("bytes need a shape of known rank; send lists"));
        };
        let unknown = known.iter().filter(|dim| dim.is_none()).count();
        if unknown > 1 {
            return Err(
                Problem::got("bytes as \"b64\"").noting(format!("bytes settle one unknown dimension, not {unknown}; send lists"))
            );
        }
        let product: Dims = known.iter().flatten().copied().collect();
        let unit = element_count(&product).unwrap_or(usize::MAX).saturating_mul(element_bytes);
        let got = || format!("{bytes} bytes as \"b64\"");
        let count = bytes.checked_div(unit).unwrap_or_default();
        if unknown == 0 || unit == 0 {
            if bytes != unit {
                return Err(Problem::expected(format!("{unit} bytes"), got()));
            }
        } else if count * unit != bytes {
            return Err(Problem::expected(format!("a multiple of {unit} bytes"), got()));
        }
        for (depth, dim) in (depth..).zip(known) {
            let count = dim.unwrap_or(count);
            if !self.takes_length(depth, count) {
                return Err(self.other_length(depth, count));
            }
        }
        Ok(())
    }

    /// The least number of elements of a value whose lists at `depth` are not empty.
    pub(super) fn elements_min(&self, depth: usize) -> usize {
        self.seen
            .get(depth..)
            .unwrap_or_default()
            .iter()
            .filter(|&&dim| dim != UNSEEN)
            .fold(1, |product, &dim| product.saturating_mul(dim))
    }

    /// Adds the rank that the first value settled, where the signature gives none, to the refusal of a value at the wrong depth.
    pub(super) fn noting_rank(&self, problem: Problem) -> Problem {
        match (&self.known, self.rank) {
            (None, Some(rank)) => problem.noting(format!("the first value has rank {rank}")),
            (Some(_), _) | (None, None) => problem,
        }
    }

    /// The dimensions of the values that were read; those that no list has shown are 0. `rows` is the outer dimension where each
    /// value was a row.
    pub(super) fn finish(mut self, rows: Option<usize>) -> Dims {
        if let (Some(rows), Some(outer)) = (rows, self.seen.first_mut()) {
            *outer = rows;
        }
        for dim in &mut self.seen {
            if *dim == UNSEEN {
                *dim = 0;
            }
        }
        self.seen
    }
}
