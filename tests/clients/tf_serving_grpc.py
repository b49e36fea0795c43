"""Call a tfweb server with TensorFlow Serving's own Python client.

    PYTHONPATH=.venv-grpc .venv/bin/python tests/clients/tf_serving_grpc.py TARGET CHECK...

The target is HOST:PORT or unix:PATH. The server has the models kitchen,
half_plus_two and digits of this repository. Prints a line for each check that
holds, and ends with the first that does not.
"""

import os
import pathlib
import sys
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pool
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2,
    inference_pb2, input_pb2, model_management_pb2, model_service_pb2,
    model_service_pb2_grpc, predict_pb2, prediction_service_pb2,
    prediction_service_pb2_grpc, regression_pb2)

TARGET = sys.argv[1]
UNLIMITED = [("grpc.max_send_message_length", -1),
             ("grpc.max_receive_message_length", -1)]
# gRPC's C core names a UNIX socket by its escaped path, which is no host by
# HTTP's rules and refused as such.
NAMED = [("grpc.default_authority", "localhost")]


def channel():
    """A channel; with TLS where the variables name who is to be trusted."""
    def read(name):
        return open(os.environ[name], "rb").read() if name in os.environ else None

    if "TLS_CA" not in os.environ:
        return grpc.insecure_channel(TARGET, options=UNLIMITED + NAMED)
    credentials = grpc.ssl_channel_credentials(read("TLS_CA"), read("TLS_KEY"), read("TLS_CERT"))
    return grpc.secure_channel(TARGET, credentials, options=UNLIMITED)


CHANNEL = channel()
PREDICTION = prediction_service_pb2_grpc.PredictionServiceStub(CHANNEL)
MODEL = model_service_pb2_grpc.ModelServiceStub(CHANNEL)
HEALTH = health_pb2_grpc.HealthStub(CHANNEL)
# As this project's first version was called.
SEED_PREDICT = CHANNEL.unary_unary(
    "/Model/Predict",
    request_serializer=predict_pb2.PredictRequest.SerializeToString,
    response_deserializer=predict_pb2.PredictResponse.FromString)
TIMEOUT = 60
# Threads of `steady`: each has one call inside at a time.
STEADY_THREADS = 4

NUMBERS = [tf.float16, tf.bfloat16, tf.float32, tf.float64,
           tf.int8, tf.int16, tf.int32, tf.int64,
           tf.uint8, tf.uint16, tf.uint32, tf.uint64, tf.bool]
# The field that has a dtype's values.
FIELDS = {tf.float16: "half_val", tf.bfloat16: "half_val", tf.float32: "float_val",
          tf.float64: "double_val", tf.int64: "int64_val", tf.bool: "bool_val",
          tf.uint32: "uint32_val", tf.uint64: "uint64_val", tf.string: "string_val"}


def same(got, expected):
    assert got == expected, f"expected {expected!r}, got {got!r}"


def request(model, signature, filter=(), **inputs):
    """A request; inputs are messages, or what makes a tensor."""
    message = predict_pb2.PredictRequest(output_filter=filter)
    message.model_spec.name = model
    message.model_spec.signature_name = signature
    for name, value in inputs.items():
        if not isinstance(value, tf.make_tensor_proto(0).__class__):
            value = tf.make_tensor_proto(value)
        message.inputs[name].CopyFrom(value)
    return message


def predict(*args, **inputs):
    response = PREDICTION.Predict(request(*args, **inputs), timeout=TIMEOUT)
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def fails(code, text, call, *args, **kwargs):
    """Check that a call fails so."""
    try:
        answer = call(*args, timeout=TIMEOUT, **kwargs)
    except grpc.RpcError as error:
        assert error.code().name == code and text in error.details(), \
            f"expected {code} with {text!r}, got {error.code().name}: {error.details()}"
        return error
    raise AssertionError(f"expected {code}, got {answer}")


def content(values):
    """A tensor as its bytes."""
    proto = tf.make_tensor_proto(values)
    fresh = type(proto)(dtype=proto.dtype, tensor_shape=proto.tensor_shape)
    fresh.tensor_content = np.asarray(values).tobytes()
    return fresh


