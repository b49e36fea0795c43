//! Replays the warm-up requests of a SavedModel. They are in `assets.extra/tf_serving_warmup_requests`, as records of TensorFlow
//! Serving's PredictionLog. They run before the first client can call the model.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message;
use tfweb_codec::examples;
use tfweb_codec::tensor_proto::{decode, Room};
use tfweb_engine::{quoted, regular_file, Code, Error, Session, Tensor};

use tfweb_proto::tensorflow::serving::prediction_log::LogType;
use tfweb_proto::tensorflow::serving::{Input, ModelSpec, PredictRequest, PredictionLog};

/// The file of the requests in a SavedModel.
const FILE: &str = "assets.extra/tf_serving_warmup_requests";
/// The most bytes of this file.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// The most records. TensorFlow Serving has the same limit.
const RECORDS_MAX: usize = 1000;
/// The most bytes of values that a record may stand for beyond those in it: a shape can repeat one value many times.
const ROOM_BYTES: usize = 64 << 20;
/// The signature of a request that names none.
const DEFAULT_SIGNATURE: &str = super::model::DEFAULT_SIGNATURE;

/// Replays the requests of the SavedModel in a directory. Gives their number, which is 0 without a file.
///
/// # Errors
/// `FailedPrecondition` that names the record. A model that fails its own warm-up is not served.
pub fn replay(session: &dyn Session, directory: &Path) -> Result<usize, Error> {
    let path = directory.join(FILE);
    let wrong = |text: String| Error::new(Code::FailedPrecondition, format!("`{}`: {text}", path.display()));
    match read(&path) {
        Ok(Some(bytes)) => replay_records(session, bytes).map_err(wrong),
        Ok(None) => Ok(0),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Replays the requests in the bytes of such a file. Gives their number.
///
/// # Errors
/// A text that names the record.
pub fn replay_records(session: &dyn Session, mut records: Bytes) -> Result<usize, String> {
    let mut count = 0;
    while records.has_remaining() {
        if count == RECORDS_MAX {
            return Err(format!("expected at most {RECORDS_MAX} records, got more"));
        }
        let record = record(&mut records).ok_or_else(|| format!("no TFRecord at record {count}"))?;
        let log = PredictionLog::decode(record).map_err(|error| format!("record {count}: no PredictionLog: {error}"))?;
        run(session, log).map_err(|error| format!("record {count}: {error}"))?;
        count += 1;
    }
    Ok(count)
}

fn read(path: &Path) -> io::Result<Option<Bytes>> {
    match regular_file::read(path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(|bytes| Some(bytes.into())),
    }
}

/// Takes the next record. Each has a length, a checksum of the length, its bytes, and a checksum of these. The checksums are not
/// compared, because a damaged message does not parse.
fn record(rest: &mut Bytes) -> Option<Bytes> {
    const CHECKSUM_BYTES: usize = 4;
    let length = usize::try_from(rest.try_get_u64_le().ok()?).ok()?;
    let needed = length.checked_add(2 * CHECKSUM_BYTES)?;
    if rest.remaining() < needed {
        return None;
    }
    rest.advance(CHECKSUM_BYTES);
    let record = rest.split_to(length);
    rest.advance(CHECKSUM_BYTES);
    Some(record)
}

fn run(session: &dyn Session, log: PredictionLog) -> Result<(), Error> {
    let of_request = |spec: Option<ModelSpec>, input| run_examples(session, spec, input);
    match log.log_type {
        Some(LogType::PredictLog(log)) => predict(session, log.request.unwrap_or_default()),
        Some(LogType::ClassifyLog(log)) => log.request.map_or(Ok(()), |request| of_request(request.model_spec, request.input)),
        Some(LogType::RegressLog(log)) => log.request.map_or(Ok(()), |request| of_request(request.model_spec, request.input)),
        Some(LogType::MultiInferenceLog(log)) => {
            let request = log.request.unwrap_or_default();
            request.tasks.into_iter().try_for_each(|task| of_request(task.model_spec, request.input.clone()))
        }
        None => Err(Error::new(Code::Unimplemented, "expected a log of predict, classify, regress or multi-inference")),
    }
}

fn predict(session: &dyn Session, mut request: PredictRequest) -> Result<(), Error> {
    let Some(index) = signature(session, request.model_spec)? else { return Ok(()) };
    let mut room = Room { bytes: ROOM_BYTES };
    let input = |spec: &tfweb_engine::TensorSpec| {
        let proto = request.inputs.remove(&spec.name);
        let proto = proto.ok_or_else(|| Error::invalid(format!("input {} is missing", quoted(&spec.name))))?;
        decode(&spec.name, spec.dtype, proto, &mut room)
    };
    let inputs: Vec<Tensor> = session.signatures()[index].inputs.iter().map(input).collect::<Result<_, _>>()?;
    session.run(index, &[&inputs]).map(drop)
}

fn run_examples(session: &dyn Session, spec: Option<ModelSpec>, input: Option<Input>) -> Result<(), Error> {
    let Some(index) = signature(session, spec)? else { return Ok(()) };
    let examples = examples::from_input(input)?;
    let inputs = [Tensor::from_strings(&[examples.len()], Arc::new(examples))];
    session.run(index, &[&inputs]).map(drop)
}

/// Finds the signature that a request names. `None` for one that is not served as a whole, which hurts no other. The model's name is ignored, because the requests may come from a server that calls
/// the model otherwise.
fn signature(session: &dyn Session, spec: Option<ModelSpec>) -> Result<Option<usize>, Error> {
    let name = spec.map(|spec| spec.signature_name).filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_SIGNATURE.into());
    let found = session.signatures().iter().position(|signature| signature.name == name);
    let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("no signature {}", quoted(&name))))?;
    Ok(session.signatures()[found].check_served(None).is_ok().then_some(found))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use tfweb_engine::fake::{Behaviour, FakeSession};
    use tfweb_proto::tensorflow::serving::{input, ClassificationRequest, ClassifyLog, ExampleListWithContext, PredictLog};
    use tfweb_proto::tensorflow::{feature, BytesList, Example, Feature, Features, TensorProto};

    /// A record of a request with three rows of float32.
    fn logged(signature: &str) -> Vec<u8> {
        let shape = tfweb_proto::tensorflow::tensor_shape_proto::Dim { size: 3, ..Default::default() };
        let shape = tfweb_proto::tensorflow::TensorShapeProto { dim: vec![shape], ..Default::default() };
        let x = TensorProto { dtype: 1, tensor_shape: Some(shape), float_val: vec![1.0, 2.0, 3.0], ..Default::default() };
        let spec = ModelSpec { name: "elsewhere".into(), signature_name: signature.into(), ..Default::default() };
        let request = PredictRequest { model_spec: Some(spec), inputs: [("x".to_owned(), x)].into(), ..Default::default() };
        let log = PredictLog { request: Some(request) };
        PredictionLog { log_type: Some(LogType::PredictLog(log)) }.encode_to_vec()
    }

    /// A record of a request that puts a context of one megabyte before each of 65 examples.
    fn logged_context() -> Vec<u8> {
        let text = Feature { kind: Some(feature::Kind::BytesList(BytesList { value: vec![vec![0; 1 << 20].into()] })) };
        let features = Features { feature: [("x".to_owned(), text)].into() };
        let context = Some(Example { features: Some(features) });
        let list = ExampleListWithContext { context, examples: vec![Example::default(); 65] };
        let input = Some(Input { kind: Some(input::Kind::ExampleListWithContext(list)) });
        let log = ClassifyLog { request: Some(ClassificationRequest { input, ..Default::default() }) };
        PredictionLog { log_type: Some(LogType::ClassifyLog(log)) }.encode_to_vec()
    }

    fn framed(record: &[u8]) -> Vec<u8> {
        [&(record.len() as u64).to_le_bytes()[..], &[0; 4], record, &[0; 4]].concat()
    }

    /// Replays a file with these bytes. Gives the rows of each run, or the error after the file's name.
    fn replayed(file: Option<&[u8]>) -> Result<Vec<usize>, String> {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("assets.extra")).unwrap();
        if let Some(bytes) = file {
            fs::write(directory.path().join(FILE), bytes).unwrap();
        }
        let session = FakeSession::new(Behaviour::HalfPlusTwo);
        match replay(&session, directory.path()) {
            Ok(count) => {
                assert_eq!(count, session.run_rows().len());
                Ok(session.run_rows())
            }
            Err(error) => Err(error.message.split_once("requests`: ").unwrap().1.to_owned()),
        }
    }

    #[test]
    fn every_record_is_run() {
        assert_eq!(replayed(None), Ok(vec![]));
        assert_eq!(replayed(Some(b"")), Ok(vec![]));
        assert_eq!(replayed(Some(&[framed(&logged("")), framed(&logged("serving_default"))].concat())), Ok(vec![3, 3]));
        assert_eq!(replayed(Some(&framed(&logged("")).repeat(1000))).map(|rows| rows.len()), Ok(1000));
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let good = framed(&logged(""));
        for (file, expect) in [
            (b"not a record file at all".to_vec(), "no TFRecord at record 0"),
            ([&good[..], &good[..20]].concat(), "no TFRecord at record 1"),
            ([&good[..], &framed(b"\xff\xff")].concat(), "record 1: no PredictionLog"),
            (framed(&logged("other")), "record 0: no signature \"other\""),
            (framed(&PredictionLog { log_type: None }.encode_to_vec()), "record 0: expected a log of predict"),
            (
                framed(&logged_context()),
                "record 0: the context is too large for this many examples: expected at most 67108864 bytes",
            ),
            (good.repeat(1001), "expected at most 1000 records, got more"),
        ] {
            let error = replayed(Some(&file)).unwrap_err();
            assert!(error.starts_with(expect), "expected {expect}, got {error}");
        }
    }
}
