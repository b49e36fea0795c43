//! Classify, Regress and MultiInference: examples in, labels and scores or numbers out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use tfweb_actors::Outputs;
use tfweb_codec::examples;
use tfweb_engine::{Code, Error, Tensor};
use tfweb_limits::{Deadline, Stage as Late};

use super::service::{no_model, Found, TfServing};
use crate::models::Servable;
use crate::observe::{Measurement, Stage};
use crate::protocols::tf_serving::classify_regress::{inputs, regressions, Classes, Task};
use crate::serving;
use crate::transport::elsewhere::{elsewhere, INLINE_BYTES_MAX};
use crate::transport::grpc::{Call, CallHead, CallMemory};
use tfweb_proto::tensorflow::serving::inference_result;
use tfweb_proto::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications, InferenceResult, InferenceTask,
    Input, MultiInferenceRequest, MultiInferenceResponse, Regression, RegressionRequest, RegressionResponse, RegressionResult,
};

/// Names of methods (tensorflow/cc/saved_model/signature_constants.h).
const CLASSIFY: &str = "tensorflow/serving/classify";
const REGRESS: &str = "tensorflow/serving/regress";

impl TfServing {
    pub(super) async fn classify_examples(
        &self,
        call: Call<ClassificationRequest>,
        measurement: &mut Measurement,
    ) -> Result<ClassificationResponse, Error> {
        let Call { message, head } = call;
        let found = self.find(message.model_spec)?;
        able(&found, Task::Classify, measurement)?;
        let examples = Examples::of(message.input, &head);
        let result = self.classify_found(&found, &examples, measurement).await?;
        Ok(ClassificationResponse { result: Some(result), model_spec: Some(found.spec) })
    }

    pub(super) async fn regress_examples(
        &self,
        call: Call<RegressionRequest>,
        measurement: &mut Measurement,
    ) -> Result<RegressionResponse, Error> {
        let Call { message, head } = call;
        let found = self.find(message.model_spec)?;
        able(&found, Task::Regress, measurement)?;
        let examples = Examples::of(message.input, &head);
        let result = self.regress_found(&found, &examples, measurement).await?;
        Ok(RegressionResponse { result: Some(result), model_spec: Some(found.spec) })
    }

