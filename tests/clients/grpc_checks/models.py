"""What clients hear of models: versions, labels, errors, metadata, states, and models that come and go."""

import os
import pathlib
import time

from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, predict_pb2

from .client import (
    CHANNEL, MODEL, PREDICTION, SEED_PREDICT, TARGET, TIMEOUT, content, fails, grpc, np, predict, request, same, tf)


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
    relative, labelled = config("my_half_plus_three"), config("my_half_plus_three")
    relative.config.model_config_list.config[0].base_path = "tests/models/half_plus_three"
    fails("INVALID_ARGUMENT", "expected an absolute path", call, relative, metadata=bearer)
    labels = labelled.config.model_config_list.config[0].version_labels
    labels["stable"] = 1
    call(labelled, timeout=TIMEOUT, metadata=bearer)
    labels["stable"] = 2
    fails("FAILED_PRECONDITION", "version 2 of model my_half_plus_three, which is not currently available for inference", call,
          labelled, metadata=bearer)
    stable = request("my_half_plus_three", "", x=np.float32([2]))
    stable.model_spec.version_label = "stable"
    same(PREDICTION.Predict(stable, timeout=TIMEOUT).model_spec.version.value, 1)
    print("models come and go")


def bad_platform():
    message = model_management_pb2.ReloadConfigRequest()
    message.config.model_config_list.config.add(name="a", base_path="/a", model_platform="onnx")
    return message