def typed(values, dtype):
    """A tensor as its values."""
    flat = np.asarray(values).ravel()
    proto = tf.make_tensor_proto(0)
    fresh = type(proto)(dtype=dtype.as_datatype_enum,
                        tensor_shape=tf.TensorShape(values.shape).as_proto())
    if dtype in (tf.float16, tf.bfloat16):
        flat = flat.view(np.uint16)
    getattr(fresh, FIELDS.get(dtype, "int_val")).extend(flat.tolist())
    return fresh


def values_of(dtype):
    if dtype is tf.bool:
        return np.array([[True, False], [False, False], [True, True]])
    if dtype.is_floating:
        return np.array([[0, -1.5], [np.inf, 2], [-0.0, 0.25]], dtype.as_numpy_dtype)
    return np.array([[0, 1], [dtype.max, dtype.min], [2, 3]], dtype.as_numpy_dtype)


def dtypes(is_typed=False):
    for dtype in NUMBERS:
        values = values_of(dtype)
        for form in content(values), typed(values, dtype), tf.make_tensor_proto(values):
            message = request("kitchen", f"echo_{dtype.name}", x=form)
            output = PREDICTION.Predict(message, timeout=TIMEOUT).outputs["y"]
            same(output.dtype, dtype.as_datatype_enum)
            same(bool(output.tensor_content), not is_typed)
            same(bool(getattr(output, FIELDS.get(dtype, "int_val"))), is_typed)
            got = tf.make_ndarray(output)
            assert got.dtype == values.dtype and got.shape == values.shape, dtype
            assert got.tobytes() == values.tobytes(), (dtype, got)
        print(f"{dtype.name} comes back")


def typed_dtypes():
    dtypes(is_typed=True)


def strings():
    values = [[b"", b"a\0b\0"], [b"\xff\xfe", "å".encode()]]
    same(predict("kitchen", "echo_string", x=values)["y"].tolist(), values)
    packed = tf.make_tensor_proto(values)
    del packed.string_val[:]
    packed.tensor_content = b"\0\4\2\2a\0b\0\xff\xfe" + "å".encode()
    same(predict("kitchen", "echo_string", x=packed)["y"].tolist(), values)
    png = open("examples/digits_images/7.png", "rb").read()
    answer = predict("digits", "predict", image=[png, png])
    same(answer["class"].shape[0], 2)
    print("strings keep their bytes")


