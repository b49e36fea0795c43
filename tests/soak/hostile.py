"""Clients that mean harm, or do it: each of them the worst of its kind, for as long as a run lasts.

All of them speak raw bytes, because client libraries refuse most of this. Every loop ends with the run; every socket has a limit of
time.
"""

import gzip
import json
import random
import socket
import struct
import threading
import urllib.request

from server import ADMIN_TOKEN, MODELS

CONNECT_S = 5
STALL_S = 2


def connect(port, receive_bytes=None):
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(CONNECT_S)
    client.connect(("127.0.0.1", port))
    return client


def post(path, body, *headers):
    head = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def hold(stop, port, count, send, seconds=20):
    """Opens `count` connections, sends on each, reads nothing, and leaves after a while; again until `stop`."""
    while not stop.is_set():
        clients = []
        try:
            for number in range(count):
                if stop.is_set():
                    break
                try:
                    client = connect(port, 4096)
                    clients.append(client)
                    client.settimeout(STALL_S)
                    send(client, number)
                except OSError:
                    pass
            stop.wait(seconds)
        finally:
            for client in clients:
                client.close()


def exchange(stop, port, message, pause=0.0):
    """Sends a message on a new connection, reads the answer to its end or for a while; again until `stop`."""
    while not stop.is_set():
        try:
            with connect(port) as client:
                client.settimeout(15)
                client.sendall(message)
                while client.recv(65536):
                    pass
        except OSError:
            pass
        stop.wait(pause)


# HTTP/1.1

def silent_bodies(server, stop):
    hold(stop, server.port, 200, lambda client, _: client.sendall(post("/", b"x", "X: y").replace(b": 1\r", b": 10000000\r")))


def large_heads(server, stop):
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 1200) for n in range(90))
    hold(stop, server.port, 1500, lambda client, _: client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields))


def pipelined_and_unread(server, stop):
    gets = b"GET /models HTTP/1.1\r\nHost: a\r\n\r\n" * 25_000
    hold(stop, server.port, 20, lambda client, _: client.sendall(gets))


def answers_unread(server, stop):
    row = json.dumps(["z" * 50_000, "y"])
    body = ('{"x": [' + ",".join([row] * 190) + "]}").encode()
    hold(stop, server.port, 60, lambda client, _: client.sendall(post("/models/kitchen/echo_string", body)))


def one_byte_then_silence(server, stop):
    get = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nG"
    hold(stop, server.port, 300, lambda client, _: client.sendall(get))


def endless_body_behind_404(server, stop):
    head = b"POST /web/none/at/all HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    while not stop.is_set():
        try:
            with connect(server.port) as client:
                client.sendall(head)
                while not stop.is_set():
                    client.sendall(chunk)
        except OSError:
            stop.wait(0.1)


def bombs(server, stop):
    """10 KB that inflate to 10 MB."""
    row = b'{"x": [' + b"1," * 5_000_000 + b"1]}"
    body = gzip.compress(row)
    message = post("/models/half_plus_two/serving_default", body, "Content-Encoding: gzip", "Connection: close")
    run_each(stop, [lambda: exchange(stop, server.port, message)] * 4)


def empty_arrays(server, stop):
    body = b'{"instances": [' + b"[]," * 3_000_000 + b"[]]}"
    exchange(stop, server.port, post("/v1/models/kitchen:predict", body, "Connection: close"), 0.2)


def empty_strings(server, stop):
    body = b'{"text": [' + b'"",' * 3_000_000 + b'""]}'
    exchange(stop, server.port, post("/models/kitchen/length", body, "Connection: close"), 0.2)


def contexts(server, stop):
    context = json.dumps({"c": "x" * 1000})
    body = f'{{"context": {context}, "examples": [{",".join(["{}"] * 300_000)}]}}'.encode()
    exchange(stop, server.port, post("/v1/models/kitchen:classify", body, "Connection: close"), 0.2)


def trickle(server, stop):
    """A byte a second, of heads and of bodies."""
    def one(first):
        while not stop.is_set():
            try:
                with connect(server.port) as client:
                    client.sendall(first)
                    for byte in b'{"x": [1,2,3,4,5,6,7,8,9]}':
                        if stop.wait(1):
                            return
                        client.sendall(bytes([byte]))
            except OSError:
                stop.wait(0.5)
    heads = [b"POST / HTTP/1.1\r\nHost: a\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"]
    run_each(stop, [lambda head=head: one(head) for head in heads * 10])


