//! A gRPC client for single calls, with metadata of the test's choice.

use std::net::{Ipv4Addr, SocketAddr};

use tfweb_proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{DataType, TensorProto, TensorShapeProto};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// A Predict of the input `x`, float32, with one row for each value.
pub(crate) fn floats(model: &str, values: &[f32]) -> PredictRequest {
    let tensor = TensorProto { dtype: DataType::DtFloat.into(), float_val: values.to_vec(), ..TensorProto::default() };
    predict(model, "", "x", values.len(), tensor)
}

/// A Predict of the kitchen's signature that takes its time.
pub(crate) fn slow(loops: i32) -> PredictRequest {
    let tensor = TensorProto { dtype: DataType::DtInt32.into(), int_val: vec![loops], ..TensorProto::default() };
    predict("kitchen", "slow", "loops", 1, tensor)
}

fn predict(model: &str, signature: &str, input: &str, rows: usize, mut tensor: TensorProto) -> PredictRequest {
    let dim = vec![Dim { size: i64::try_from(rows).expect("few rows"), name: String::new() }];
    tensor.tensor_shape = Some(TensorShapeProto { dim, unknown_rank: false });
    let spec = ModelSpec { name: model.into(), signature_name: signature.into(), version_choice: None };
    PredictRequest { model_spec: Some(spec), inputs: [(input.to_owned(), tensor)].into(), output_filter: Vec::new() }
}

/// Calls Predict on a port of this machine; gives the answer's metadata, of an error its own.
pub(crate) fn call(port: u16, metadata: &[(&str, &str)], message: PredictRequest) -> Result<MetadataMap, Status> {
    call_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), metadata, message)
}

/// The same at any address.
pub(crate) fn call_at(address: SocketAddr, metadata: &[(&str, &str)], message: PredictRequest) -> Result<MetadataMap, Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = format!("http://{address}");
        let channel = Channel::from_shared(address).expect("an address").connect().await.expect("the server accepts");
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.expect("a connection");
        let mut request = Request::new(message);
        for (name, value) in metadata {
            let key: MetadataKey<_> = name.parse().expect("a name");
            request.metadata_mut().insert(key, value.parse().expect("a value"));
        }
        let path = PathAndQuery::from_static("/tensorflow.serving.PredictionService/Predict");
        let codec = ProstCodec::<PredictRequest, PredictResponse>::default();
        grpc.unary(request, path, codec).await.map(|answer: Response<_>| answer.metadata().clone())
    })
}