def shapes():
    # What the signature says of shapes is not asked.
    same(predict("half_plus_two", "serving_default", x=np.float32([[2, 4]]))["y"].tolist(), [[3, 4]])
    same(predict("half_plus_two", "serving_default", x=np.float32(2))["y"].tolist(), 3)
    same(predict("kitchen", "scalar", x=np.float32(2))["y"].tolist(), 4)
    same(predict("kitchen", "any_rank", x=np.ones([1, 2, 1], np.float32))["y"].tolist(), [[[2], [2]]])
    # One value stands for all, and none for zeros.
    one = tf.make_tensor_proto(np.float32(3), shape=[2, 2])
    same(len(one.float_val) + len(one.tensor_content) // 4 in (1, 4), True)
    alone = type(one)(dtype=1, tensor_shape=one.tensor_shape, float_val=[3])
    same(predict("kitchen", "echo_float32", x=alone)["y"].tolist(), [[3, 3], [3, 3]])
    none = type(one)(dtype=1, tensor_shape=one.tensor_shape)
    same(predict("kitchen", "echo_float32", x=none)["y"].tolist(), [[0, 0], [0, 0]])
    rows = predict("kitchen", "echo_float32", x=np.zeros([0, 2], np.float32))["y"]
    same(rows.shape, (0, 2))
    print("shapes are TensorFlow's business")


def outputs():
    message = request("kitchen", "nan", ["inf", "nan"], x=np.float32([1]))
    same(sorted(PREDICTION.Predict(message, timeout=TIMEOUT).outputs), ["inf", "nan"])
    fails("INVALID_ARGUMENT", "output tensor alias not found in signature: y Outputs expected to be in the set {inf,nan,ninf}.",
          PREDICTION.Predict, request("kitchen", "nan", ["y"], x=np.float32([1])))
    fails("INVALID_ARGUMENT", "duplicate output tensor alias: nan",
          PREDICTION.Predict, request("kitchen", "nan", ["nan", "nan"], x=np.float32([1])))
    print("outputs are picked")


def large():
    values = np.arange(8 << 20, dtype=np.float32).reshape(-1, 2)
    got = predict("kitchen", "echo_float32", x=content(values))["y"]
    assert np.array_equal(got, values)
    print("32 MiB come back")
    too_large = content(np.zeros([9 << 20, 2], np.float32))
    error = fails("RESOURCE_EXHAUSTED", "the message is too large: expected at most 67108864 bytes, got 754", PREDICTION.Predict,
                  request("kitchen", "echo_float32", x=too_large))
    print(f"72 MiB are too many: {error.details()}")


def compressed():
    values = np.arange(1 << 20, dtype=np.float32).reshape(-1, 2)
    for compression in grpc.Compression.Gzip, grpc.Compression.Deflate:
        for x in values[:1], values:
            message = request("kitchen", "echo_float32", x=content(x))
            response = PREDICTION.Predict(message, timeout=TIMEOUT, compression=compression)
            assert np.array_equal(tf.make_ndarray(response.outputs["y"]), x)
    bomb = content(np.zeros([32 << 20, 2], np.float32))
    fails("RESOURCE_EXHAUSTED", "the message is too large: expected at most 67108864 bytes", PREDICTION.Predict,
          request("kitchen", "echo_float32", x=bomb), compression=grpc.Compression.Gzip)
    print("compressed messages are inflated, but not without end")


def slow_message():
    """The server gives a request a second."""
    ended = threading.Event()

    def never():
        ended.wait(TIMEOUT)
        yield b""

    call = CHANNEL.stream_unary("/tensorflow.serving.PredictionService/Predict")
    fails("DEADLINE_EXCEEDED", "the request's time ran out while its message was read", call, never())
    ended.set()
    print("a message that does not come is not waited for")


def labels():
    """The server has two versions of the model m, of which stable is the first."""
    message = request("m", "", x=np.float32([2]))
    answer = lambda: PREDICTION.Predict(message, timeout=TIMEOUT)
    version = lambda: (tf.make_ndarray(answer().outputs["y"]).tolist(), answer().model_spec.version.value)
    same(version(), ([4], 2))
    message.model_spec.version_label = "stable"
    same(version(), ([3], 1))
    same(answer().model_spec.version_label, "")
    message.model_spec.version_label = "gone"
    fails("NOT_FOUND", "Servable not found for request: Specific(m, 7)", PREDICTION.Predict, message)
    message.model_spec.version_label = "other"
    fails("INVALID_ARGUMENT", "Unrecognized servable version label: other", PREDICTION.Predict, message)
    states = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "m", "version_label": "stable"})
    same([state.version for state in MODEL.GetModelStatus(states, timeout=TIMEOUT).model_version_status], [1])
    fields = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=states.model_spec, metadata_field=["signature_def"])
    same(PREDICTION.GetModelMetadata(fields, timeout=TIMEOUT).model_spec.version.value, 1)
    print("labels choose versions")


def specs():
    message = request("half_plus_two", "", x=np.float32([2]))
    response = PREDICTION.Predict(message, timeout=TIMEOUT)
    same((response.model_spec.name, response.model_spec.version.value, response.model_spec.signature_name),
         ("half_plus_two", 1, "serving_default"))
    message.model_spec.version.value = 1
    PREDICTION.Predict(message, timeout=TIMEOUT)
    message.model_spec.version.value = 7
    fails("NOT_FOUND", "Servable not found for request: Specific(half_plus_two, 7)", PREDICTION.Predict, message)
    message.model_spec.version_label = "stable"
    fails("INVALID_ARGUMENT", "Unrecognized servable version label: stable", PREDICTION.Predict, message)
    print("versions are found")


