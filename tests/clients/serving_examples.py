"""Call a server as TensorFlow Serving's example clients do: mnist and resnet over gRPC, resnet over REST.

    PYTHONPATH=.venv-grpc .venv/bin/python tests/clients/serving_examples.py save DIRECTORY
    PYTHONPATH=.venv-grpc .venv/bin/python tests/clients/serving_examples.py call HTTP_ADDRESS GRPC_ADDRESS

`save` writes small models with the names and signatures that the clients expect. `call` sends what tensorflow_serving/example has
mnist_client.py, resnet_client.py and resnet_client_grpc.py send, and reads the answers as they do: over gRPC from float_val alone.
"""

import base64
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CLASSES = 1001


def save(directory):
    """The class of an image is the place of its brightest tenth (mnist), or its mean (resnet)."""
    def mnist(images):
        return {"scores": tf.reduce_mean(tf.reshape(images[:, :780], [-1, 10, 78]), 2)}

    def resnet(input_1):
        place = tf.cast(tf.round(tf.reduce_mean(input_1, [1, 2, 3]) * 1000), tf.int32)
        return {"activation_49": tf.one_hot(place, CLASSES)}

    def jpeg(image_bytes):
        pixels = tf.map_fn(lambda one: tf.cast(tf.io.decode_jpeg(one, channels=3), tf.float32) / 255, image_bytes,
                           fn_output_signature=tf.TensorSpec([None, None, 3]))
        return {"classes": tf.argmax(resnet(pixels)["activation_49"], 1)}

    for name, function, spec in [("mnist", mnist, tf.TensorSpec([None, 784], tf.float32, "images")),
                                 ("resnet", resnet, tf.TensorSpec([None, None, None, 3], tf.float32, "input_1")),
                                 ("resnet_jpeg", jpeg, tf.TensorSpec([None], tf.string, "image_bytes"))]:
        signature = tf.function(function, input_signature=[spec])
        names = {"serving_default": signature, "predict_images": signature} if name == "mnist" else signature
        tf.saved_model.save(tf.Module(), os.path.join(directory, name, "1"), signatures=names)


def photo():
    """Pixels of a photo of 640 x 480."""
    return np.random.default_rng(1).integers(0, 256, [480, 640, 3], dtype=np.uint8)


def call_mnist(stub):
    """Ten at a time, as --concurrency=10."""
    errors, futures = 0, []
    for label in range(10):
        image = np.full(784, 0.1, np.float32)
        image[label * 78:(label + 1) * 78] = 0.9
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "mnist"
        request.model_spec.signature_name = "predict_images" if label % 2 else ""
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(image, shape=[1, image.size]))
        futures.append((label, stub.Predict.future(request, 60.0)))
    for label, future in futures:
        errors += label != np.argmax(np.array(future.result().outputs["scores"].float_val))
    print(f"mnist over gRPC: {errors} errors")
    return errors == 0


def call_resnet(stub):
    data = np.expand_dims(photo() / 255.0, 0).astype(np.float32)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "resnet"
    request.model_spec.signature_name = "serving_default"
    request.inputs["input_1"].CopyFrom(tf.make_tensor_proto(data))
    result = stub.Predict(request, 60.0).outputs["activation_49"].float_val
    print(f"resnet over gRPC: {request.ByteSize()} bytes, class {np.argmax(result)}")
    return len(result) == CLASSES and np.argmax(result) == round(float(data.mean()) * 1000)


def call_resnet_rest(address):
    pixels = np.expand_dims(photo() / 255.0, 0)
    body = json.dumps({"instances": pixels.tolist()})
    response = requests.post(f"http://{address}/v1/models/resnet:predict", data=body, timeout=60)
    response.raise_for_status()
    prediction = response.json()["predictions"][0]
    print(f"resnet over REST: {len(body)} bytes, class {np.argmax(prediction)}")
    encoded = base64.b64encode(tf.io.encode_jpeg(photo()).numpy()).decode("utf-8")
    response = requests.post(f"http://{address}/v1/models/resnet_jpeg:predict",
                             data=f'{{"instances" : [{{"b64": "{encoded}"}}]}}', timeout=60)
    response.raise_for_status()
    jpeg = response.json()["predictions"][0]
    print(f"resnet over REST: {len(encoded)} bytes of JPEG, class {jpeg}")
    expected = round(float(pixels.mean()) * 1000)
    return np.argmax(prediction) == expected and abs(jpeg - expected) < 20


if sys.argv[1] == "save":
    save(sys.argv[2])
else:
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(sys.argv[3]))
    sys.exit(not all([call_mnist(predictions), call_resnet(predictions), call_resnet_rest(sys.argv[2])]))
