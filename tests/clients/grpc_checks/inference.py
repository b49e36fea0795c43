"""Examples that are classified and regressed."""

from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from .client import PREDICTION, TARGET, TIMEOUT, fails, request, same, tf


def examples(count):
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(1)
    result = input_pb2.Input()
    result.example_list.examples.extend([example] * count)
    return result


def inference():
    """What is no classifier says so; those that are, are tested in `infer`."""
    spec = request("kitchen", "echo_float32").model_spec
    fails("INVALID_ARGUMENT", 'No classification inputs found in SignatureDef: echo_float32', PREDICTION.Classify,
          classification_pb2.ClassificationRequest(model_spec=spec, input=examples(1)))
    spec.signature_name = "nothing"
    fails("INVALID_ARGUMENT", "No signature was found with the name: nothing", PREDICTION.Regress,
          regression_pb2.RegressionRequest(model_spec=spec, input=examples(1)))
    several = inference_pb2.MultiInferenceRequest(input=examples(1))
    fails("INVALID_ARGUMENT", "ModelSpec has no name specified.", PREDICTION.MultiInference, several)
    several.tasks.add()
    fails("INVALID_ARGUMENT", "Found ModelSpec with an empty model name.", PREDICTION.MultiInference, several)
    several.tasks[0].model_spec.CopyFrom(spec)
    fails("INVALID_ARGUMENT", "Requested signature not found in model graph: nothing", PREDICTION.MultiInference, several)
    several.tasks[0].model_spec.signature_name = "fails"
    several.tasks[0].method_name = "guess"
    fails("UNIMPLEMENTED", "Unsupported signature method_name: guess", PREDICTION.MultiInference, several)
    print("what cannot infer says so")


def infer():
    """The server has the model `examples` that `save_examples` made."""
    spec = request("examples", "classify").model_spec
    call = lambda input: PREDICTION.Classify(classification_pb2.ClassificationRequest(model_spec=spec, input=input), timeout=TIMEOUT)
    answer = call(examples(2))
    same(answer.model_spec.signature_name, "classify")
    same([[(c.label, c.score) for c in row.classes] for row in answer.result.classifications], [[("low", 1.0), ("high", 2.0)]] * 2)
    # What the examples have in common comes first, so that each may say otherwise.
    context = input_pb2.Input()
    context.example_list_with_context.context.CopyFrom(examples(1).example_list.examples[0])
    context.example_list_with_context.examples.add()
    context.example_list_with_context.examples.add().features.feature["x"].float_list.value.append(5)
    same([row.classes[0].score for row in call(context).result.classifications], [1, 5])
    # Copied before each of 60,000 examples, 400 kB would be 24 GB.
    context.example_list_with_context.context.features.feature["name"].bytes_list.value.append(bytes(400_000))
    context.example_list_with_context.examples.extend([type(context.example_list_with_context.context)()] * 60_000)
    large = fails("OUT_OF_RANGE", "expected at most 67108864 bytes of copies, got 24", PREDICTION.Classify,
                  classification_pb2.ClassificationRequest(model_spec=spec, input=context))
    print(f"24 GB are too many: {large.details()}")
    fails("INVALID_ARGUMENT", "Input is empty.", PREDICTION.Classify, classification_pb2.ClassificationRequest(model_spec=spec))
    spec.signature_name = "regress"
    answer = PREDICTION.Regress(regression_pb2.RegressionRequest(model_spec=spec, input=examples(3)), timeout=TIMEOUT)
    same([row.value for row in answer.result.regressions], [2.5] * 3)
    several = inference_pb2.MultiInferenceRequest(input=examples(1))
    for name in "classify", "regress":
        several.tasks.add(method_name=f"tensorflow/serving/{name}").model_spec.CopyFrom(request("examples", name).model_spec)
    results = PREDICTION.MultiInference(several, timeout=TIMEOUT).results
    same([result.WhichOneof("result") for result in results], ["classification_result", "regression_result"])
    same((results[0].classification_result.classifications[0].classes[1].label, results[1].regression_result.regressions[0].value),
         ("high", 2.5))
    several.tasks.add().CopyFrom(several.tasks[0])
    fails("INVALID_ARGUMENT", "Duplicate evaluation of signature: classify", PREDICTION.MultiInference, several)
    several.tasks[2].model_spec.name = "other"
    fails("INVALID_ARGUMENT", "must access the same model name", PREDICTION.MultiInference, several)
    print("examples are classified and regressed")


def save_examples():
    """Write a model that takes examples, to the path in the target's place."""
    def read(inputs):
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]

    def classify(inputs):
        x = read(inputs)
        classes = tf.tile([["low", "high"]], [tf.size(x), 1])
        return {"classes": classes, "scores": tf.stack([x, 2 * x], 1)}

    spec = tf.TensorSpec([None], tf.string, name="inputs")
    tf.saved_model.save(tf.Module(), TARGET, signatures={
        "classify": tf.function(classify, input_signature=[spec]),
        "regress": tf.function(lambda inputs: {"outputs": read(inputs) / 2 + 2}, input_signature=[spec]),
    })
    print("saved")
