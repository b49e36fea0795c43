"""Hostile clients of the gRPC port, each the worst of its kind, by frames made by hand."""

import gzip
import struct
import threading

from sockets import connect, hold, once

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
