//! Merges the rows of several requests into one run, and splits the run's outputs again. Pure.
//!
//! The real session merges straight into TensorFlow's memory, by the same rules ([`merged_dims`]).

use std::sync::Arc;

use crate::error::Error;
use crate::shape::Dims;
use crate::storage::PackedStrings;
use crate::tensor::Tensor;
use crate::values::{Scalar, Strings};
use crate::with_scalar::with_scalar;

/// Computes the dimensions of input `input` of all `requests` merged. One request keeps its own; several have the sum of their
/// rows.
///
/// # Errors
/// `InvalidArgument` if the rows cannot be stacked. The batcher merges only requests that stack, so only outputs cause it
/// ([`join`]).
pub fn merged_dims(requests: &[&[Tensor]], input: usize) -> Result<Dims, Error> {
    let first = requests.first().ok_or_else(|| Error::internal("a run without requests; this is a bug"))?;
    let mut dims = Dims::from_slice(first[input].dims());
    for request in &requests[1..] {
        let tensor = &request[input];
        let stackable =
            tensor.dtype() == first[input].dtype() && tensor.rows().is_some() && tensor.dims()[1..] == first[input].dims()[1..];
        if !stackable {
            return Err(Error::invalid(format!(
                "rows of shape {:?} cannot be stacked on rows of shape {:?}",
                tensor.dims(),
                first[input].dims()
            )));
        }
        // Only tensors without elements can reach this: their rows take no memory.
        let too_many = || Error::invalid("several requests have more rows together than can be counted");
        dims[0] = dims[0].checked_add(tensor.dims()[0]).ok_or_else(too_many)?;
    }
    Ok(dims)
}

/// Merges input `input` of all `requests`. The tensor of one request is shared; the rows of several are copied once.
///
/// # Errors
/// Those of [`merged_dims`].
pub fn merge(requests: &[&[Tensor]], input: usize) -> Result<Tensor, Error> {
    let dims = merged_dims(requests, input)?;
    if let [only] = requests {
        return Ok(only[input].clone());
    }
    let parts = || requests.iter().map(|request| &request[input]);
    let merged = with_scalar!(requests[0][input].dtype(), T => {
        Tensor::from_vec(&dims, concat_scalars::<T>(parts()))
    }, else {
        Tensor::from_strings(&dims, Arc::new(pack(parts().filter_map(Tensor::as_strings))))
    });
    Ok(merged)
}

fn concat_scalars<'a, T: Scalar>(parts: impl Iterator<Item = &'a Tensor>) -> Vec<T> {
    // Slice by slice and not element by element: the outputs of a large request may be many megabytes.
    parts.filter_map(Tensor::as_slice::<T>).collect::<Vec<_>>().concat()
}

/// Gives each request its rows of the outputs. The rows share the memory of the outputs. `None` if the first dimension of an output
/// is not the sum of `rows`, for then nobody can tell which rows belong to which request.
#[must_use]
pub fn split(outputs: &[Tensor], rows: &[usize]) -> Option<Vec<Vec<Tensor>>> {
    let total: usize = rows.iter().sum();
    if outputs.iter().any(|output| output.rows() != Some(total)) {
        return None;
    }
    let mut start = 0;
    let split = rows.iter().map(|&count| {
        let mine = outputs.iter().map(|output| output.slice_rows(start, count)).collect();
        start += count;
        mine
    });
    Some(split.collect())
}

/// Joins the outputs of the parts of one large request, in order.
///
/// # Errors
/// `Internal` if the outputs cannot be stacked, because the model gave the parts of one request rows of different shapes.
pub fn join(parts: &[Vec<Tensor>]) -> Result<Vec<Tensor>, Error> {
    let requests: Vec<&[Tensor]> = parts.iter().map(Vec::as_slice).collect();
    let outputs = parts.first().map_or(0, Vec::len);
    (0..outputs)
        .map(|output| {
            merge(&requests, output)
                .map_err(|error| Error::internal(format!("output {output} of a request split over several runs: {error}")))
        })
        .collect()
}

/// Copies all strings of `parts`, in order.
fn pack<'a>(parts: impl Iterator<Item = &'a Strings> + Clone) -> PackedStrings {
    let mut packed = PackedStrings::default();
    packed.reserve(parts.clone().map(Strings::len).sum(), parts.clone().map(Strings::byte_count).sum());
    parts.flat_map(Strings::iter).for_each(|string| packed.push(string));
    packed
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn column(values: &[f32]) -> Vec<Tensor> {
        vec![Tensor::from_vec(&[values.len()], values.to_vec())]
    }

    #[test]
    fn split_undoes_merge() {
        let requests = [column(&[1.0]), column(&[]), column(&[2.0, 3.0])];
        let parts: Vec<&[Tensor]> = requests.iter().map(Vec::as_slice).collect();
        let merged = merge(&parts, 0).unwrap();
        assert_eq!(merged.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(split(&[merged], &[1, 0, 2]).unwrap(), requests);
    }

    #[test]
    fn strings_merge_untouched() {
        let text = |bytes: &'static [u8]| vec![Tensor::from_strings(&[1], Arc::new(vec![Bytes::from_static(bytes)]))];
        let requests = [text(b"a\0"), text(b"\xff")];
        let parts: Vec<&[Tensor]> = requests.iter().map(Vec::as_slice).collect();
        let merged = merge(&parts, 0).unwrap();
        assert_eq!(split(&[merged], &[1, 1]).unwrap(), requests);
    }

    #[test]
    fn short_outputs_belong_to_no_request() {
        assert_eq!(split(&column(&[1.0]), &[1, 1]), None);
        assert_eq!(split(&[Tensor::from_vec(&[], vec![1.0_f32])], &[1]), None, "a scalar has no rows");
    }

    #[test]
    fn unequal_rows_do_not_stack() {
        let wide = vec![Tensor::from_vec(&[1, 2], vec![1.0_f32, 2.0])];
        let wider = vec![Tensor::from_vec(&[1, 3], vec![1.0_f32, 2.0, 3.0])];
        let refused = |a: &[Tensor], b: &[Tensor]| merge(&[a, b], 0).unwrap_err().message.contains("cannot be stacked");
        assert!(refused(&wide, &wider));
        assert!(refused(&column(&[1.0]), &[Tensor::from_vec(&[1], vec![1_i32])]), "nor do other dtypes");
        let scalar = [Tensor::from_vec(&[], vec![1.0_f32])];
        assert!(refused(&scalar, &scalar), "nor do scalars");
    }

    #[test]
    fn rows_that_cannot_be_counted_are_refused() {
        let many = vec![Tensor::from_vec::<f32>(&[usize::MAX, 0], vec![])];
        assert!(merged_dims(&[&many, &many], 0).unwrap_err().message.contains("more rows"));
    }

    #[test]
    fn joined_parts_keep_their_order() {
        let joined = join(&[column(&[1.0, 2.0]), column(&[3.0])]).unwrap();
        assert_eq!(joined, column(&[1.0, 2.0, 3.0]));
    }
}
