//! Classify, Regress and MultiInference: examples in, labels and scores or numbers out.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::future::try_join_all;
use tfweb_engine::{Code, Error, Tensor};

use super::{Door, Found};
use crate::catalog::Servable;
use crate::metrics::Stage;
use crate::predict::{predict, Call};
use crate::protocol::inference::{inputs, regressions, Classes, Task};
use crate::record::Record;
use tfweb_codec::examples;
use tfweb_proto::tensorflow::serving::inference_result;
use tfweb_proto::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications, InferenceResult, InferenceTask,
    Input, MultiInferenceRequest, MultiInferenceResponse, Regression, RegressionRequest, RegressionResponse, RegressionResult,
};

/// Names of methods (tensorflow/cc/saved_model/signature_constants.h).
const CLASSIFY: &str = "tensorflow/serving/classify";
const REGRESS: &str = "tensorflow/serving/regress";

impl Door {
    pub(super) async fn classify_examples(
        &self,
        request: ClassificationRequest,
        deadline: Instant,
        record: &mut Record,
    ) -> Result<ClassificationResponse, Error> {
        let found = self.find(request.model_spec)?;
        let result = classify(&found, request.input, deadline, record).await?;
        Ok(ClassificationResponse { result: Some(result), model_spec: Some(found.spec) })
    }

    pub(super) async fn regress_examples(
        &self,
        request: RegressionRequest,
        deadline: Instant,
        record: &mut Record,
    ) -> Result<RegressionResponse, Error> {
        let found = self.find(request.model_spec)?;
        let result = regress(&found, request.input, deadline, record).await?;
        Ok(RegressionResponse { result: Some(result), model_spec: Some(found.spec) })
    }

    pub(super) async fn infer_several(
        &self,
        request: MultiInferenceRequest,
        deadline: Instant,
        record: &mut Record,
    ) -> Result<MultiInferenceResponse, Error> {
        let mut evaluated = BTreeSet::new();
        let mut tasks: Vec<(Found, String)> = Vec::new();
        for InferenceTask { model_spec, method_name } in request.tasks {
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
        let infer = async |(found, method): (Found, String), input: Option<Input>, mut record: Record| {
            let result = if method == CLASSIFY {
                inference_result::Result::ClassificationResult(classify(&found, input, deadline, &mut record).await?)
            } else {
                inference_result::Result::RegressionResult(regress(&found, input, deadline, &mut record).await?)
            };
            Ok::<_, Error>((InferenceResult { model_spec: Some(found.spec), result: Some(result) }, record))
        };
        let infer = |task| infer(task, request.input.clone(), record.part());
        let (results, parts): (Vec<_>, Vec<_>) = try_join_all(tasks.into_iter().map(infer)).await?.into_iter().unzip();
        parts.iter().for_each(|part| record.join(part));
        Ok(MultiInferenceResponse { results })
    }
}

async fn classify(
    found: &Found,
    input: Option<Input>,
    deadline: Instant,
    record: &mut Record,
) -> Result<ClassificationResult, Error> {
    let servable = able(found, Task::Classify, record)?;
    let (rows, outputs) = run(servable, input, deadline, record).await?;
    let classes = Classes::of(servable.handle.signature(), &outputs, rows)?;
    let class = |(label, score)| Class { label: String::from_utf8_lossy(label).into_owned(), score };
    let classifications = (0..rows).map(|row| Classifications { classes: classes.row(row).map(class).collect() });
    Ok(ClassificationResult { classifications: classifications.collect() })
}

async fn regress(found: &Found, input: Option<Input>, deadline: Instant, record: &mut Record) -> Result<RegressionResult, Error> {
    let servable = able(found, Task::Regress, record)?;
    let (rows, outputs) = run(servable, input, deadline, record).await?;
    let values = regressions(servable.handle.signature(), &outputs, rows)?;
    Ok(RegressionResult { regressions: values.iter().map(|&value| Regression { value }).collect() })
}

/// The signature that was asked for, if it does what it is asked.
fn able<'f>(found: &'f Found, task: Task, record: &mut Record) -> Result<&'f Servable, Error> {
    let name = &found.spec.signature_name;
    let servable = found.servable().ok_or_else(|| Error::invalid(format!("No signature was found with the name: {name}")))?;
    task.check(record.calls(servable).handle.signature())?;
    Ok(servable)
}

/// Runs a signature on examples. Gives how many there were, and the outputs.
async fn run(
    servable: &Servable,
    input: Option<Input>,
    deadline: Instant,
    record: &mut Record,
) -> Result<(usize, Vec<Tensor>), Error> {
    let start = Instant::now();
    let examples = examples::from_input(input)?;
    let rows = examples.len();
    let call = Call { inputs: inputs(examples), urls: Vec::new(), deadline };
    record.took(Stage::Decode, start);
    Ok((rows, predict(servable, None, call, record).await?))
}