def errors():
    x = np.float32([[1, 2]])
    call = PREDICTION.Predict
    fails("INVALID_ARGUMENT", "Missing ModelSpec", call, predict_pb2.PredictRequest())
    fails("INVALID_ARGUMENT", "ModelSpec has no name specified.", call, request("", "", x=x))
    fails("NOT_FOUND", "Servable not found for request: Latest(nobody)", call, request("nobody", "", x=x))
    fails("FAILED_PRECONDITION", 'Serving signature key "echo" not found.', call, request("kitchen", "echo", x=x))
    fails("INVALID_ARGUMENT", "input size does not match signature: 2!=1 len({a,b}) != len({x}). "
          "Sent extra: {a,b}. Missing but required: {x}.", call, request("kitchen", "echo_float32", a=x, b=x))
    fails("INVALID_ARGUMENT", "input tensor alias not found in signature: a. Inputs expected to be in the set {x}.",
          call, request("kitchen", "echo_float32", a=x))
    fails("INVALID_ARGUMENT", 'input "x": expected float32, got string', call, request("kitchen", "echo_float32", x=["a"]))
    fails("INVALID_ARGUMENT", "x must not be negative", call, request("kitchen", "fails", x=np.float32([-1])))
    short = content(x)
    short.tensor_content = short.tensor_content[:7]
    fails("INVALID_ARGUMENT", "expected 8 bytes of tensor_content for float32 of shape [1, 2], got 7",
          call, request("kitchen", "echo_float32", x=short))
    huge = type(short)(dtype=1, float_val=[1])
    huge.tensor_shape.dim.add(size=1 << 40)
    fails("INVALID_ARGUMENT", "one value for 1099511627776 elements", call, request("kitchen", "echo_float32", x=huge))
    fails("UNIMPLEMENTED", "complex64", call, request("kitchen", "echo_complex64", x=np.complex64([[1, 2]])))
    raw = CHANNEL.unary_unary("/tensorflow.serving.PredictionService/Predict")
    fails("INTERNAL", "", raw, b"\x0a\xff\xff\xff\xff\x0f")
    fails("UNIMPLEMENTED", "", CHANNEL.unary_unary("/tensorflow.serving.PredictionService/Guess"), b"")
    print("errors have TensorFlow Serving's codes")


def seed():
    message = request("", "", x=np.float32([2]))
    response = SEED_PREDICT(message, timeout=TIMEOUT)
    same(tf.make_ndarray(response.outputs["y"]).tolist(), [3])
    same(response.model_spec.name, "half_plus_two")
    bare = predict_pb2.PredictRequest(inputs=message.inputs)
    same(len(SEED_PREDICT(bare, timeout=TIMEOUT).outputs), 1)
    fails("FAILED_PRECONDITION", "not found", SEED_PREDICT, request("", "nothing", x=np.float32([2])))
    print("/Model/Predict answers")


def deadline():
    slow = request("kitchen", "slow", loops=np.int32([3000]))
    start = time.monotonic()
    try:
        PREDICTION.Predict(slow, timeout=0.3)
        raise AssertionError("expected a time-out")
    except grpc.RpcError as error:
        same(error.code().name, "DEADLINE_EXCEEDED")
    assert time.monotonic() - start < 2
    print("deadlines pass")


def queued_deadline():
    """The server runs one request at a time, for at most a second."""
    first = PREDICTION.Predict.future(request("kitchen", "slow", loops=np.int32([6000])), timeout=TIMEOUT)
    fails("DEADLINE_EXCEEDED", "the request's time ran out while it", PREDICTION.Predict,
          request("kitchen", "slow", loops=np.int32([1500])))
    try:
        first.result()
    except grpc.RpcError as error:
        same(error.code().name, "DEADLINE_EXCEEDED")
    print("the server's own deadline passes")


def cancel():
    """The server runs one request at a time. The test says when a call is inside."""
    runs = lambda: predict("kitchen", "stateful", x=np.int64([0]))["runs"][0]
    before = runs()
    first = PREDICTION.Predict.future(request("kitchen", "slow", loops=np.int32([1000])), timeout=TIMEOUT)
    print("first", flush=True)
    sys.stdin.readline()
    second = PREDICTION.Predict.future(request("kitchen", "stateful", x=np.int64([0])), timeout=TIMEOUT)
    print("second", flush=True)
    sys.stdin.readline()
    second.cancel()
    first.result()
    same(runs(), before + 1)
    print("what is cancelled is not run")


