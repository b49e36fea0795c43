//! Shapes and values that no model was made for, over every door: none of them ends the process. TensorFlow ends it by itself where
//! a kernel meets a shape that it takes for impossible (`CHECK`), so each server here is a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{Engine, BASE64_STANDARD};
use futures::future::join_all;
use tfweb_engine::{DType, Session, Signature, TensorSpec};
use tfweb_proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{TensorProto, TensorShapeProto};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request as GrpcRequest};
use tonic_prost::ProstCodec;

use crate::client::{Connection, Request};
use crate::process::Process;
use crate::support::{session, Random};

const MODEL: &str = "tests/models/operations";
/// How often each request that ended tfweb 0.5 is sent over each door.
const REPEATS: usize = 100;
/// How often each signature is asked over each door; by this variable more often.
const ROUNDS: usize = 60;
const ROUNDS_VARIABLE: &str = "SUITE_SHAPES";
/// The most elements of an input, sizes of 0 counted as 1: nested empty arrays are text too.
const ELEMENTS_MAX: usize = 2048;

/// An input as it is sent: a shape, and values as JSON and in a message's own fields.
struct Input {
    name: String,
    dtype: DType,
    dims: Vec<usize>,
    numbers: Vec<f64>,
    strings: Vec<Vec<u8>>,
}

impl Input {
    /// One that often has the shape that the signature declares, with these `rows` where it may have any, and often any other.
    fn random(spec: &TensorSpec, rows: usize, random: &mut Random) -> Self {
        let size = |random: &mut Random| if random.below(2) == 0 { rows } else { self::size(random) };
        let mut dims: Vec<usize> = match spec.shape.dims() {
            Some(known) if random.below(10) < 6 => known.iter().map(|known| known.unwrap_or_else(|| size(random))).collect(),
            _ => (0..random.below(7)).map(|_| size(random)).collect(),
        };
        while dims.iter().map(|&size| size.max(1)).product::<usize>() > ELEMENTS_MAX {
            let largest = dims.iter_mut().max().expect("more than one element");
            *largest /= 2;
        }
        let count = dims.iter().product();
        let extremes = random.below(4) == 0;
        let is_string = spec.dtype == DType::String;
        let numbers = (0..count).map(|_| number(spec.dtype, extremes, random)).collect();
        let strings = (0..if is_string { count } else { 0 }).map(|_| string(random)).collect();
        Self { name: spec.name.clone(), dtype: spec.dtype, dims, numbers, strings }
    }

