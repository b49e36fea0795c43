"""Hostile clients of the HTTP port, each the worst of its kind."""

import gzip
import json
import random
import urllib.request

from server import ADMIN_TOKEN, MODELS
from sockets import connect, exchange, hold, once, post, run_each


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
