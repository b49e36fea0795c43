//! Messages of gRPC.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use tfweb_codec::examples;
use tfweb_codec::tensor_proto::{decode, AnswerTensor, Room};
use tfweb_engine::DType;
use tfweb_proto::tensorflow::serving as tfs;
use tfweb_proto::tensorflow::TensorProto;
use tfweb_proto::weight::Weights;
use tfweb_proto::DESCRIPTORS;

use crate::memory::measure;

/// The bytes that a tensor may stand for beyond those in its message.
const ROOM_BYTES: usize = 4096;
/// The memory that a decoder takes beside the message: the text of an error, the count of those that share the bytes.
const ASIDE_BYTES: usize = 1 << 10;

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| Weights::read(DESCRIPTORS).expect("every type has a weight"));

pub(crate) fn tensor_proto(input: &[u8]) {
    let Ok(proto) = TensorProto::decode(input) else { return };
    let dtype = u32::try_from(proto.dtype).map_or(DType::Other(0), DType::from_number);
    let typed = proto.tensor_content.is_empty();
    if let Ok(tensor) = decode("x", dtype, proto, &mut Room { bytes: ROOM_BYTES }) {
        let answer = if typed { AnswerTensor::of_values(&tensor) } else { AnswerTensor::of_content(&tensor) };
        let written = TensorProto::decode(&*answer.encode_to_vec()).expect("a message that was written is one");
        let again = decode("x", dtype, written, &mut Room { bytes: 0 }).expect("what was written can be read");
        assert_eq!((again.dims(), again.dtype()), (tensor.dims(), tensor.dtype()));
    }
}

/// A reader for messages of one type. Decoding allocates no more than the weight of the message. A message that was read, is written,
/// and is read again, is the same.
fn check<M: Message + Default>(name: &str, bytes: &[u8]) -> Option<M> {
    let weight = WEIGHTS.of_type(name).expect("a type of the descriptors").of(bytes, usize::MAX);
    let wire = Bytes::copy_from_slice(bytes);
    let (decoded, peak) = measure(|| M::decode(wire));
    assert!(peak <= weight + ASIDE_BYTES, "{name}: {peak} bytes, and a weight of {weight}");
    let message = decoded.ok()?;
    let written = message.encode_to_vec();
    let again = M::decode(written.as_slice()).expect("what was written can be read");
    assert_eq!(again.encode_to_vec(), written);
    Some(message)
}

fn predict(bytes: &[u8]) {
    let Some(request) = check::<tfs::PredictRequest>("tensorflow.serving.PredictRequest", bytes) else { return };
    let mut room = Room { bytes: ROOM_BYTES };
    for (name, proto) in request.inputs {
        let dtype = u32::try_from(proto.dtype).map_or(DType::Other(0), DType::from_number);
        let _ = decode(&name, dtype, proto, &mut room);
    }
}

fn input(bytes: &[u8]) {
    let input = check::<tfs::Input>("tensorflow.serving.Input", bytes);
    let _ = examples::from_input(input);
}

/// Reads a message. The first byte of an input chooses its type.
pub(crate) fn messages(input_bytes: &[u8]) {
    let Some((&choice, bytes)) = input_bytes.split_first() else { return };
    match choice % 9 {
        0 => predict(bytes),
        1 => input(bytes),
        2 => drop(check::<tfs::ClassificationRequest>("tensorflow.serving.ClassificationRequest", bytes)),
        3 => drop(check::<tfs::RegressionRequest>("tensorflow.serving.RegressionRequest", bytes)),
        4 => drop(check::<tfs::MultiInferenceRequest>("tensorflow.serving.MultiInferenceRequest", bytes)),
        5 => drop(check::<tfs::GetModelMetadataRequest>("tensorflow.serving.GetModelMetadataRequest", bytes)),
        6 => drop(check::<tfs::GetModelStatusRequest>("tensorflow.serving.GetModelStatusRequest", bytes)),
        7 => drop(check::<tfs::ReloadConfigRequest>("tensorflow.serving.ReloadConfigRequest", bytes)),
        _ => drop(check::<tfs::PredictionLog>("tensorflow.serving.PredictionLog", bytes)),
    }
}
