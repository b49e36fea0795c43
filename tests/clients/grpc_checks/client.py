"""The target, the stubs that call it, and what the checks have in common."""

import os
import sys

# Before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import grpc
import numpy as np
import tensorflow as tf
from grpc_health.v1 import health_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc)

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
