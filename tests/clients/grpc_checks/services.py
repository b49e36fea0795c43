"""Health and reflection, and who may call."""

import os

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import (
    get_model_status_pb2, model_management_pb2, model_service_pb2, predict_pb2, prediction_service_pb2,
    prediction_service_pb2_grpc)

from .client import CHANNEL, HEALTH, MODEL, PREDICTION, SEED_PREDICT, TARGET, TIMEOUT, fails, grpc, np, request, same, tf


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
    for version in "v1", "v1alpha":
        questions(f"grpc.reflection.{version}.ServerReflection")


def questions(service):
    """Ask on one stream: what is unknown is an error within it, and a file comes with all that it imports."""
    asked = [dict(file_containing_symbol="no.such.Symbol"), dict(file_by_filename="no/such.proto"),
             dict(file_containing_extension=dict(containing_type="no.Such", extension_number=1)),
             dict(all_extension_numbers_of_type="no.Such"), dict(), dict(list_services=""),
             *(dict(file_containing_symbol=symbol) for symbol in (
                 "tensorflow.serving.PredictionService", "tensorflow.serving.PredictionService.Predict",
                 "tensorflow.serving.PredictRequest.inputs", "tensorflow.DataType", service))]
    # Both versions have the same messages.
    call = CHANNEL.stream_stream(f"/{service}/ServerReflectionInfo", reflection_pb2.ServerReflectionRequest.SerializeToString,
                                 reflection_pb2.ServerReflectionResponse.FromString)
    answers = list(call((reflection_pb2.ServerReflectionRequest(host="h", **question) for question in asked), timeout=TIMEOUT))
    same([(answer.valid_host, answer.original_request.WhichOneof("message_request")) for answer in answers],
         [("h", next(iter(question), None)) for question in asked])
    same([(answer.error_response.error_code, bool(answer.error_response.error_message)) for answer in answers[:5]],
         [(5, True)] * 4 + [(3, True)])
    assert service in [known.name for known in answers[5].list_services_response.service], answers[5]
    counts = []
    for answer in answers[6:]:
        files = [descriptor_pb2.FileDescriptorProto.FromString(file)
                 for file in answer.file_descriptor_response.file_descriptor_proto]
        imported = {name for file in files for name in file.dependency}
        same(imported - {file.name for file in files}, set())
        counts.append(len(files))
    assert min(counts[:3]) > 1 and counts[3:] == [1, 1], counts
    print(f"{service} answers {len(answers)} questions on a stream")


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