def leaving(server, stop, seed=5):
    """Sends requests, some in part, and leaves before the answer."""
    chance = random.Random(seed)
    bodies = [b'{"x": [1, 2, 3]}', b'{"loops": [5]}', b'{"x": [' + b"1," * 100_000 + b"1]}"]
    paths = ["/models/half_plus_two/serving_default", "/models/kitchen/slow", "/models/half_plus_two/serving_default"]
    while not stop.is_set():
        choice = chance.randrange(3)
        message = post(paths[choice], bodies[choice])
        try:
            with connect(server.port) as client:
                client.sendall(message[: chance.choice([len(message), chance.randrange(len(message))])])
        except OSError:
            pass
        stop.wait(0.02)


def bad(server, stop, seed=6):
    """Requests that are wrong in every way that a client gets wrong."""
    chance = random.Random(seed)
    bodies = [b"", b"{", b'{"x": "a"}', b'{"x": [[1]]}', b'{"y": [1]}', b"[" * 50_000, b'{"x": [1e999]}', b"\xff\xfe", b'{"x": null}']
    paths = ["/models/half_plus_two/serving_default", "/v1/models/half_plus_two:predict", "/models/none", "/models/kitchen/fails", "/nothing"]
    while not stop.is_set():
        message = post(chance.choice(paths), chance.choice(bodies), "Connection: close")
        if chance.random() < 0.2:
            at = chance.randrange(len(message))
            message = message[:at] + chance.randbytes(4) + message[at:]
        exchange(once(), server.port, message)
        stop.wait(0.01)


def mute_urls(server, stop, origin):
    def body():
        urls = [{"url": f"http://127.0.0.1:{origin.port}/mute/{random.random()}"} for _ in range(160)]
        return json.dumps({"text": urls}).encode()
    while not stop.is_set():
        exchange(once(), server.port, post("/models/kitchen/length", body(), "Connection: close"))


def slow_model(server, stop):
    message = post("/models/kitchen/slow", b'{"loops": [200, 200]}', "Connection: close")
    run_each(stop, [lambda: exchange(stop, server.port, message)] * 2)


def changes(server, stop):
    """Models that come and go over HTTP, good ones and bad ones, with callers that do not wait."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    uris = [str(MODELS / "half_plus_three"), str(MODELS / "broken_variables"), "/nowhere"]
    chance = random.Random(7)
    while not stop.is_set():
        body = json.dumps({"uri": chance.choice(uris)}).encode()
        method, data = chance.choice([("POST", body), ("DELETE", None)])
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/models/changing", data, headers, method=method)
        try:
            urllib.request.urlopen(request, timeout=chance.choice([0.05, 20])).read()
        except OSError:
            pass
        stop.wait(0.3)


# HTTP/2 and gRPC, by raw frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(4, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def field(name, value):
    """A literal field without indexing, with lengths of less than 2^14."""
    def text(value):
        value = value.encode()
        if len(value) < 127:
            return bytes([len(value)]) + value
        left, size = len(value) - 127, bytes([127])
        while left >= 128:
            size += bytes([left % 128 + 128])
            left //= 128
        return size + bytes([left]) + value
    return b"\0" + text(name) + text(value)


def call(stream, path, data=None, end=True, more=()):
    """The frames of a gRPC call whose message has these bytes."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a"), ("te", "trailers"),
              ("content-type", "application/grpc"), *more]
    block = b"".join(field(*one) for one in fields)
    frames = frame(1, 4 | (1 if data is None and end else 0), stream, block[:16000])
    if len(block) > 16000:
        frames = frame(1, 0, stream, block[:16000]) + frame(9, 4, stream, block[16000:])
    if data is not None:
        parts = [data[at : at + 16000] for at in range(0, len(data), 16000)] or [b""]
        for number, part in enumerate(parts):
            frames += frame(0, 1 if end and number == len(parts) - 1 else 0, stream, part)
    return frames


def message(payload, compressed=0):
    return bytes([compressed]) + struct.pack(">I", len(payload)) + payload


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def part(number, payload):
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


PREDICT = "/tensorflow.serving.PredictionService/Predict"
SPEC = part(1, part(1, b"half_plus_two"))


def streams(first=1):
    return range(first, 2**20, 2)


def announced(server, stop):
    """Calls that announce 64 MiB and send one byte."""
    def send(client, _):
        client.sendall(PREFACE + settings())
        for stream in streams():
            if stream > 200:
                return
            client.sendall(call(stream, PREDICT, b"\0" + struct.pack(">I", 64 << 20) + b"\x0a", end=False))
    hold(stop, server.grpc_port, 10, send)


