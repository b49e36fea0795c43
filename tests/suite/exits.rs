//! The exit code of a process that ends while TensorFlow still runs operations. TensorFlow's exit handlers would crash it then, most
//! times but not always. So each end is repeated.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use prost::Message;
use serde_json::json;
use tfweb::observe::log::{self, Log, LogFormat};
use tfweb_actors::start_arbiter;
use tfweb_engine::{DType, Tensor};
use tfweb_proto::tensorflow::serving::prediction_log::LogType;
use tfweb_proto::tensorflow::serving::{ModelSpec, PredictLog, PredictRequest, PredictionLog};
use tfweb_proto::tensorflow::{tensor_shape_proto::Dim, TensorProto, TensorShapeProto};

use crate::client::{Connection, Request};
use crate::process::Process;
use crate::support::{session, until};

const MODEL: &str = "tests/models/engine";
/// A server whose signature `busy` keeps all of TensorFlow's threads at work.
const BUSY: &str = "--model tests/models/engine --batch_size 1 --run_threads 4";
/// Loops of `busy` that take minutes.
const LOOPS: i32 = 100_000;
/// How often each end is repeated. Before the process ended without exit handlers, about two of three crashed.
const REPEATS: usize = 10;
/// The processor time after which a process is inside the endless warm-up of its model, in hundredths of a second.
const LOADING_TICKS: u64 = 200;

/// Sends requests that take minutes, and waits for no answer.
fn keep_busy(process: &Process) -> Vec<Connection> {
    let request = Request::post("/busy", json!({ "loops": [LOOPS] }).to_string());
    let send = |_| {
        let mut connection = process.connect();
        connection.send(&request).expect("the server takes the request");
        connection
    };
    (0..4).map(send).collect()
}

/// The processor time that a process has used, in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in brackets is the second field. utime and stime are the 14th and the 15th.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Waits until a process works in earnest on its requests.
fn until_busy(process: &mut Process) {
    let before = ticks(process.id());
    until("TensorFlow works", || ticks(process.id()) > before + 20);
}

#[track_caller]
fn check_code(process: &mut Process, expect: i32) {
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(expect), "{status}: {stderr:#?}");
}

#[test]
fn sigterm_after_a_request_that_timed_out_exits_0() {
    for _ in 0..REPEATS {
        let mut process = Process::serve(&format!("{BUSY} --request_timeout_ms 200"));
        for mut connection in keep_busy(&process) {
            assert_eq!(connection.receive().expect("an answer").status, 504);
        }
        process.signal("TERM");
        check_code(&mut process, 0);
    }
}

#[test]
fn the_limit_of_the_drain_exits_75() {
    for _ in 0..REPEATS {
        let mut process = Process::serve(&format!("{BUSY} --drain_timeout_ms 300"));
        let _connections = keep_busy(&process);
        until_busy(&mut process);
        process.signal("TERM");
        check_code(&mut process, 75);
        let last = process.stderr().pop().unwrap_or_default();
        assert!(last.contains("cut off 4 requests"), "the last line is written: {:#?}", process.stderr());
    }
}

#[test]
fn a_second_signal_exits_130() {
    for _ in 0..REPEATS {
        let mut process = Process::serve(BUSY);
        let _connections = keep_busy(&process);
        until_busy(&mut process);
        // The server takes a signal that comes right behind the first for the same wish. So the test sends more than one.
        until("the process has ended", || {
            process.signal("TERM");
            !process.is_running()
        });
        check_code(&mut process, 130);
    }
}

/// Makes a copy of the model whose warm-up takes minutes.
fn slow_to_load() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let version = Path::new(MODEL).join("1");
    for folder in ["variables", "assets.extra"] {
        fs::create_dir(place.path().join(folder)).expect("a new directory");
    }
    for file in ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"] {
        fs::copy(version.join(file), place.path().join(file)).expect("a copy");
    }
    let loops = TensorProto {
        dtype: DType::Int32.number() as i32,
        tensor_shape: Some(TensorShapeProto { dim: vec![Dim { size: 1, ..Dim::default() }], ..TensorShapeProto::default() }),
        int_val: vec![LOOPS],
        ..TensorProto::default()
    };
    let request = PredictRequest {
        model_spec: Some(ModelSpec { signature_name: "busy".into(), ..ModelSpec::default() }),
        inputs: [("loops".to_owned(), loops)].into(),
        ..PredictRequest::default()
    };
    let log = PredictionLog { log_type: Some(LogType::PredictLog(PredictLog { request: Some(request) })) }.encode_to_vec();
    let record = [&(log.len() as u64).to_le_bytes()[..], &[0; 4], &log, &[0; 4]].concat();
    fs::write(place.path().join("assets.extra/tf_serving_warmup_requests"), record).expect("a file");
    place
}

#[test]
fn no_signal_kills_a_server_that_still_opens_tensorflow() {
    let place = tempfile::tempdir().expect("a directory");
    // A library that nobody writes is opened without end.
    for library in ["libtensorflow.so.2", "libtensorflow_framework.so.2"] {
        assert!(Command::new("mkfifo").arg(place.path().join(library)).status().expect("mkfifo").success());
    }
    let library = place.path().join("libtensorflow.so.2");
    let process = Process::start(&format!("--port 0 --model m --tensorflow_lib {}", library.display()), &[]);
    let (hangup, interrupt, terminate) = (1, 1 << 1, 1 << 14);
    until("all three signals are caught", || {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("its status");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
        u64::from_str_radix(caught.trim(), 16).expect("a number") & (hangup | interrupt | terminate)
            == hangup | interrupt | terminate
    });
}

#[test]
fn sigterm_while_a_version_loads_exits_0() {
    let model = slow_to_load();
    for _ in 0..REPEATS {
        let flags = format!("--host 127.0.0.1 --port 0 --model {}", model.path().display());
        let mut process = Process::start(&flags, &[]);
        until("the model warms up", || ticks(process.id()) > LOADING_TICKS);
        process.signal("TERM");
        check_code(&mut process, 0);
        assert!(process.stderr().iter().any(|line| line.contains("stopping before any model was served")));
    }
}

/// The part of the test below that panics: an actor, while TensorFlow runs.
fn panic_in_an_actor() -> ! {
    let _log = Log::start(LogFormat::Text).expect("a log");
    let session = session(MODEL);
    let busy = session.signatures().iter().position(|signature| signature.name == "busy").expect("a signature");
    for _ in 0..4 {
        let session = Arc::clone(&session);
        thread::spawn(move || session.run(busy, &[&[Tensor::from_vec(&[1], vec![LOOPS])]]));
    }
    let before = ticks(std::process::id());
    until("TensorFlow works", || ticks(std::process::id()) > before + 20);
    actix::System::new().block_on(async {
        let arbiter = start_arbiter(log::end_process);
        arbiter.spawn_fn(|| panic!("on purpose"));
        std::future::pending::<()>().await;
    });
    unreachable!("the panic ends the process")
}

#[test]
fn an_actors_panic_exits_70() {
    const ROLE: &str = "SUITE_ACTOR_PANICS";
    if std::env::var_os(ROLE).is_some() {
        panic_in_an_actor();
    }
    for _ in 0..REPEATS {
        let itself = std::env::current_exe().expect("the path of this binary");
        let mut command = Command::new(itself);
        let output = command.args(["--exact", "exits::an_actors_panic_exits_70"]).env(ROLE, "1").output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{}: {stderr}", output.status);
        assert!(stderr.contains("on purpose"), "{stderr}");
    }
}