def metadata():
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "kitchen"
    response = PREDICTION.GetModelMetadata(message, timeout=TIMEOUT)
    same((response.model_spec.name, response.model_spec.version.value, response.model_spec.signature_name), ("kitchen", 1, ""))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    loaded = tf.saved_model.load("tests/models/kitchen/1").signatures
    same(sorted(signatures.signature_def), sorted(loaded))
    meta = tf.compat.v1.saved_model.loader.load(tf.compat.v1.Session(graph=tf.Graph()), ["serve"], "tests/models/kitchen/1")
    for name, signature in signatures.signature_def.items():
        expected = meta.signature_def[name]
        same(signature.method_name, expected.method_name)
        for got, real in (signature.inputs, expected.inputs), (signature.outputs, expected.outputs):
            same({key: text_format.MessageToString(info) for key, info in got.items()},
                 {key: text_format.MessageToString(info) for key, info in real.items()})
    call = PREDICTION.GetModelMetadata
    fails("INVALID_ARGUMENT", "must specify at least one metadata_field", call,
          get_model_metadata_pb2.GetModelMetadataRequest(model_spec=message.model_spec))
    fails("INVALID_ARGUMENT", "Metadata field colour is not supported", call,
          get_model_metadata_pb2.GetModelMetadataRequest(model_spec=message.model_spec, metadata_field=["colour"]))
    print("metadata is what the SavedModel says")


def status():
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "kitchen"
    [version] = MODEL.GetModelStatus(message, timeout=TIMEOUT).model_version_status
    same((version.version, version.State.Name(version.state), version.status.error_code), (1, "AVAILABLE", 0))
    message.model_spec.version.value = 2
    fails("NOT_FOUND", "Could not find version 2 of model kitchen", MODEL.GetModelStatus, message)
    message.model_spec.name = "nobody"
    message.model_spec.ClearField("version")
    fails("NOT_FOUND", "Could not find any versions of model nobody", MODEL.GetModelStatus, message)
    print("states are told")


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


def save_defaults():
    """Write a model of y = a * x + b whose b may be left out, to the path in the target's place."""
    spec = lambda name: tf.TensorSpec([None], tf.float32, name=name)
    line = tf.function(lambda a, b, x: {"y": a * x + b}, input_signature=[spec("a"), spec("b"), spec("x")])
    tf.saved_model.save(tf.Module(), TARGET, signatures={"serving_default": line})
    path = pathlib.Path(TARGET, "saved_model.pb")
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    defaults = model.meta_graphs[0].signature_def["serving_default"].defaults
    defaults["b"].CopyFrom(tf.make_tensor_proto(np.float32([100])))
    path.write_bytes(model.SerializeToString())
    print("saved")


def defaults():
    a, b, x = (np.float32([value]) for value in (2, 1, 5))
    same(predict("line", "", a=a, b=b, x=x)["y"].tolist(), [11])
    same(predict("line", "", a=a, x=x)["y"].tolist(), [110])
    fails("INVALID_ARGUMENT", "1!=3 len({x}) != len({a,b,x}). Sent extra: {}. Missing but required: {a}.",
          PREDICTION.Predict, request("line", "", x=x))
    fails("INVALID_ARGUMENT", "Sent extra: {c}. Missing but required: {}.",
          PREDICTION.Predict, request("line", "", a=a, b=b, x=x, c=x))
    fails("INVALID_ARGUMENT", "input tensor alias not found in signature: c",
          PREDICTION.Predict, request("line", "", a=a, c=b, x=x))
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "line"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert PREDICTION.GetModelMetadata(message, timeout=TIMEOUT).metadata["signature_def"].Unpack(signatures)
    known = signatures.signature_def["serving_default"].defaults
    same((list(known), tf.make_ndarray(known["b"]).tolist()), (["b"], [100]))
    print("what is left out has its default")


def health():
    check = lambda service: HEALTH.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status
    for service in "", "kitchen", "PredictionService", "tensorflow.serving.ModelService":
        same(check(service), health_pb2.HealthCheckResponse.SERVING)
    fails("NOT_FOUND", "", HEALTH.Check, health_pb2.HealthCheckRequest(service="nobody"))
    fails("RESOURCE_EXHAUSTED", "expected at most 16384 bytes, got 20004 bytes", HEALTH.Check,
          health_pb2.HealthCheckRequest(service="a" * 20_000))
    watch = HEALTH.Watch(health_pb2.HealthCheckRequest(service="nobody"), timeout=TIMEOUT)
    same(next(watch).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
    watch.cancel()
    print("the server is well")


def watch():
    """Print a model's health until the server stops."""
    for response in HEALTH.Watch(health_pb2.HealthCheckRequest(service="kitchen"), timeout=TIMEOUT):
        print(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status), flush=True)
    print("the end")