    /// Nested arrays of its values.
    fn write_json(&self, dims: &[usize], at: &mut usize, text: &mut String) {
        let Some((&rows, rest)) = dims.split_first() else {
            let value = if self.dtype == DType::String {
                format!(r#"{{"b64":"{}"}}"#, BASE64_STANDARD.encode(&self.strings[*at]))
            } else if self.dtype == DType::Float32 {
                format!("{:?}", self.numbers[*at])
            } else {
                format!("{}", self.numbers[*at])
            };
            *at += 1;
            return text.push_str(&value);
        };
        text.push('[');
        for row in 0..rows {
            text.push_str(if row > 0 { "," } else { "" });
            self.write_json(rest, at, text);
        }
        text.push(']');
    }

    fn proto(&self) -> TensorProto {
        let dim = self.dims.iter().map(|&size| Dim { size: size as i64, name: String::new() }).collect();
        let shape = TensorShapeProto { dim, unknown_rank: false };
        let mut proto = TensorProto { dtype: self.dtype.number() as i32, tensor_shape: Some(shape), ..TensorProto::default() };
        let numbers = || self.numbers.iter().copied();
        if self.dtype == DType::String {
            proto.string_val = self.strings.iter().map(|string| string.clone().into()).collect();
        } else if self.dtype == DType::Int32 {
            proto.int_val = numbers().map(|number| number as i32).collect();
        } else if self.dtype == DType::Int64 {
            proto.int64_val = numbers().map(|number| number as i64).collect();
        } else {
            proto.float_val = numbers().map(|number| number as f32).collect();
        }
        proto
    }
}

fn size(random: &mut Random) -> usize {
    [0, 1, 1, 2, 3, 4, 5, 8, 13, 40][random.below(10)]
}

/// A number that some kernel may take for a size, an index or an axis. None is a great size: kernels make as many elements as they
/// are asked for, and `tf.fill([1, 9200000000000000000, 0, 2])` ends the process, which no look at the shape of `dims` can prevent.
fn number(dtype: DType, extremes: bool, random: &mut Random) -> f64 {
    let is_extreme = extremes && random.below(6) == 0;
    match (dtype, is_extreme) {
        (DType::Int32, true) => f64::from(i32::MIN),
        (DType::Int64, true) => -9.2e18,
        (_, true) => [3e38, -3e38, 1e-45][random.below(3)],
        (DType::Int32 | DType::Int64, false) => random.below(12) as f64 - 2.0,
        (_, false) => random.below(1000) as f64 / 100.0 - 5.0,
    }
}

/// Noise, or noise that begins as a JPEG or a PNG does.
fn string(random: &mut Random) -> Vec<u8> {
    let start: &[u8] = [&b""[..], b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"][random.below(3)];
    let noise = (0..random.below(40)).map(|_| random.below(256) as u8);
    start.iter().copied().chain(noise).collect()
}

fn object(inputs: &[Input]) -> String {
    let member = |input: &Input| {
        let mut text = format!("{:?}:", input.name);
        input.write_json(&input.dims, &mut 0, &mut text);
        text
    };
    format!("{{{}}}", inputs.iter().map(member).collect::<Vec<_>>().join(","))
}

fn message(model: &str, signature: &str, inputs: &[Input]) -> PredictRequest {
    let spec = ModelSpec { name: model.into(), signature_name: signature.into(), version_choice: None };
    let inputs = inputs.iter().map(|input| (input.name.clone(), input.proto())).collect();
    PredictRequest { model_spec: Some(spec), inputs, output_filter: Vec::new() }
}

/// The doors of one server.
struct Doors {
    process: Process,
    http: Connection,
    grpc: Grpc<Channel>,
    runtime: tokio::runtime::Runtime,
}

impl Doors {
    fn open(models: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut process = Process::serve(&format!("{models} --grpc_port {port}"));
        process.until_says("gRPC on");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
        let grpc = Grpc::new(runtime.block_on(channel.connect()).expect("the server accepts"));
        Self { http: process.connect(), process, grpc, runtime }
    }

    /// Posts a body; gives the status, or that the connection ended.
    fn post(&mut self, target: &str, body: String) -> Result<u16, String> {
        let response = self.http.call(&Request::post(target, body)).map_err(|error| error.to_string())?;
        if response.header("connection") == Some("close") {
            self.http = self.process.connect();
        }
        Ok(response.status)
    }

    fn call(&mut self, model: &str, signature: &str, inputs: &[Input]) -> Result<(), Code> {
        self.call_all(vec![message(model, signature, inputs)]).remove(0)
    }

    /// Sends messages side by side.
    fn call_all(&mut self, messages: Vec<PredictRequest>) -> Vec<Result<(), Code>> {
        let grpc = &self.grpc;
        let call = |message| async move {
            let mut grpc = grpc.clone();
            grpc.ready().await.map_err(|_| Code::Unavailable)?;
            let path = PathAndQuery::from_static("/tensorflow.serving.PredictionService/Predict");
            let codec = ProstCodec::<PredictRequest, PredictResponse>::default();
            grpc.unary(GrpcRequest::new(message), path, codec).await.map(|_| ()).map_err(|status| status.code())
        };
        self.runtime.block_on(join_all(messages.into_iter().map(call)))
    }

    /// Sends the inputs over each door; how many of them answered with outputs.
    #[track_caller]
    fn ask(&mut self, signature: &Signature, inputs: &[Input]) -> usize {
        let name = &signature.name;
        let body = object(inputs);
        let serving = format!(r#"{{"signature_name":"{name}","inputs":{body}}}"#);
        let native = self.post(&format!("/models/operations/{name}"), body.clone());
        let rest = self.post("/v1/models/operations:predict", serving);
        let grpc = self.call("operations", name, inputs);
        let is_answer =
            |status: &Result<u16, String>| status.as_ref().is_ok_and(|status| [200, 400, 429, 500, 501, 503].contains(status));
        let alive = self.process.is_running() && is_answer(&native) && is_answer(&rest) && grpc != Err(Code::Unavailable);
        assert!(alive, "{name} {body}: {native:?}, {rest:?}, {grpc:?}\n{:#?}", self.process.stderr());
        usize::from(native == Ok(200)) + usize::from(rest == Ok(200)) + usize::from(grpc == Ok(()))
    }
}

#[test]
fn no_shape_and_no_value_ends_the_process() {
    let session: Arc<dyn Session> = session(MODEL);
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let mut doors = Doors::open(&format!("--model {MODEL}"));
    let mut random = Random(0x5eed);
    let mut answered = 0;
    for signature in session.signatures() {
        for _ in 0..rounds {
            let rows = size(&mut random);
            let input = |spec: &TensorSpec| Input::random(spec, rows, &mut random);
            let inputs: Vec<Input> = signature.inputs.iter().map(input).collect();
            answered += doors.ask(signature, &inputs);
        }
    }
    let sent = 3 * rounds * session.signatures().len();
    eprintln!("{answered} of {sent} requests were answered with outputs");
    assert!(answered > sent / 10, "many come as far as the kernels");
}

fn zeros(name: &str, dims: &[usize]) -> Input {
    let numbers = vec![0.0; dims.iter().product()];
    Input { name: name.into(), dtype: DType::Float32, dims: dims.to_vec(), numbers, strings: Vec::new() }
}

/// Asks half_plus_two again and again until told to stop; gives the slowest answer's time.
fn neighbour(address: SocketAddr, is_over: &AtomicBool) -> Duration {
    let mut connection = Connection::open(address).expect("the server accepts");
    let request = Request::post("/v1/models/half_plus_two:predict", r#"{"instances":[1.0]}"#);
    let mut slowest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let response = connection.call(&request).expect("a server that lives");
        slowest = slowest.max(start.elapsed());
        assert_eq!((response.status, response.json()), (200, serde_json::json!({"predictions": [2.5]})));
    }
    slowest
}

/// Ends the neighbour, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each of these ended the process of 0.5, or took half a gigabyte: once sent, whoever sent it.
#[test]
fn what_ended_the_process_is_refused_beside_neighbours_that_are_answered() {
    let mut doors = Doors::open(&format!("--model {MODEL} --model tests/models/half_plus_two"));
    let is_over = AtomicBool::new(false);
    let address = doors.process.address();
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        let neighbour = scope.spawn(|| neighbour(address, &is_over));
        for _ in 0..REPEATS {
            for (signature, inputs) in [
                ("convolution", vec![zeros("x", &[])]),
                ("convolution_any", vec![zeros("x", &[])]),
                ("subtract", vec![zeros("a", &[600, 1]), zeros("b", &[1, 600])]),
            ] {
                let body = object(&inputs);
                assert_eq!(doors.post(&format!("/models/operations/{signature}"), body.clone()), Ok(400), "{signature}");
                let body = format!(r#"{{"signature_name":"{signature}","inputs":{body}}}"#);
                assert_eq!(doors.post("/v1/models/operations:predict", body), Ok(400), "{signature}");
                assert_eq!(doors.call("operations", signature, &inputs), Err(Code::InvalidArgument), "{signature}");
            }
            // JSON cannot express an empty tensor that claims many rows.
            for dims in [[1, 1 << 58, 0], [1, 0, 1 << 62]] {
                let inputs = [zeros("a", &dims), zeros("b", &[64, 1, 1])];
                assert_eq!(doors.call("operations", "add_any", &inputs), Err(Code::InvalidArgument));
            }
        }
        // A long request, and behind it batches without rows.
        let x = |dims: &[usize]| message("half_plus_two", "", &[zeros("x", dims)]);
        let messages = std::iter::once(x(&[50_000])).chain((0..4 * REPEATS).map(|i| x(&[0, i]))).collect();
        let answers = doors.call_all(messages);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        is_over.store(true, Ordering::Relaxed);
        let slowest = neighbour.join().expect("right answers");
        eprintln!("slowest answer of the neighbour: {slowest:?}");
    });
    assert!(doors.process.is_running());
}
