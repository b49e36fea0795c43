//! Classify, Regress and MultiInference: examples in, labels and scores or numbers out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::try_join_all;
use prost::Message;
use tfweb_engine::{Code, DType, Error, Signature, Tensor};

use super::{Door, Found};
use crate::predict::{predict, Call};
use crate::record::Record;
use crate::wire::tensorflow::serving::inference_result;
use crate::wire::tensorflow::serving::input::Kind;
use crate::wire::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications, InferenceResult, InferenceTask,
    Input, MultiInferenceRequest, MultiInferenceResponse, Regression, RegressionRequest, RegressionResponse, RegressionResult,
};

/// Names of inputs and outputs (tensorflow/cc/saved_model/signature_constants.h).
const INPUTS: &str = "inputs";
const CLASSES: &str = "classes";
const SCORES: &str = "scores";
const OUTPUTS: &str = "outputs";
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
    let outputs = run(found, input, deadline, check_classifier, record).await?;
    let classes = outputs.get(CLASSES).map(|tensor| table(tensor, CLASSES, DType::String, outputs.rows)).transpose()?;
    let scores = outputs.get(SCORES).map(|tensor| table(tensor, SCORES, DType::Float32, outputs.rows)).transpose()?;
    if let (Some(classes), Some(scores)) = (classes, scores) {
        if classes != scores {
            return Err(Error::invalid(format!(
                "Tensors class and score should match in 1st dimension size. Got {classes} vs. {scores}"
            )));
        }
    }
    let columns = classes.or(scores).unwrap_or_default();
    let labels = outputs.get(CLASSES).and_then(Tensor::as_strings);
    let scores = outputs.get(SCORES).and_then(Tensor::as_slice::<f32>);
    let class = |index: usize| Class {
        label: labels.map(|labels| String::from_utf8_lossy(labels.get(index)).into_owned()).unwrap_or_default(),
        score: scores.map(|scores| scores[index]).unwrap_or_default(),
    };
    let classes = |row: usize| Classifications { classes: (row * columns..(row + 1) * columns).map(class).collect() };
    Ok(ClassificationResult { classifications: (0..outputs.rows).map(classes).collect() })
}

async fn regress(found: &Found, input: Option<Input>, deadline: Instant, record: &mut Record) -> Result<RegressionResult, Error> {
    let outputs = run(found, input, deadline, check_regressor, record).await?;
    let values = outputs.get(OUTPUTS);
    let values = values.ok_or_else(|| Error::invalid("No regression outputs found in SignatureDef"))?;
    match values.dims() {
        [rows] | [rows, 1] if *rows == outputs.rows => {}
        dims => {
            let rows = outputs.rows;
            return Err(Error::invalid(format!("Expected Tensor shape: [{rows}] or [{rows} 1], got {dims:?}")));
        }
    }
    let values = values.as_slice::<f32>();
    let values = values.ok_or_else(|| Error::invalid("Expected output Tensor of DT_FLOAT."))?;
    Ok(RegressionResult { regressions: values.iter().map(|&value| Regression { value }).collect() })
}

/// What a signature gave for examples.
struct Outputs {
    rows: usize,
    tensors: Vec<(String, Tensor)>,
}

impl Outputs {
    fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }
}

async fn run(
    found: &Found,
    input: Option<Input>,
    deadline: Instant,
    check: fn(&Signature) -> Result<(), Error>,
    record: &mut Record,
) -> Result<Outputs, Error> {
    let name = &found.spec.signature_name;
    let servable = found.servable().ok_or_else(|| Error::invalid(format!("No signature was found with the name: {name}")))?;
    let signature = record.calls(servable).handle.signature();
    check(signature)?;
    let start = Instant::now();
    let examples = examples(input)?;
    let rows = examples.len();
    // Strings, whatever dtype the signature declares: TensorFlow judges.
    let inputs = vec![Tensor::from_strings(&[rows], Arc::new(examples))];
    record.timings.decode = start.elapsed();
    let tensors = predict(servable, None, Call { inputs, urls: Vec::new(), deadline }, record).await?;
    let names = signature.outputs.iter().map(|spec| spec.name.clone());
    Ok(Outputs { rows, tensors: names.zip(tensors).collect() })
}

/// The examples, serialized, what they have in common before each.
pub(crate) fn examples(input: Option<Input>) -> Result<Vec<Bytes>, Error> {
    let (context, examples) = match input.and_then(|input| input.kind) {
        Some(Kind::ExampleList(list)) => (Vec::new(), list.examples),
        Some(Kind::ExampleListWithContext(list)) => (list.context.unwrap_or_default().encode_to_vec(), list.examples),
        None => (Vec::new(), Vec::new()),
    };
    if examples.is_empty() {
        return Err(Error::invalid("Input is empty."));
    }
    Ok(examples.iter().map(|example| Bytes::from([context.as_slice(), &example.encode_to_vec()].concat())).collect())
}

fn check_input(signature: &Signature) -> Result<(), Error> {
    match signature.inputs.as_slice() {
        [only] if only.name == INPUTS => Ok(()),
        [only] => Err(Error::invalid(format!("expected an input named \"{INPUTS}\" in {:?}, got {:?}", signature.name, only.name))),
        _ => Err(Error::invalid("Expected one input Tensor.")),
    }
}

fn check_classifier(signature: &Signature) -> Result<(), Error> {
    check_input(signature)?;
    let count = signature.outputs.len();
    if !(1..=2).contains(&count) {
        return Err(Error::invalid(format!("Expected one or two output Tensors, found {count}")));
    }
    if signature.outputs.iter().any(|spec| [CLASSES, SCORES].contains(&spec.name.as_str())) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Expected classification signature outputs to contain at least one of \"{CLASSES}\" or \"{SCORES}\"; {:?} has neither",
        signature.name
    )))
}

fn check_regressor(signature: &Signature) -> Result<(), Error> {
    check_input(signature)?;
    match signature.outputs.as_slice() {
        [only] if only.name == OUTPUTS => Ok(()),
        [_] => Err(Error::invalid(format!("No regression outputs found in SignatureDef: {:?}", signature.name))),
        _ => Err(Error::invalid("Expected one output Tensor.")),
    }
}

/// Checks that an output has a row for each example; gives how many classes each has.
fn table(tensor: &Tensor, name: &str, dtype: DType, rows: usize) -> Result<usize, Error> {
    if tensor.dtype() != dtype {
        return Err(Error::invalid(format!("Expected {name} Tensor of {dtype}. Got: {}", tensor.dtype())));
    }
    match tensor.dims() {
        [count, columns] if *count == rows => Ok(*columns),
        [count, _] => Err(Error::invalid(format!("Expected {name} output batch size of {rows}, got {count}"))),
        dims => Err(Error::invalid(format!("Expected Tensor shape: [batch_size num_classes] but got {dims:?}"))),
    }
}
