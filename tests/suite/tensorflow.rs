//! Sessions of the engine on libtensorflow, without a server around them.

use std::fs;
use std::path::Path;
use std::slice::from_ref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tfweb_engine::tensorflow::{InterOp, SavedModelSession};
use tfweb_engine::{batch, with_scalar, Code, DType, Scalar, Session, Tensor};

use crate::support::{is_alone, session, Random};

const KITCHEN: &str = "tests/models/kitchen";

/// How much the process may have grown after many runs: far less than they had in hand, more than an allocator's own habits.
const GROWTH_BYTES_MAX: usize = 64 << 20;

fn kitchen() -> Arc<dyn Session> {
    session(KITCHEN)
}

fn load(directory: &str, tags: &[&str], inter_op: InterOp) -> Result<SavedModelSession, tfweb_engine::Error> {
    // Opens the library.
    kitchen();
    let tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
    SavedModelSession::load(Path::new(directory), &tags, inter_op)
}

#[track_caller]
fn signature(session: &dyn Session, name: &str) -> usize {
    session.signatures().iter().position(|signature| signature.name == name).expect("a signature")
}

/// Runs a signature of the kitchen on one request.
#[track_caller]
fn run(name: &str, inputs: &[Tensor]) -> Vec<Tensor> {
    let session = kitchen();
    session.run(signature(&*session, name), &[inputs]).expect("a run")
}

fn strings(dims: &[usize], strings: &[&[u8]]) -> Tensor {
    let strings: Vec<Bytes> = strings.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
    Tensor::from_strings(dims, Arc::new(strings))
}

/// Sends every bit pattern of noise, and those given, through an echo.
fn check_bits<T: Scalar>(special: &[&[u8]]) {
    let size = size_of::<T>();
    let mut random = Random(88_172_645_463_325_252);
    let mut bytes: Vec<u8> = special.concat();
    bytes.extend((0..(2000 * size - special.len() * size)).map(|_| random.next().to_le_bytes()[0]));
    let elements: Vec<T> = bytes.chunks(size).map(T::read_le).collect();
    let input = Tensor::from_vec(&[elements.len() / 2, 2], elements);
    let output = run(&format!("echo_{}", T::DTYPE), &[input]).remove(0);
    let mut echoed = Vec::new();
    output.as_slice::<T>().expect("the same dtype").iter().for_each(|element| element.write_le(&mut echoed));
    assert_eq!(output.dims(), [1000, 2]);
    assert!(echoed == bytes, "{}: {:?}", T::DTYPE, echoed.iter().zip(&bytes).position(|(a, b)| a != b));
}

#[test]
fn integers_come_back_bit_for_bit() {
    for number in [3, 4, 5, 6, 9, 17, 22, 23] {
        with_scalar!(DType::from_number(number), T => check_bits::<T>(&[]), else panic!("{number} is no integer"));
    }
}

#[test]
fn floats_come_back_bit_for_bit_nan_payloads_and_all() {
    check_bits::<f32>(&[&0x7fc0_1234_u32.to_le_bytes(), &0xffa0_0001_u32.to_le_bytes(), &0x8000_0000_u32.to_le_bytes()]);
    check_bits::<f64>(&[&0x7ff8_0000_dead_beef_u64.to_le_bytes(), &0xfff4_0000_0000_0001_u64.to_le_bytes()]);
    check_bits::<tfweb_engine::f16>(&[&0x7e01_u16.to_le_bytes(), &0xfd01_u16.to_le_bytes(), &0x8000_u16.to_le_bytes()]);
    check_bits::<tfweb_engine::bf16>(&[&0x7fc1_u16.to_le_bytes(), &0xffa1_u16.to_le_bytes(), &0x8000_u16.to_le_bytes()]);
}

#[test]
fn bools_come_back() {
    let values: Vec<bool> = (0..2000).map(|i| i % 3 == 0).collect();
    let output = run("echo_bool", &[Tensor::from_vec(&[1000, 2], values.clone())]).remove(0);
    assert_eq!(output.as_slice::<bool>().unwrap(), values);
}

