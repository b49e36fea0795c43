//! Merging into TensorFlow's memory and taking it as outputs, on a fake of the C API. No test leaves a tensor behind.

use bytes::Bytes;

use super::super::fake_c::{live, set_next, view, Next};
use super::*;
use crate::storage::Storage;

fn merged(requests: &[&[Tensor]]) -> Result<Tensor, Error> {
    merge(requests, 0).map(Feed::into_tensor)
}

/// A request of one tensor.
fn floats(dims: &[usize], values: &[f32]) -> [Tensor; 1] {
    [Tensor::from_vec(dims, values.to_vec())]
}

#[test]
fn merged_rows_lie_behind_each_other_until_the_last_window_is_dropped() {
    let (one, two) = (floats(&[1, 2], &[1.0, 2.0]), floats(&[2, 2], &[3.0, 4.0, 5.0, 6.0]));
    let tensor = merged(&[&one, &two]).unwrap();
    assert_eq!((tensor.dims(), tensor.as_slice::<f32>().unwrap()), (&[3, 2][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
    let row = tensor.row(2);
    drop(tensor);
    assert_eq!((row.as_slice::<f32>().unwrap(), live()), (&[5.0, 6.0][..], 1));
    drop(row);
    assert_eq!(live(), 0);
}

#[test]
fn every_dtype_is_merged() {
    for number in 1..=23 {
        let dtype = DType::from_number(number);
        if dtype.is_served() && dtype != DType::String {
            let one = with_scalar!(dtype, T => [Tensor::from_vec(&[1], vec![T::default()])], else unreachable!());
            let tensor = merged(&[&one, &one]).unwrap();
            assert_eq!((tensor.dtype(), tensor.dims()), (dtype, &[2][..]));
            assert_eq!(tensor.slice_rows(1, 1), one[0]);
        }
    }
    assert_eq!(live(), 0);
}

#[test]
fn strings_are_merged_and_freed() {
    let strings = |strings: &[&'static [u8]]| {
        let strings: Vec<Bytes> = strings.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        [Tensor::from_strings(&[strings.len()], Arc::new(strings))]
    };
    let (one, two) = (strings(&[b"a\0", b""]), strings(&[b"\xff, and longer than the place within a string"]));
    let tensor = merged(&[&one, &two]).unwrap();
    let read: Vec<&[u8]> = tensor.as_strings().unwrap().iter().collect();
    assert_eq!(read, [b"a\0", &b""[..], b"\xff, and longer than the place within a string"]);
    drop(tensor);
    assert_eq!(live(), 0);
}

#[test]
fn tensors_without_elements_are_merged() {
    for dims in [&[0][..], &[0, 3], &[2, 0]] {
        let tensor = merged(&[&floats(dims, &[])]).unwrap();
        assert_eq!((tensor.dims(), tensor.as_slice::<f32>().unwrap()), (dims, &[][..]));
    }
    set_next(Next::HasNoData);
    assert_eq!(merged(&[&floats(&[0], &[])]).unwrap().element_count(), 0, "null is no memory only where some is needed");
    assert_eq!(live(), 0);
}

#[test]
fn a_tensor_that_tensorflow_has_no_memory_for_is_an_error() {
    for next in [Next::IsNull, Next::HasNoData] {
        set_next(next);
        let error = merged(&[&floats(&[2], &[1.0, 2.0])]).unwrap_err();
        assert_eq!((error.code, live()), (Code::ResourceExhausted, 0), "{next:?}");
        assert!(error.message.contains("input 0: TensorFlow has no memory for a tensor of shape [2]"), "{error}");
    }
    assert!(merged(&[&floats(&[2], &[1.0, 2.0])]).is_ok(), "the next one has memory");
}

/// A tensor as a run of TensorFlow gives it, with these bytes.
fn output<T: Scalar>(dims: &[u64], bytes: &[u8]) -> tensorflow::Tensor<Element<T>> {
    let mut tensor = tensorflow::Tensor::<Element<T>>::new(dims);
    assert_eq!(tensor.len() * size_of::<T>(), bytes.len());
    // SAFETY: the tensor is new, and has that many bytes.
    unsafe { tensor.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    tensor
}

#[test]
fn an_output_of_any_bytes_holds_bools() {
    let tensor = scalars(output::<bool>(&[5], &[0, 1, 2, 0, 255]));
    assert_eq!(tensor.as_slice::<bool>().unwrap(), [false, true, true, false, true]);
    assert_eq!(tensor.bytes_of::<bool>().unwrap(), [0, 1, 1, 0, 1]);
    assert_eq!(live(), 0, "the bools are a copy");
}

#[test]
fn an_output_is_not_copied() {
    let output = output::<i32>(&[2], &[1, 0, 0, 0, 2, 0, 0, 0]);
    let place = output.as_ptr().cast::<i32>();
    let tensor = scalars(output);
    assert_eq!(tensor.as_slice::<i32>().unwrap(), [1, 2]);
    assert_eq!(tensor.as_slice::<i32>().unwrap().as_ptr(), place);
}

#[test]
fn an_output_may_lie_at_any_address() {
    set_next(Next::IsUnaligned);
    let tensor = scalars(output::<i32>(&[2], &[1, 0, 0, 0, 2, 0, 0, 0]));
    assert_eq!(tensor.bytes_of::<i32>().unwrap().as_ptr().align_offset(align_of::<i32>()), 3, "an odd address");
    assert_eq!(tensor.slice_rows(1, 1).as_slice::<i32>().unwrap(), [2]);
    drop(tensor);
    assert_eq!(live(), 0);
}

/// A tensor of floats whose memory begins `offset` bytes behind an address that TensorFlow takes as it is.
fn floats_at(offset: usize, values: &[f32]) -> Tensor {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let room = vec![0_u8; 64 + offset + bytes.len()];
    let start = room.as_ptr().align_offset(64) + offset;
    let mut room = room;
    room[start..start + bytes.len()].copy_from_slice(bytes);
    Tensor::from_bytes::<f32>(&[values.len()], Bytes::from(room).slice(start..start + bytes.len()))
}

fn address(tensor: &Tensor) -> *const u8 {
    tensor.as_bytes().unwrap().as_ptr()
}

#[test]
fn a_request_alone_lends_its_memory() {
    let request = [floats_at(0, &[1.0, 2.0])];
    let fed = input(&[&request], 0, true).unwrap().into_tensor();
    assert_eq!((address(&fed), &fed), (address(&request[0]), &request[0]));
    assert_eq!(live(), 0, "TensorFlow has given it back");
}

#[test]
fn what_cannot_be_lent_is_copied() {
    let aligned = [floats_at(0, &[1.0, 2.0])];
    let check = |requests: &[&[Tensor]], lends| {
        let fed = input(requests, 0, lends).unwrap().into_tensor();
        assert_ne!(address(&fed), address(&requests[0][0]));
        assert_eq!(fed.slice_rows(0, 2), requests[0][0]);
    };
    check(&[&aligned], false);
    check(&[&[floats_at(4, &[1.0, 2.0])]], true);
    check(&[&[floats_at(32, &[1.0, 2.0])]], true);
    check(&[&aligned, &aligned], true);
    assert_eq!(live(), 0);
}

#[test]
fn a_lent_window_is_kept_until_tensorflow_gives_it_back() {
    let storage: Arc<dyn Storage<u8>> = Arc::new(vec![7_u8; 256]);
    let tensor = Tensor::from_storage(&[256], Arc::clone(&storage));
    let start = address(&tensor).align_offset(64);
    let request = [tensor.slice_rows(start, 10)];
    let fed = input(&[&request], 0, true).unwrap();
    drop((tensor, request));
    assert_eq!((Arc::strong_count(&storage), live()), (3, 1), "here, in the input and in TensorFlow");
    drop(fed);
    assert_eq!((Arc::strong_count(&storage), live()), (1, 0));
}

#[test]
fn strings_and_no_elements_are_not_lent() {
    let strings = [Tensor::from_strings(&[1], Arc::new(vec![Bytes::from_static(b"a")]))];
    assert_eq!(input(&[&strings], 0, true).unwrap().into_tensor(), strings[0]);
    let none = floats(&[0, 3], &[]);
    assert_eq!(input(&[&none], 0, true).unwrap().into_tensor(), none[0]);
    assert_eq!(live(), 0);
}

#[test]
fn strings_of_every_kind_are_read() {
    let long = [b'x'; 100];
    let mut elements = [StringElement::default(); 5];
    for (element, bytes) in elements.iter_mut().zip([0, 1, 22, 23, 100].map(|len| &long[..len])) {
        element.set(bytes);
        assert_eq!(element.as_bytes(), bytes);
        element.set(b"");
    }
    assert_eq!(StringElement(view(b"whose bytes are elsewhere")).as_bytes(), b"whose bytes are elsewhere");
    assert_eq!(live(), 0);
}