    pub(super) async fn infer_several(
        &self,
        call: Call<MultiInferenceRequest>,
        measurement: &mut Measurement,
    ) -> Result<MultiInferenceResponse, Error> {
        let Call { message, head } = call;
        // TensorFlow Serving looks for the model in the first task.
        if message.tasks.is_empty() {
            return Err(no_model());
        }
        let mut evaluated = BTreeSet::new();
        let mut tasks: Vec<(Found, String)> = Vec::new();
        for InferenceTask { model_spec, method_name } in message.tasks {
            let name = model_spec.as_ref().map_or("", |spec| spec.name.as_str());
            if name.is_empty() {
                return Err(Error::invalid("Found ModelSpec with an empty model name."));
            }
            if tasks.first().is_some_and(|(first, _)| first.spec.name != name) {
                return Err(Error::invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name."));
            }
            let found = self.find(model_spec)?;
            let signature = &found.spec.signature_name;
            if !evaluated.insert(signature.clone()) {
                return Err(Error::invalid(format!("Duplicate evaluation of signature: {signature}")));
            }
            if found.servable().is_none() {
                return Err(Error::invalid(format!("Requested signature not found in model graph: {signature}")));
            }
            if ![CLASSIFY, REGRESS].contains(&method_name.as_str()) {
                return Err(Error::new(Code::Unimplemented, format!("Unsupported signature method_name: {method_name}")));
            }
            tasks.push((found, method_name));
        }
        let examples = Examples::of(message.input, &head);
        let infer = async |(found, method): (Found, String), mut measurement: Measurement| {
            let result = if method == CLASSIFY {
                inference_result::Result::ClassificationResult(self.classify_found(&found, &examples, &mut measurement).await?)
            } else {
                inference_result::Result::RegressionResult(self.regress_found(&found, &examples, &mut measurement).await?)
            };
            Ok::<_, Error>((InferenceResult { model_spec: Some(found.spec), result: Some(result) }, measurement))
        };
        let infer = |task| infer(task, measurement.part());
        let (results, parts): (Vec<_>, Vec<_>) = try_join_all(tasks.into_iter().map(infer)).await?.into_iter().unzip();
        parts.iter().for_each(|part| measurement.join(part));
        Ok(MultiInferenceResponse { results })
    }

    async fn classify_found(
        &self,
        found: &Found,
        examples: &Examples,
        measurement: &mut Measurement,
    ) -> Result<ClassificationResult, Error> {
        let servable = able(found, Task::Classify, measurement)?;
        let (rows, outputs) = self.run_examples(servable, examples, measurement).await?;
        let signature = Arc::clone(servable.handle.signature());
        let result = move |outputs: &[Tensor]| {
            let classes = Classes::of(&signature, outputs, rows)?;
            let class = |(label, score)| Class { label: String::from_utf8_lossy(label).into_owned(), score };
            let classifications = (0..rows).map(|row| Classifications { classes: classes.row(row).map(class).collect() });
            Ok(ClassificationResult { classifications: classifications.collect() })
        };
        examples.result(outputs, size_of::<Class>(), result).await
    }

    async fn regress_found(
        &self,
        found: &Found,
        examples: &Examples,
        measurement: &mut Measurement,
    ) -> Result<RegressionResult, Error> {
        let servable = able(found, Task::Regress, measurement)?;
        let (rows, outputs) = self.run_examples(servable, examples, measurement).await?;
        let signature = Arc::clone(servable.handle.signature());
        let result = move |outputs: &[Tensor]| {
            let values = regressions(&signature, outputs, rows)?;
            Ok(RegressionResult { regressions: values.iter().map(|&value| Regression { value }).collect() })
        };
        examples.result(outputs, size_of::<Regression>(), result).await
    }

    /// Runs a signature on examples. Returns the number of examples and the outputs.
    async fn run_examples(
        &self,
        servable: &Servable,
        examples: &Examples,
        measurement: &mut Measurement,
    ) -> Result<(usize, Outputs), Error> {
        let inputs = examples.inputs.clone()?;
        measurement.note(Stage::Decode, examples.begun, examples.time);
        let run = serving::Call { inputs, urls: Vec::new(), deadline: examples.deadline, request_id: String::new() };
        Ok((examples.rows, serving::predict(&self.state, servable, run, measurement).await?))
    }
}

/// The examples of a request, serialized once for all its tasks.
struct Examples {
    rows: usize,
    inputs: Result<Vec<Tensor>, Error>,
    deadline: Deadline,
    memory: CallMemory,
    begun: Instant,
    time: Duration,
}

impl Examples {
    /// Serializes the examples, and counts what they take. A fault of theirs is told only where the signature has none.
    fn of(input: Option<Input>, head: &CallHead) -> Self {
        let begun = Instant::now();
        let serialized = examples::from_input(input).and_then(|examples| {
            head.memory.grow(examples.iter().map(|example| example.len() + size_of::<Bytes>()).sum())?;
            Ok(examples)
        });
        let rows = serialized.as_ref().map_or(0, Vec::len);
        let (inputs, memory) = (serialized.map(inputs), head.memory.clone());
        Self { rows, inputs, deadline: head.deadline, memory, begun, time: begun.elapsed() }
    }

    /// Makes a result of outputs, with at most `each_bytes` for each element beside the bytes of strings. It counts before it is made,
    /// and a large one is made on another thread.
    async fn result<T: Send + 'static>(
        &self,
        mut outputs: Outputs,
        each_bytes: usize,
        make: impl FnOnce(&[Tensor]) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let bytes = outputs.iter().map(|output| output.element_count() * each_bytes + output.held_bytes()).sum();
        self.memory.take_outputs(&mut outputs, bytes)?;
        if bytes <= INLINE_BYTES_MAX {
            return make(&outputs);
        }
        elsewhere(self.deadline, Late::WriteAnswer, move || make(&outputs)).await
    }
}

/// Finds the requested signature, and checks that it can do the task.
fn able<'f>(found: &'f Found, task: Task, measurement: &mut Measurement) -> Result<&'f Servable, Error> {
    let name = &found.spec.signature_name;
    let servable = found.servable().ok_or_else(|| Error::invalid(format!("No signature was found with the name: {name}")))?;
    measurement.calls(&servable.meter);
    task.check(servable.handle.signature())?;
    Ok(servable)
}
