//! Reads one input's value, with all its nested lists, straight into its elements.
//!
//! Most of the time is spent on the elements of innermost lists, above all where these are short: the three colours of a pixel.
//! Therefore [`Innermost`] and the forced inlining exist, and an element is made inside serde but appended outside of it.
//! Depth is bounded by the signature's rank, or by [`RANK_MAX`](tfweb_engine::RANK_MAX) where it has none.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::context::Problem;
use super::elements::{Elements, Wrapped};
use super::found::Found;
use super::scope::{visit_scalars, Scope};
use super::wrappers::read_wrapper;

/// Reads the value at dimension `depth`: a list, or an element where the rank is reached.
pub(super) struct Value<'a, 'b, 's, C> {
    /// The input's elements so far.
    pub(super) elements: &'a mut C,
    /// State that the readers of the value share.
    pub(super) scope: &'a mut Scope<'b, 's>,
    /// The dimension.
    pub(super) depth: usize,
}

impl<'b, 's, C: Elements> Value<'_, 'b, 's, C> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        if self.scope.is_element_depth(self.depth) {
            let item = Element { elements: self.elements, scope: self.scope }.scalar(found)?;
            self.elements.append(item);
            Ok(())
        } else {
            Err(self.scope.misplaced(found))
        }
    }

    fn read_list<'de, A: SeqAccess<'de>>(&mut self, list: &mut A, count: &mut usize) -> Result<(), A::Error> {
        if self.scope.shape.rank().is_none() {
            // The first value settles the rank, which decides how the rest are read.
            if list.next_element_seed(self.below())?.is_none() {
                self.scope.shape.settle_rank(self.depth + 1);
                return Ok(());
            }
            *count += 1;
        }
        let levels = self.scope.shape.rank().map(|rank| rank - self.depth);
        if levels == Some(1) {
            while let Some(item) = list.next_element_seed(Element { elements: self.elements, scope: self.scope })? {
                self.elements.append(item);
                *count += 1;
            }
        } else if levels == Some(2) {
            while list.next_element_seed(Innermost { elements: self.elements, scope: self.scope, depth: self.depth + 1 })?.is_some()
            {
                *count += 1;
            }
        } else {
            while list.next_element_seed(self.below())?.is_some() {
                *count += 1;
            }
        }
        Ok(())
    }

    fn below(&mut self) -> Value<'_, 'b, 's, C> {
        Value { elements: self.elements, scope: self.scope, depth: self.depth + 1 }
    }
}

impl<'de, C: Elements> DeserializeSeed<'de> for Value<'_, '_, '_, C> {
    type Value = ();

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for Value<'_, '_, '_, C> {
    type Value = ();

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        if !self.scope.shape.takes_list(self.depth) {
            return Err(self.scope.context.refuse(self.scope.shape.too_deep()));
        }
        if self.depth == self.scope.start {
            self.elements.reserve(self.scope.reserve());
        }
        let mut count = 0;
        if let Err(error) = self.read_list(&mut list, &mut count) {
            self.scope.context.leave_list(count);
            return Err(error);
        }
        self.scope.close_list(self.depth, count)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        let is_whole = C::WRAPPED == Wrapped::Whole && self.depth == self.scope.start;
        if is_whole {
            read_wrapper(self.elements, self.scope, object)
        } else if self.scope.is_element_depth(self.depth) {
            let item = Element { elements: self.elements, scope: self.scope }.visit_map(object)?;
            self.elements.append(item);
            Ok(())
        } else {
            Err(self.scope.misplaced_object(C::WRAPPED, self.depth))
        }
    }
}

/// Reads an innermost list. Most lists are innermost ones.
struct Innermost<'a, 'b, 's, C> {
    elements: &'a mut C,
    scope: &'a mut Scope<'b, 's>,
    depth: usize,
}

impl<C: Elements> Innermost<'_, '_, '_, C> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        Err(self.scope.misplaced(found))
    }
}

impl<'de, C: Elements> DeserializeSeed<'de> for Innermost<'_, '_, '_, C> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for Innermost<'_, '_, '_, C> {
    type Value = ();

    visit_scalars!();