def _grpc_once(stop, server, frames, pause):
    while not stop.is_set():
        try:
            with connect(server.grpc_port) as client:
                client.settimeout(15)
                client.sendall(PREFACE + settings((4, 2**31 - 1)) + frame(8, 0, 0, struct.pack(">I", 2**30)))
                # The server opens its windows as it reads.
                reader = threading.Thread(target=_drain, args=(client,), daemon=True)
                reader.start()
                client.sendall(frames)
                reader.join(10)
        except OSError:
            pass
        stop.wait(pause)


def _drain(client):
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass


def map_keys(server, stop):
    """Distinct keys with empty tensors."""
    entries = b"".join(part(2, part(1, b"%07d" % number) + part(2, b"")) for number in range(4000))
    _grpc_once(stop, server, call(1, PREDICT, message(SPEC + entries)), 0.05)


def empty_parts(server, stop):
    """8 MiB of empty parts in a few KiB of gzip, for every repeated field that there is."""
    bodies = [
        (PREDICT, SPEC + part(2, part(1, b"x") + part(2, part(2, part(2, b"") * (2 << 20))))),
        (PREDICT, SPEC + part(2, part(1, b"x") + part(2, part(8, b"") * (4 << 20)))),
        (PREDICT, SPEC + part(3, b"") * (4 << 20)),
        ("/tensorflow.serving.PredictionService/MultiInference", part(1, b"") * (4 << 20)),
        ("/tensorflow.serving.PredictionService/Classify", SPEC + part(2, part(1, part(1, b"") * (4 << 20)))),
        ("/tensorflow.serving.ModelService/HandleReloadConfigRequest", part(1, part(1, part(1, b"") * (4 << 20)))),
    ]
    packed = [(path, gzip.compress(body)) for path, body in bodies]
    for path, body in packed * 10_000:
        if stop.is_set():
            return
        frames = call(1, path, message(body, 1), more=[("grpc-encoding", "gzip")])
        _grpc_once(once(), server, frames, 0)


def grpc_heads(server, stop):
    more = [(f"x-{number}", "v" * 5000) for number in range(3)]
    def send(client, _):
        client.sendall(PREFACE + settings())
        for stream in streams():
            if stream > 500:
                return
            client.sendall(call(stream, PREDICT, None, end=False, more=more))
    hold(stop, server.grpc_port, 30, send)


def window_of_zero(server, stop):
    """Calls whose answers are never taken: no window, neither of the stream nor of the connection."""
    tensor = part(2, part(1, b"x") + part(2, b"\x08\x01" + part(2, part(2, b"\x08" + varint(1 << 20))) + part(5, struct.pack("<f", 1))))
    def send(client, _):
        client.sendall(PREFACE + settings((4, 0)))
        for stream in streams():
            if stream > 24:
                return
            client.sendall(call(stream, PREDICT, message(SPEC + tensor)))
    hold(stop, server.grpc_port, 12, send)


def reflections(server, stop):
    """A stream of questions about every file, whose answers are never taken."""
    question = message(part(4, b"tensorflow.serving.PredictionService"))
    def send(client, _):
        client.sendall(PREFACE + settings((4, 0)))
        for stream in streams():
            if stream > 100:
                return
            client.sendall(call(stream, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", question * 100, end=False))
    hold(stop, server.grpc_port, 10, send)


def watches(server, stop):
    def send(client, _):
        client.sendall(PREFACE + settings())
        for stream in streams():
            if stream > 512:
                return
            client.sendall(call(stream, "/grpc.health.v1.Health/Watch", message(b"")))
    hold(stop, server.grpc_port, 40, send)


def silent_grpc(server, stop):
    hold(stop, server.grpc_port, 1200, lambda client, _: None)


def huge_empty_shapes(server, stop):
    tensor = part(2, part(1, b"x") + part(2, b"\x08\x01" + part(2, part(2, b"\x08" + varint(1 << 58)) + part(2, b"\x08\0"))))
    _grpc_once(stop, server, call(1, PREDICT, message(SPEC + tensor)), 0.05)


def once():
    """An event for one round of a loop that ends when it is set."""
    event = threading.Event()
    first = []

    def is_set():
        first.append(1)
        return len(first) > 1
    event.is_set = is_set
    event.wait = lambda *_: True
    return event


def run_each(stop, functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Of a soak: what clients of every day do wrong.
EVERYDAY = [leaving, bad, trickle, slow_model, changes, silent_bodies, answers_unread, bombs]
# Of the limits: the worst of all kinds at once.
WORST = [
    silent_bodies, large_heads, pipelined_and_unread, answers_unread, one_byte_then_silence, endless_body_behind_404, bombs,
    empty_arrays, empty_strings, contexts, trickle, leaving, bad, slow_model, changes, announced, map_keys, empty_parts, grpc_heads,
    window_of_zero, reflections, watches, silent_grpc, huge_empty_shapes,
]