def busy():
    """Be in the middle of a request until the server stops."""
    future = PREDICTION.Predict.future(request("kitchen", "slow", loops=np.int32([1500])), timeout=TIMEOUT)
    same(tf.make_ndarray(future.result().outputs["rows"]).tolist(), [1])
    print("answered", flush=True)


def steady(lost_max=0):
    """Call from several threads until standard input ends.

    At most so many calls may be lost, each as a server that cannot be
    reached; then each thread goes on.
    """
    def work(number):
        step = 0
        while not over.is_set():
            step += 1
            x = np.float32([number, step % 1000])
            try:
                same(predict("half_plus_two", "", x=x)["y"].tolist(), (x / 2 + 2).tolist())
                answered.append(number)
            except (AssertionError, grpc.RpcError) as error:
                is_lost = isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE
                (lost if is_lost else failures).append(f"{type(error).__name__}: {error}")
            # The pace of the load.
            time.sleep(0.01)
    over, answered, failures, lost = threading.Event(), [], [], []
    threads = [threading.Thread(target=work, args=[number]) for number in range(STEADY_THREADS)]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    assert answered and not failures, (len(answered), len(failures), failures[:5])
    assert len(lost) <= lost_max, (len(answered), len(lost), lost[:5])
    print("every call was answered" if lost_max == 0 else f"at most {lost_max} calls were lost")


def steady_while_one_is_killed():
    """The same beside a server that is killed: the call that each thread has inside may be lost."""
    steady(lost_max=STEADY_THREADS)


def reflecting():
    """Hold a stream of reflection open until the server ends it."""
    done = threading.Event()

    def ask():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        done.wait(TIMEOUT)

    answers = reflection_pb2_grpc.ServerReflectionStub(CHANNEL).ServerReflectionInfo(ask(), timeout=TIMEOUT)
    print(len(next(answers).list_services_response.service) > 0, flush=True)
    same(list(answers), [])
    print("the end", flush=True)
    done.set()