#[test]
fn bools_that_a_model_makes_of_any_bytes_are_true_or_false() {
    let session = session("tests/models/engine");
    let data = strings(&[1], &[&[0, 1, 2, 255, 0, 128]]);
    let outputs = session.run(signature(&*session, "raw_bools"), &[&[data]]).expect("a run");
    assert_eq!(outputs[0].as_slice::<bool>().unwrap(), [false, true, true, true, false, true]);
    assert_eq!(outputs[0].bytes_of::<bool>().unwrap(), [0, 1, 1, 1, 0, 1]);
}

#[test]
fn strings_come_back_byte_for_byte() {
    let long: Vec<u8> = (0..100_000_u32).map(|i| (i % 256) as u8).collect();
    let all: [&[u8]; 10] =
        [b"", b"\0", b"a\0\0", b"\0\0a", b"\xff\xfe", "é".as_bytes(), &long[..22], &long[..23], &long[..24], &long];
    let input = strings(&[5, 2], &all);
    let output = run("echo_string", from_ref(&input)).remove(0);
    assert!(output == input, "dims {:?}, {} bytes", output.dims(), output.byte_count());
}

#[test]
fn strings_of_several_requests_are_stacked() {
    let session = kitchen();
    let requests = [strings(&[1], &[b"a\0"]), strings(&[0], &[]), strings(&[2], &[b"", b"\xff"])].map(|tensor| [tensor]);
    let parts: Vec<&[Tensor]> = requests.iter().map(|request| request.as_slice()).collect();
    let outputs = session.run(signature(&*session, "bytes_out"), &parts).unwrap();
    assert_eq!(outputs[1], strings(&[3], &[b"a\0", b"", b"\xff"]), "flat");
    assert_eq!(outputs[0], strings(&[3, 1], &[b"a\0", b"", b"\xff"]), "column");
}

#[test]
fn no_rows_run_for_every_dtype() {
    for signature in kitchen().signatures().iter().filter(|signature| signature.name.starts_with("echo_")) {
        let dtype = signature.inputs[0].dtype;
        if dtype.is_served() {
            let input = with_scalar!(dtype, T => Tensor::from_vec::<T>(&[0, 2], vec![]), else strings(&[0, 2], &[]));
            assert_eq!(run(&signature.name, from_ref(&input)), [input], "{dtype}");
        }
    }
}

#[test]
fn rows_of_outputs_share_the_memory_of_the_run() {
    let session = kitchen();
    let request = |x: f32| [Tensor::from_vec(&[2, 2], vec![x; 4])];
    let requests = [request(1.0), request(2.0), request(3.0)];
    let parts: Vec<&[Tensor]> = requests.iter().map(|request| request.as_slice()).collect();
    let outputs = session.run(signature(&*session, "echo_float32"), &parts).unwrap();
    let whole = outputs[0].as_slice::<f32>().unwrap().as_ptr_range();
    assert_eq!(outputs[0].slice_rows(1, 3).as_slice::<f32>().unwrap().as_ptr(), whole.start.wrapping_add(2));
    for (i, mine) in batch::split(&outputs, &[2, 2, 2]).unwrap().into_iter().enumerate() {
        let mine = mine[0].as_slice::<f32>().unwrap();
        assert_eq!(mine, requests[i][0].as_slice::<f32>().unwrap());
        assert_eq!(mine.as_ptr(), whole.start.wrapping_add(4 * i), "not copied");
    }
}

#[test]
fn outputs_outlive_their_session() {
    let session = load("tests/models/half_plus_two/1", &["serve"], InterOp::Caller).unwrap();
    let input = [Tensor::from_vec(&[2], vec![1.0_f32, 2.0])];
    let outputs = session.run(0, &[&input]).unwrap();
    drop(session);
    assert_eq!(outputs[0].as_slice::<f32>().unwrap(), [2.5, 3.0]);
}

#[test]
fn an_output_that_is_an_input_comes_back() {
    let outputs = run("passthrough", &[Tensor::from_vec(&[3], vec![1.0_f32, f32::INFINITY, -0.0])]);
    assert_eq!(outputs[0].as_slice::<f32>().unwrap(), [1.0, f32::INFINITY, -0.0], "x");
    assert_eq!(outputs[1].as_slice::<f32>().unwrap(), [2.0, f32::INFINITY, 1.0], "y");
}

