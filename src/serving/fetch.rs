//! Puts fetched bodies into the string elements that had URLs.

use std::sync::Arc;

use bytes::Bytes;
use tfweb_codec::json::PendingUrl;
use tfweb_engine::{StringStorage, Strings, Tensor};

/// Puts fetched bodies into the elements of their URLs. `pending` is sorted by input and element. This copies no bytes.
pub(super) fn fill(inputs: &mut [Tensor], pending: &[PendingUrl], bodies: Vec<Bytes>) {
    let mut bodies = bodies.into_iter();
    for of_input in pending.chunk_by(|a, b| a.input == b.input) {
        let tensor = &mut inputs[of_input[0].input];
        let strings = tensor.as_strings().expect("only string inputs take urls; this is a bug");
        let fetched = of_input.iter().map(|pending| pending.element).zip(&mut bodies).collect();
        let filled = FetchedStrings { strings: strings.clone(), fetched };
        *tensor = Tensor::from_strings(tensor.dims(), Arc::new(filled));
    }
}

/// Strings, some of which are fetched bodies.
struct FetchedStrings {
    strings: Strings,
    /// Sorted by element.
    fetched: Vec<(usize, Bytes)>,
}

impl StringStorage for FetchedStrings {
    fn count(&self) -> usize {
        self.strings.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        match self.fetched.binary_search_by_key(&index, |(element, _)| *element) {
            Ok(place) => &self.fetched[place].1,
            Err(_) => self.strings.get(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetched_bodies_take_their_places() {
        let strings = |texts: &[&'static str]| {
            let storage: Vec<Bytes> = texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
            Tensor::from_strings(&[texts.len()], Arc::new(storage))
        };
        let mut inputs = [strings(&["a", "", "c", ""]), Tensor::from_vec(&[1], vec![1.0_f32]), strings(&[""])];
        let pending = [(0, 1), (0, 3), (2, 0)].map(|(input, element)| PendingUrl { input, element, url: String::new() });
        fill(&mut inputs, &pending, ["B", "D", "E"].map(|text| Bytes::from_static(text.as_bytes())).to_vec());
        assert_eq!(inputs, [strings(&["a", "B", "c", "D"]), Tensor::from_vec(&[1], vec![1.0_f32]), strings(&["E"])]);
    }
}