    #[inline(always)]
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { elements, scope, depth } = self;
        let mut count = 0;
        loop {
            match list.next_element_seed(Element { elements, scope }) {
                Ok(Some(item)) => {
                    elements.append(item);
                    count += 1;
                }
                Ok(None) => break,
                Err(error) => {
                    scope.context.leave_list(count);
                    return Err(error);
                }
            }
        }
        scope.close_list(depth, count)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.scope.misplaced_object(C::WRAPPED, self.depth))
    }
}

/// Reads one element, or the wrapper that stands for one.
struct Element<'a, 'b, 's, C> {
    elements: &'a mut C,
    scope: &'a mut Scope<'b, 's>,
}

impl<C: Elements> Element<'_, '_, '_, C> {
    #[inline(always)]
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<C::Item, E> {
        match self.elements.make(found) {
            Some(item) => Ok(item),
            None => Err(self.scope.context.refuse_element(found, C::DTYPE)),
        }
    }
}

impl<'de, C: Elements> DeserializeSeed<'de> for Element<'_, '_, '_, C> {
    type Value = C::Item;

    #[inline(never)]
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<C::Item, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, C: Elements> Visitor<'de> for Element<'_, '_, '_, C> {
    type Value = C::Item;

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<C::Item, A::Error> {
        Err(self.scope.misplaced(Found::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<C::Item, A::Error> {
        match C::WRAPPED {
            Wrapped::Element => read_wrapper(self.elements, self.scope, object).map(|()| C::Item::default()),
            Wrapped::Whole => {
                let problem = Problem::got(Found::Object.to_string()).noting("{\"b64\": …} stands for an input's whole value only");
                Err(self.scope.context.refuse(problem))
            }
            Wrapped::Never => Err(self.scope.context.refuse(Problem::got(Found::Object.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tfweb_engine::{DType, PartialShape};

    use super::super::context::Context;
    use super::super::elements::Scalars;
    use super::super::native::NativeRules;
    use super::super::shape::SeenShape;
    use super::*;

    /// Counts elements, and notes for how many it is to make room.
    #[derive(Default)]
    struct Counted {
        reserved: Vec<usize>,
        count: usize,
    }

    impl Elements for Counted {
        const DTYPE: DType = DType::Float32;
        const WRAPPED: Wrapped = Wrapped::Never;
        const EXPECTED: &'static str = "lists";
        type Item = ();

        fn reserve(&mut self, count: usize) {
            self.reserved.push(count);
        }

        fn make(&mut self, _: Found<'_>) -> Option<()> {
            Some(())
        }

        fn append(&mut self, (): ()) {
            self.count += 1;
        }

        fn push_base64(&mut self, _: &str, _: &mut SeenShape<'_>, _: usize) -> Result<(), Problem> {
            unreachable!("no wrappers")
        }

        fn push_url(&mut self, _: &str) -> Result<(), Problem> {
            unreachable!("no wrappers")
        }
    }

    #[test]
    fn memory_is_reserved_once_for_each_value_and_never_for_more_than_the_body_can_spell() {
        // The signature's shape, the body, and the elements for which room is made at each of two values.
        for (shape, json, expected) in [
            (PartialShape::new([Some(2), Some(3)]), "[[1,2,3],[4,5,6]]", [6, 3]),
            (PartialShape::new([None, Some(3)]), "[[1,2,3],[4,5,6]]", [3, 6]),
            (PartialShape::new([None, Some(1 << 40)]), "[]", [2, 0]),
            (PartialShape::UNKNOWN, "[1,2,3,4,5,6]", [1, 6]),
        ] {
            let (mut seen, mut context, mut counted) = (SeenShape::new(&shape), Context::new(json.len()), Counted::default());
            for _ in 0..2 {
                let mut scope = Scope { shape: &mut seen, context: &mut context, start: 0 };
                let value = Value { elements: &mut counted, scope: &mut scope, depth: 0 };
                value.deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap();
            }
            assert_eq!(counted.reserved, expected, "{shape} {json}");
            assert_eq!(counted.count, 2 * json.bytes().filter(u8::is_ascii_digit).count());
        }
        let mut scalars = Scalars { rules: NativeRules, values: Vec::<f32>::new() };
        scalars.reserve(7);
        assert!(scalars.values.capacity() >= 7);
    }
}
