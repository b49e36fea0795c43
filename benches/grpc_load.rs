//! The cost of gRPC: a bare tonic service that reads a Predict and drops it, and a load of large Predicts for it or for tfweb.
//!
//!     grpc_load bare PORT
//!     grpc_load load PORT SECONDS CONNECTIONS
//!
//! The load is `[32, 224, 224, 3] float32` as tensor_content, for the signature `pixels` of tests/models/kitchen. It prints
//! the bytes of tensors answered per second.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its answer")]

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tfweb_proto::tensorflow::serving::prediction_service_server::{PredictionService, PredictionServiceServer};
use tfweb_proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse, ModelSpec,
    MultiInferenceRequest, MultiInferenceResponse, PredictRequest, PredictResponse, RegressionRequest, RegressionResponse,
};
use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{DataType, TensorProto, TensorShapeProto};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const DIMS: [i64; 4] = [32, 224, 224, 3];
const CONTENT_BYTES: usize = 32 * 224 * 224 * 3 * 4;
/// As tfweb has them.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare", port] => serve(port).await,
        ["load", port, seconds, connections] => load(port, Duration::from_secs(seconds.parse()?), connections.parse()?).await,
        _ => Err("expected bare PORT, or load PORT SECONDS CONNECTIONS".into()),
    }
}

async fn serve(port: &str) -> Result<(), Failure> {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(PredictionServiceServer::new(Bare).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .serve(format!("127.0.0.1:{port}").parse()?)
        .await?;
    Ok(())
}

async fn load(port: &str, time: Duration, connections: usize) -> Result<(), Failure> {
    let end = Instant::now() + time;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}"))?.connect().await?;
        tasks.push(tokio::spawn(call_until(channel, end)));
    }
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.1} MB/s, {count} requests in {seconds:.1} s", (count * CONTENT_BYTES) as f64 / seconds / 1e6);
    Ok(())
}

async fn call_until(channel: Channel, end: Instant) -> Result<usize, Status> {
    let mut grpc = Grpc::new(channel);
    let message = message();
    let mut count = 0;
    while Instant::now() < end {
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/tensorflow.serving.PredictionService/Predict");
        let codec = ProstCodec::<PredictRequest, PredictResponse>::default();
        grpc.unary(Request::new(message.clone()), path, codec).await?;
        count += 1;
    }
    Ok(count)
}

fn message() -> PredictRequest {
    let spec = ModelSpec { name: "kitchen".into(), signature_name: "pixels".into(), version_choice: None };
    let dim = DIMS.into_iter().map(|size| Dim { size, name: String::new() }).collect();
    let tensor = TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        tensor_content: Bytes::from(vec![0; CONTENT_BYTES]),
        ..TensorProto::default()
    };
    PredictRequest { model_spec: Some(spec), inputs: [("x".to_owned(), tensor)].into(), output_filter: Vec::new() }
}

/// Takes what comes, and drops it.
struct Bare;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PredictionService for Bare {
    async fn predict(&self, _: Request<PredictRequest>) -> Answer<PredictResponse> {
        Ok(Response::new(PredictResponse::default()))
    }

    async fn classify(&self, _: Request<ClassificationRequest>) -> Answer<ClassificationResponse> {
        Err(Status::unimplemented(""))
    }

    async fn regress(&self, _: Request<RegressionRequest>) -> Answer<RegressionResponse> {
        Err(Status::unimplemented(""))
    }

    async fn multi_inference(&self, _: Request<MultiInferenceRequest>) -> Answer<MultiInferenceResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_model_metadata(&self, _: Request<GetModelMetadataRequest>) -> Answer<GetModelMetadataResponse> {
        Err(Status::unimplemented(""))
    }
}
