//! Predict: named tensors in, named tensors out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use tfweb_codec::tensor_proto::{decode, AnswerTensor, Room};
use tfweb_engine::{quoted, Code, Error, Signature, Tensor, TensorSpec};

use super::service::TfServing;
use crate::models::Servable;
use crate::observe::{Measurement, Stage};
use crate::serving;
use crate::transport::grpc::{Call, CallMemory};
use tfweb_proto::tensorflow::serving::{ModelSpec, PredictRequest};
use tfweb_proto::tensorflow::TensorProto;

/// `PredictResponse`, written from the outputs themselves.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PredictAnswer {
    #[prost(btree_map = "string, message", tag = "1")]
    outputs: BTreeMap<String, AnswerTensor>,
    #[prost(message, optional, tag = "2")]
    model_spec: Option<ModelSpec>,
}

impl TfServing {
    pub(super) async fn predict_tensors(
        &self,
        call: Call<PredictRequest>,
        measurement: &mut Measurement,
    ) -> Result<PredictAnswer, Error> {
        let Call { message: request, head } = call;
        let start = Instant::now();
        let found = self.find(request.model_spec)?;
        let servable = found.servable().ok_or_else(|| {
            let text = format!("Serving signature key {} not found.", quoted(&found.spec.signature_name));
            Error::new(Code::FailedPrecondition, text)
        })?;
        measurement.calls(&servable.meter);
        let signature = servable.handle.signature();
        let filter = &request.output_filter;
        signature.check_served(Some(&|name| filter.is_empty() || filter.iter().any(|wanted| wanted == name)))?;
        check_inputs(servable, &request.inputs)?;
        let wanted = wanted(signature, &request.output_filter)?;
        let inputs = self.inputs(servable, request.inputs, &head.memory)?;
        measurement.took(Stage::Decode, start);
        let run = serving::Call { inputs, urls: Vec::new(), deadline: head.deadline, request_id: String::new() };
        let mut outputs = serving::predict(&self.state, servable, run, measurement).await?;
        let start = Instant::now();
        // The answer shows the outputs until it is encoded.
        head.memory.take_outputs(&mut outputs, 0)?;
        let outputs = signature.outputs.iter().zip(&*outputs).filter(|(spec, _)| wanted.contains(spec.name.as_str()));
        let encode = if self.tensor_content { AnswerTensor::of_content } else { AnswerTensor::of_values };
        let outputs = outputs.map(|(spec, output)| (spec.name.clone(), encode(output))).collect();
        measurement.took(Stage::Encode, start);
        Ok(PredictAnswer { outputs, model_spec: Some(found.spec) })
    }

    /// The method Predict of the service `Model`, from this project's first version. Without a model name it takes the first
    /// model, and without a signature name the default signature.
    pub(super) async fn predict_first(
        &self,
        mut call: Call<PredictRequest>,
        measurement: &mut Measurement,
    ) -> Result<PredictAnswer, Error> {
        let mut spec: ModelSpec = call.message.model_spec.take().unwrap_or_default();
        if spec.name.is_empty() {
            let first = self.state.catalog.first().ok_or_else(|| Error::new(Code::NotFound, "this server has no model"))?;
            first.clone_into(&mut spec.name);
        }
        if spec.signature_name.is_empty() {
            let version = self.find(Some(spec.clone()))?.version;
            if let [only] = version.servables.as_slice() {
                spec.signature_name.clone_from(&only.handle.signature().name);
            }
        }
        call.message.model_spec = Some(spec);
        self.predict_tensors(call, measurement).await
    }

    /// Decodes the inputs, in the signature's order. Counts the elements that the message leaves out.
    fn inputs(
        &self,
        servable: &Servable,
        mut protos: BTreeMap<String, TensorProto>,
        memory: &CallMemory,
    ) -> Result<Vec<Tensor>, Error> {
        let mut room = Room { bytes: self.message_bytes_max };
        let input = |spec: &TensorSpec| match protos.remove(&spec.name) {
            Some(proto) => decode(&spec.name, spec.dtype, proto, &mut room),
            None => Ok(servable.defaults.get(&spec.name).expect("names were compared; this is a bug").clone()),
        };
        let inputs: Vec<Tensor> = servable.handle.signature().inputs.iter().map(input).collect::<Result<_, _>>()?;
        // Outputs may have as many elements, and nobody has sent a byte for them.
        let filled = 2 * (self.message_bytes_max - room.bytes);
        memory.grow(filled)?;
        memory.shrink_to(filled + inputs.iter().map(held_bytes).sum::<usize>());
        Ok(inputs)
    }
}

/// The most memory of an input beside the message. A vector may be half empty.
fn held_bytes(input: &Tensor) -> usize {
    2 * input.as_bytes().map_or(input.element_count() * size_of::<Bytes>(), <[u8]>::len)
}

fn check_inputs(servable: &Servable, inputs: &BTreeMap<String, TensorProto>) -> Result<(), Error> {
    let sent: BTreeSet<&str> = inputs.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = servable.handle.signature().inputs.iter().map(|spec| spec.name.as_str()).collect();
    let missing: BTreeSet<&str> = known.difference(&sent).copied().filter(|name| !servable.defaults.contains_key(*name)).collect();
    let is_filled_up = missing.is_empty() && sent.is_subset(&known);
    if sent.len() != known.len() && !is_filled_up {
        return Err(Error::invalid(format!(
            "input size does not match signature: {}!={} len({}) != len({}). Sent extra: {}. Missing but required: {}.",
            sent.len(),
            known.len(),
            set(&sent),
            set(&known),
            set(&sent.difference(&known).copied().collect()),
            set(&missing),
        )));
    }
    match sent.difference(&known).next() {
        None => Ok(()),
        Some(name) => Err(Error::invalid(format!(
            "input tensor alias not found in signature: {name}. Inputs expected to be in the set {}.",
            set(&known)
        ))),
    }
}

/// The names of the outputs that a request asks for.
fn wanted<'a>(signature: &'a Signature, filter: &'a [String]) -> Result<BTreeSet<&'a str>, Error> {
    let known: BTreeSet<&str> = signature.outputs.iter().map(|spec| spec.name.as_str()).collect();
    let mut wanted = BTreeSet::new();
    for name in filter {
        if !known.contains(name.as_str()) {
            return Err(Error::invalid(format!(
                "output tensor alias not found in signature: {name} Outputs expected to be in the set {}.",
                set(&known)
            )));
        }
        if !wanted.insert(name.as_str()) {
            return Err(Error::invalid(format!("duplicate output tensor alias: {name}")));
        }
    }
    Ok(if filter.is_empty() { known } else { wanted })
}

fn set(names: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = names.iter().copied().collect();
    format!("{{{}}}", names.join(","))
}
