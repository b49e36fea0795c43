//! Parts that the visitors of one value share: one method for all values that are neither lists nor objects, and the state of
//! reading.

use serde::de;

use super::context::{Context, Problem};
use super::elements::Wrapped;
use super::found::Found;
use super::shape::SeenShape;

/// Sends every value that is neither a list nor an object to the visitor's `scalar`. Such a visitor takes every value of JSON, so
/// nobody sees what it is expecting.
macro_rules! visit_scalars {
    () => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("any value")
        }

        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
            self.scalar(Found::Bool(value))
        }

        #[inline(always)]
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
            self.scalar(Found::Signed(value))
        }

        #[inline(always)]
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
            self.scalar(Found::Unsigned(value))
        }

        #[inline(always)]
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
            self.scalar(Found::Float(value))
        }

        #[inline(always)]
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
            self.scalar(Found::Text(value))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            self.scalar(Found::Null)
        }
    };
}
pub(super) use visit_scalars;

/// State that the readers of one value share, beside its elements. They pass one pointer, for the sake of the innermost loop.
pub(super) struct Scope<'a, 's> {
    /// The input's shape, as far as it is known.
    pub(super) shape: &'a mut SeenShape<'s>,
    /// State that the readers of the body share.
    pub(super) context: &'a mut Context,
    /// The dimension at which the value's own lists start: 0 for whole tensors, 1 for a row.
    pub(super) start: usize,
}

impl Scope<'_, '_> {
    /// Refuses a value that stands at the wrong depth.
    #[cold]
    pub(super) fn misplaced<E: de::Error>(&mut self, found: Found<'_>) -> E {
        let problem = self.shape.noting_rank(Problem::got(found.to_string()));
        self.context.refuse(problem)
    }

    /// Refuses an object where a list is due at `depth`.
    #[cold]
    pub(super) fn misplaced_object<E: de::Error>(&mut self, wrapped: Wrapped, depth: usize) -> E {
        let lists = self.shape.rank().unwrap_or_default().saturating_sub(depth);
        if wrapped != Wrapped::Element || lists == 0 {
            return self.misplaced(Found::Object);
        }
        let note = format!("an object stands for one string; write it in {}…{}", "[".repeat(lists), "]".repeat(lists));
        self.context.refuse(Problem::got(Found::Object.to_string()).noting(note))
    }

    /// Whether elements stand at `depth`. The first value settles it where the signature does not.
    pub(super) fn is_element_depth(&mut self, depth: usize) -> bool {
        self.shape.settle_rank(depth);
        self.shape.rank() == Some(depth)
    }

    /// Checks the length of a list at `depth`.
    pub(super) fn close_list<E: de::Error>(&mut self, depth: usize, count: usize) -> Result<(), E> {
        if self.shape.takes_length(depth, count) {
            Ok(())
        } else {
            Err(self.context.refuse(self.shape.other_length(depth, count)))
        }
    }

    /// For how many elements to reserve memory at the start of a value: the number that the signature gives, but no more than the
    /// rest of the body could spell.
    pub(super) fn reserve(&mut self) -> usize {
        let count = self.shape.elements_min(self.start).min(self.context.reserve_elements);
        self.context.reserve_elements -= count;
        count
    }
}