#[test]
fn an_input_of_unknown_rank_takes_any() {
    for dims in [&[][..], &[0], &[3], &[2, 3], &[1, 1, 1, 1, 1, 1]] {
        let count = dims.iter().product();
        let output = run("any_rank", &[Tensor::from_vec(dims, vec![1.5_f32; count])]).remove(0);
        assert_eq!((output.dims(), output.as_slice::<f32>().unwrap()), (dims, vec![3.0; count].as_slice()));
    }
}

#[test]
fn what_the_values_cause_is_an_invalid_argument() {
    let session = kitchen();
    let input = [Tensor::from_vec(&[1], vec![-1.0_f32])];
    let error = session.run(signature(&*session, "fails"), &[&input]).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("x must not be negative"), "{error}");
}

/// Runs about this many milliseconds of operations that take one each.
fn run_slow(session: &SavedModelSession, loops: i32, time: Duration) -> Result<Vec<Tensor>, tfweb_engine::Error> {
    session.run_within(signature(session, "slow"), &[&[Tensor::from_vec(&[1], vec![loops])]], time)
}

#[test]
fn tensorflow_ends_a_run_in_its_pool_after_its_time() {
    let session = load("tests/models/kitchen/1", &["serve"], InterOp::Pool).unwrap();
    // The whole run would take minutes, and the test with it.
    let error = run_slow(&session, 300_000, Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.code, Code::DeadlineExceeded, "{error}");
    run_slow(&session, 1, Duration::from_secs(60)).expect("the session goes on");
}

#[test]
fn a_signature_whose_run_outlasts_its_time_runs_in_the_pool_from_then_on() {
    let session = load("tests/models/kitchen/1", &["serve"], InterOp::Caller).unwrap();
    run_slow(&session, 1, Duration::from_millis(1)).expect("a little over its time is no matter");
    run_slow(&session, 1000, Duration::from_millis(1)).expect("nothing ends a run in the calling thread");
    let error = run_slow(&session, 300_000, Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.code, Code::DeadlineExceeded, "{error}");
}

#[test]
fn the_error_of_wrong_tags_lists_those_there_are() {
    let error = load("tests/models/half_plus_two/1", &["serve", "train"], InterOp::Auto).err().expect("no such tags");
    assert_eq!(error.code, Code::NotFound);
    assert!(error.message.contains("`serve,train`; it has `serve`"), "{error}");
}

#[test]
fn operations_run_in_the_caller_or_in_the_pool_alike() {
    let input = [Tensor::from_vec(&[100], (0..100_u8).map(f32::from).collect())];
    let answers = [InterOp::Caller, InterOp::Pool, InterOp::Auto].map(|inter_op| {
        let session = load("tests/models/kitchen/1", &["serve"], inter_op).unwrap();
        let index = signature(&session, "two_inputs");
        assert!(inter_op == InterOp::Auto || session.runs_in_caller(index) == (inter_op == InterOp::Caller));
        session.run(index, &[&[input[0].clone(), input[0].clone()]]).unwrap()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn threads_run_side_by_side() {
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            scope.spawn(move || {
                let session = kitchen();
                let index = signature(&*session, "batch_rows");
                for i in 0..250_u8 {
                    let rows = usize::from(1 + i % 7);
                    let values = vec![f32::from(thread) * 1000.0 + f32::from(i); rows];
                    let input = [Tensor::from_vec(&[rows], values.clone())];
                    let outputs = session.run(index, &[&input]).unwrap();
                    assert_eq!(outputs[1].as_slice::<f32>().unwrap(), values, "y");
                    assert!(outputs[0].as_slice::<f32>().is_none(), "rows is of another dtype");
                }
            });
        }
    });
}

/// The memory of this process that is in use.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux's word on this process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

#[test]
fn many_runs_of_long_strings_leave_no_memory_behind() {
    if !is_alone("tensorflow::many_runs_of_long_strings_leave_no_memory_behind") {
        return;
    }
    let session = kitchen();
    let index = signature(&*session, "echo_string");
    let half = vec![b'x'; 50_000];
    let request = [strings(&[1, 2], &[&half, &half])];
    let run = |count: usize| {
        for _ in 0..count {
            assert_eq!(session.run(index, &[&request]).unwrap()[0].byte_count(), 100_000);
        }
    };
    run(1000);
    let before = resident_bytes();
    run(100_000);
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more than before");
}
