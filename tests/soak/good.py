"""Clients whose every answer is known: an answer is exact, or says that the server is busy."""

import base64
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from server import ROOT, Origin

sys.path.insert(0, str(ROOT / ".venv-grpc"))

TIMEOUT_S = 40


class Tally:
    """What happened to requests, over all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {}
        self.wrong = []
        self.longest_s = {}

    def add(self, who, what, seconds=0.0):
        with self.lock:
            self.counts[who, what] = self.counts.get((who, what), 0) + 1
            self.longest_s[who] = max(self.longest_s.get(who, 0.0), seconds)

    def fail(self, who, text):
        with self.lock:
            self.wrong.append(f"{who}: {text[:500]}")


class Client:
    """A connection that is opened again when the server has closed it, as clients do."""

    def __init__(self, server):
        self.server, self.connection = server, None

    def call(self, method, path, body=None, headers=None):
        for attempt in (1, 2):
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT_S)
            try:
                self.connection.request(method, path, body, headers or {})
                answer = self.connection.getresponse()
                content = answer.read()
                if answer.will_close:
                    self.close()
                return answer.status, content
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A kept connection may end before a request; a fresh one may not.
                self.close()
                if fresh or attempt == 2:
                    raise

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def numbers(chance):
    count = chance.choice([1, 1, 1, 2, 7, 32, 100, 3000])
    return [chance.randrange(-1000, 1000) for _ in range(count)]


def native(client, chance):
    xs = numbers(chance)
    status, content = client.call("POST", "/models/half_plus_two/serving_default", json.dumps({"x": xs}))
    return status, status != 200 or json.loads(content)["y"] == [x / 2 + 2 for x in xs], content


def rest(client, chance):
    xs = numbers(chance)
    name = chance.choice(["half_plus_two", "moving"])
    status, content = client.call("POST", f"/v1/models/{name}:predict", json.dumps({"instances": xs}))
    return status, status != 200 or json.loads(content)["predictions"] == [x / 2 + 2 for x in xs], content


def text(client, chance):
    rows = [[base64.b64encode(chance.randbytes(chance.choice([0, 3, 5000]))).decode() for _ in range(2)] for _ in range(3)]
    body = json.dumps({"x": [[{"b64": value} for value in row] for row in rows]})
    status, content = client.call("POST", "/models/kitchen/echo_string", body)
    if status != 200:
        return status, True, content
    decoded = [[base64.b64encode(as_bytes(value)).decode() for value in row] for row in json.loads(content)["y"]]
    return status, decoded == rows, content


def as_bytes(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


def url(client, chance, port):
    path = f"/{chance.choice([10, 5000, 200_000])}/{chance.randrange(40)}"
    body = json.dumps({"text": [{"url": f"http://127.0.0.1:{port}{path}"}]})
    status, content = client.call("POST", "/models/kitchen/length", body)
    return status, status != 200 or json.loads(content)["bytes"] == [len(Origin.body(path))], content


def culprit(client, chance):
    """A request that fails for its own reason beside others of its signature that do not."""
    x = chance.randrange(-1, 9)
    status, content = client.call("POST", "/models/kitchen/fails", json.dumps({"x": [x]}))
    expected = status == 400 if x < 0 else status in (503, 504) or abs(json.loads(content)["y"][0] ** 2 - x) < 1e-4
    return (200 if x < 0 and status == 400 else status), expected, content


BUSY = {429, 503, 504}


def run(server, origin, tally, stop, who, seed):
    """Calls until `stop`, one request after another."""
    chance = random.Random(seed)
    client = Client(server)
    call = {"native": native, "rest": rest, "text": text, "culprit": culprit,
            "url": lambda client, chance: url(client, chance, origin.port)}[who]
    # An origin that a run kills is a fault that the answer names.
    allowed = BUSY | ({400, 502} if who == "url" else set())
    while not stop.is_set():
        start = time.monotonic()
        try:
            status, is_right, content = call(client, chance)
        except Exception as error:  # noqa: BLE001: whatever it is, the request is lost
            client.close()
            tally.fail(who, f"lost: {error!r}")
            continue
        seconds = time.monotonic() - start
        tally.add(who, status, seconds)
        if not is_right or (status != 200 and status not in allowed):
            tally.fail(who, f"{status}: {content.decode(errors='replace')}")
        if status != 200:
            stop.wait(0.05)


def grpc(server, tally, stop, seed):
    """The same over gRPC, by TensorFlow Serving's own client."""
    import grpc as library
    from tensorflow.core.framework import tensor_pb2
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    chance = random.Random(seed)
    channel = library.insecure_channel(f"127.0.0.1:{server.grpc_port}")
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    busy = {library.StatusCode.UNAVAILABLE, library.StatusCode.RESOURCE_EXHAUSTED, library.StatusCode.DEADLINE_EXCEEDED}
    while not stop.is_set():
        xs = numbers(chance)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "half_plus_two"
        tensor = tensor_pb2.TensorProto(dtype=1, float_val=[float(x) for x in xs])
        tensor.tensor_shape.dim.add(size=len(xs))
        request.inputs["x"].CopyFrom(tensor)
        start = time.monotonic()
        try:
            answer = stub.Predict(request, timeout=TIMEOUT_S)
        except library.RpcError as error:
            tally.add("grpc", error.code().name, time.monotonic() - start)
            if error.code() not in busy:
                tally.fail("grpc", f"{error.code()}: {error.details()}")
            stop.wait(0.05)
            continue
        tally.add("grpc", "OK", time.monotonic() - start)
        ys = list(answer.outputs["y"].float_val)
        if ys != [x / 2 + 2 for x in xs]:
            tally.fail("grpc", f"{xs[:5]} -> {ys[:5]}")


def livez(server, tally, stop):
    """Counts how /livez answers another process."""
    probe = Path(__file__).with_name("probe.py")
    command = [sys.executable, probe, str(server.port), "/livez"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        threading.Thread(target=lambda: (stop.wait(), process.kill()), daemon=True).start()
        for line in process.stdout:
            status, seconds = line.split()
            tally.add("livez", status, float(seconds))
            if status != "200":
                tally.fail("livez", status)
