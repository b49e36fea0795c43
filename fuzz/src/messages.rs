//! Messages of gRPC.

use std::sync::LazyLock;

use prost::Message;
use tfweb_codec::examples;
use tfweb_codec::tensor_proto::{decode, encode, Room};
use tfweb_engine::DType;
use tfweb_proto::tensorflow::serving as tfs;
use tfweb_proto::tensorflow::TensorProto;

/// The bytes that a tensor may stand for beyond those in its message.
const ROOM_BYTES: usize = 4096;

pub(crate) fn tensor_proto(input: &[u8]) {
    let Ok(proto) = TensorProto::decode(input) else { return };
    let dtype = u32::try_from(proto.dtype).map_or(DType::Other(0), DType::from_number);
    let typed = proto.tensor_content.is_empty();
    if let Ok(tensor) = decode("x", dtype, proto, &mut Room { bytes: ROOM_BYTES }) {
        let again = decode("x", dtype, encode(&tensor, typed), &mut Room { bytes: 0 }).expect("what was written can be read");
        assert_eq!((again.dims(), again.dtype()), (tensor.dims(), tensor.dtype()));
    }
}

/// A message that was read, is written, and is read again, is the same. The first byte of an input chooses the message.
fn roundtrip<M: Message + Default + PartialEq>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    let written = message.encode_to_vec();
    let again = M::decode(written.as_slice()).expect("what was written can be read");
    assert_eq!(again.encode_to_vec(), written);
}

static READERS: LazyLock<Vec<fn(&[u8])>> = LazyLock::new(|| {
    vec![
        predict,
        input,
        roundtrip::<tfs::ClassificationRequest>,
        roundtrip::<tfs::RegressionRequest>,
        roundtrip::<tfs::MultiInferenceRequest>,
        roundtrip::<tfs::GetModelMetadataRequest>,
        roundtrip::<tfs::GetModelStatusRequest>,
        roundtrip::<tfs::ReloadConfigRequest>,
        roundtrip::<tfs::PredictionLog>,
    ]
});

fn predict(bytes: &[u8]) {
    roundtrip::<tfs::PredictRequest>(bytes);
    let Ok(request) = tfs::PredictRequest::decode(bytes) else { return };
    let mut room = Room { bytes: ROOM_BYTES };
    for (name, proto) in request.inputs {
        let dtype = u32::try_from(proto.dtype).map_or(DType::Other(0), DType::from_number);
        let _ = decode(&name, dtype, proto, &mut room);
    }
}

fn input(bytes: &[u8]) {
    let Ok(input) = tfs::Input::decode(bytes) else { return };
    let _ = examples::from_input(Some(input));
}

pub(crate) fn messages(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    READERS[usize::from(choice) % READERS.len()](bytes);
}
