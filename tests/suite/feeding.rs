//! The memory of a request that runs alone, seen after runs on real TensorFlow.

use std::sync::Arc;

use bytes::Bytes;
use tfweb_engine::{Session, Tensor};

use crate::support::session;

const FEEDING: &str = "tests/models/feeding";
/// TensorFlow takes memory at a multiple of this address as it is.
const ALIGNMENT: usize = 64;

#[track_caller]
fn run(session: &dyn Session, name: &str, request: &[Tensor]) -> Vec<Tensor> {
    let index = session.signatures().iter().position(|signature| signature.name == name).expect("a signature");
    session.run(index, &[request]).expect("a run")
}

/// A tensor of floats whose memory begins `offset` bytes behind an address that TensorFlow takes as it is.
fn floats(offset: usize, dims: &[usize], values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let mut room = vec![0_u8; ALIGNMENT + offset + bytes.len()];
    let start = room.as_ptr().align_offset(ALIGNMENT) + offset;
    room[start..start + bytes.len()].copy_from_slice(&bytes);
    Tensor::from_bytes::<f32>(dims, Bytes::from(room).slice(start..start + bytes.len()))
}

fn address(tensor: &Tensor) -> *const u8 {
    tensor.as_bytes().expect("scalars").as_ptr()
}

#[test]
fn a_request_that_runs_alone_is_fed_without_a_copy() {
    let session = session(FEEDING);
    for offset in [0, 4, 16, 32] {
        let request = [floats(offset, &[3], &[1.0, 2.0, 3.0])];
        let same = run(&*session, "same", &request).remove(0);
        assert_eq!((same.dims(), same.as_slice::<f32>().unwrap()), (&[3, 1][..], &[1.0, 2.0, 3.0][..]));
        assert_eq!(address(&same) == address(&request[0]), offset == 0, "offset {offset}");
    }
    // Rows of a larger request, as a part of it.
    let rows = [floats(0, &[32], &[7.0; 32]).slice_rows(16, 16)];
    assert_eq!(address(&run(&*session, "same", &rows)[0]), address(&rows[0]));
}

#[test]
fn no_run_changes_the_memory_of_a_request() {
    let session = session(FEEDING);
    let values = [3.0, -1.0, 2.0, 0.5];
    for signature in session.signatures() {
        // Other parts of a request share its memory, and a later run of the same request.
        let whole = floats(0, &[4], &values);
        for _ in 0..2 {
            run(&*session, &signature.name, &[whole.slice_rows(0, 4)]);
            assert_eq!(whole.as_slice::<f32>().unwrap(), values, "{}", signature.name);
        }
    }
    assert_eq!(run(&*session, "add_in_place", &[floats(0, &[2], &[1.0, 2.0])])[0].as_slice::<f32>().unwrap(), [2.0, 2.0]);
    assert_eq!(run(&*session, "in_a_branch", &[floats(0, &[2], &[1.0, 2.0])])[0].as_slice::<f32>().unwrap(), [2.0, 2.0]);
}

#[test]
fn no_variable_keeps_the_memory_of_a_request() {
    let session = session(FEEDING);
    let storage = Arc::new(vec![5.0_f32; 64]);
    let whole = Tensor::from_storage::<f32>(&[64], storage.clone());
    let start = address(&whole).align_offset(ALIGNMENT) / size_of::<f32>();
    let row = [whole.slice_rows(start, 1)];
    run(&*session, "keep", &row);
    drop((whole, row));
    assert_eq!(Arc::strong_count(&storage), 1, "the variable has a copy");
    // An output may show the memory of its request, and then keeps it.
    let whole = Tensor::from_storage::<f32>(&[64], storage.clone());
    let same = run(&*session, "same", &[whole.slice_rows(start, 1)]);
    drop(whole);
    assert_eq!(same[0].as_slice::<f32>().unwrap(), [5.0]);
    drop(same);
    assert_eq!(Arc::strong_count(&storage), 1, "TensorFlow has given it back");
}