def reflection():
    database = ProtoReflectionDescriptorDatabase(CHANNEL)
    same(sorted(database.get_services()), [
        "Model", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService", "tensorflow.serving.PredictionService"])
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    same(sorted(method.name for method in service.methods), ["Classify", "GetModelMetadata", "MultiInference", "Predict", "Regress"])
    # Every message that is told of has the numbers and types that the real one has.
    real, seen = descriptor_pool.Default(), []
    assert prediction_service_pb2.DESCRIPTOR and model_service_pb2.DESCRIPTOR

    def compare(message):
        if message.full_name in seen or message.full_name.startswith("google."):
            return
        seen.append(message.full_name)
        theirs = real.FindMessageTypeByName(message.full_name)
        for field in message.fields:
            known = theirs.fields_by_name[field.name]
            one = lambda f: f.containing_oneof and f.containing_oneof.name
            same((message.full_name, field.name, field.number, field.type, field.is_repeated, field.is_packed, one(field)),
                 (message.full_name, known.name, known.number, known.type, known.is_repeated, known.is_packed, one(known)))
            if field.message_type:
                same(field.message_type.full_name, known.message_type.full_name)
                compare(field.message_type)
            if field.enum_type:
                same(field.enum_type.full_name, known.enum_type.full_name)
                for value in field.enum_type.values:
                    same(known.enum_type.values_by_name[value.name].number, value.number)

    for name in "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService":
        theirs = real.FindServiceByName(name)
        for method in pool.FindServiceByName(name).methods:
            same(method.input_type.full_name, theirs.methods_by_name[method.name].input_type.full_name)
            same(method.output_type.full_name, theirs.methods_by_name[method.name].output_type.full_name)
            compare(method.input_type)
            compare(method.output_type)
    print(f"{len(seen)} messages are as TensorFlow Serving has them")


def tls():
    """Call as a client of a certificate, and be turned away as one without, and as one that speaks no TLS."""
    message = request("half_plus_two", "serving_default", x=np.float32([1]))
    same(tf.make_ndarray(PREDICTION.Predict(message, timeout=TIMEOUT).outputs["y"]).tolist(), [2.5])
    nobody = grpc.ssl_channel_credentials(open(os.environ["TLS_CA"], "rb").read())
    for other in grpc.secure_channel(TARGET, nobody), grpc.insecure_channel(TARGET):
        fails("UNAVAILABLE", "", prediction_service_pb2_grpc.PredictionServiceStub(other).Predict, message)
    print("only those with a certificate may call")


def tokens():
    ask = get_model_status_pb2.GetModelStatusRequest()
    ask.model_spec.name = "nobody"
    bearing = lambda token: {"metadata": [("authorization", f"Bearer {token}")]}
    calls = [(MODEL.GetModelStatus, ask), (SEED_PREDICT, predict_pb2.PredictRequest()),
             (MODEL.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
             (CHANNEL.unary_unary("/no/such", lambda sent: sent, lambda got: got), b"")]
    for call, message in calls:
        fails("UNAUTHENTICATED", "asks for a token", call, message)
        fails("UNAUTHENTICATED", "none of this server's", call, message, **bearing("two"))
    for token in "one", "root":
        fails("NOT_FOUND", "nobody", MODEL.GetModelStatus, ask, **bearing(token))
    fails("PERMISSION_DENIED", "--admin_token", *calls[2], **bearing("one"))
    MODEL.HandleReloadConfigRequest(calls[2][1], timeout=TIMEOUT, **bearing("root"))
    try:
        ProtoReflectionDescriptorDatabase(CHANNEL).get_services()
        raise AssertionError("expected no reflection")
    except grpc.RpcError as error:
        same(error.code().name, "UNAUTHENTICATED")
    HEALTH.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
    print("only bearers of a token may call")


def reload():
    """The server is started with --admin_token secret, and with no models."""
    def config(*names):
        message = model_management_pb2.ReloadConfigRequest()
        for name in names:
            message.config.model_config_list.config.add(
                name=name, base_path=os.path.abspath(f"tests/models/{name.removeprefix('my_')}"), model_platform="tensorflow")
        return message

    call = MODEL.HandleReloadConfigRequest
    bearer = [("authorization", "Bearer secret")]
    fails("PERMISSION_DENIED", "authorization: Bearer", call, config("half_plus_two"))
    fails("PERMISSION_DENIED", "", call, config("half_plus_two"), metadata=[("authorization", "Bearer wrong")])
    same(call(config("half_plus_two", "my_half_plus_three"), timeout=TIMEOUT, metadata=bearer).status.error_code, 0)
    same(predict("my_half_plus_three", "", x=np.float32([2]))["y"].tolist(), [4])
    same(call(model_management_pb2.ReloadConfigRequest(), timeout=TIMEOUT, metadata=bearer).status.error_code, 0)
    same(predict("half_plus_two", "", x=np.float32([2]))["y"].tolist(), [3])
    fails("NOT_FOUND", 'model "nowhere"', call, config("my_half_plus_three", "nowhere"), metadata=bearer)
    same(predict("half_plus_two", "", x=np.float32([2]))["y"].tolist(), [3])
    call(config("my_half_plus_three"), timeout=TIMEOUT, metadata=bearer)
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            predict("half_plus_two", "", x=np.float32([2]))
        except grpc.RpcError as error:
            same(error.code().name, "NOT_FOUND")
            break
        assert time.monotonic() < until
    fails("INVALID_ARGUMENT", "model_platform", call, bad_platform(), metadata=bearer)
    print("models come and go")


def bad_platform():
    message = model_management_pb2.ReloadConfigRequest()
    message.config.model_config_list.config.add(name="a", base_path="/a", model_platform="onnx")
    return message


def together():
    """Many at once, each with its own answer."""
    def work(number):
        for step in range(20):
            x = np.float32([number, step])
            same(predict("kitchen", "batch_rows", x=x)["y"].tolist(), x.tolist())
            done.append(None)
    done = []
    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(len(done), 160)
    print("many share runs")


for name in sys.argv[2:]:
    globals()[name]()
