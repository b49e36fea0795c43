"""Compare tfweb with the least that could do the same work.

    make bench            # all
    .venv/bin/python benches/run.py [half_plus_two] [pixels] [rows] [images] [grpc]
                                    [overload]

    half_plus_two  one row over HTTP, 64 connections, beside an actix-web
                   handler that parses the same JSON and answers
    pixels         one 224x224x3 float32 row written as JSON numbers, 4
                   connections, beside a handler that parses the same text
                   into one vector
    rows           the same row at TensorFlow Serving's REST API, beside the
                   same handler
    images         base64 JPEG in JSON through a MobileNet-sized network, 16
                   connections, beside a loop around the session itself
    overload       the same images, three times as many a second as were
                   answered before, whatever becomes of them
    grpc           [32,224,224,3] float32 over gRPC, 1 connection and 4,
                   beside a tonic service that takes the message and drops it

Both sides of a comparison run in turn, several rounds; what counts is the
ratio, for the machine and its noise are the same for both. wrk makes the
load, on the same machine, bounded in time.
"""

import base64
import json
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "target" / "dist"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS", "5"))
PLAIN_PORT, GRPC_PORT, BARE_PORT = 8951, 8952, 8953
READY_WAIT_S = 60


@contextmanager
def tfweb(model: Path, *flags: str, grpc_port: int = 0):
    """Run tfweb on a free port and give its address."""
    command = [BUILT / "tfweb", "--model", model, "--port", "0",
               "--grpc_port", str(grpc_port), "--host", "127.0.0.1", *flags]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                yield found.group(1)
                return
        raise SystemExit("tfweb did not start")
    finally:
        server.terminate()
        server.communicate(timeout=READY_WAIT_S)


@contextmanager
def example(name: str, *args: str, port: int):
    """Run a server of benches/ until it listens, and give its address."""
    server = subprocess.Popen([BUILT / "examples" / name, *args, str(port)])
    try:
        for _ in range(READY_WAIT_S * 10):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=READY_WAIT_S)


def plain_server():
    """Run the plain handlers and give their address."""
    return example("plain_server", port=PLAIN_PORT)


def load(url: str, body: bytes, connections: int) -> float:
    """Post a body over and over; requests per second, all answered 200."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "body").write_bytes(body)
        script = Path(scratch) / "post.lua"
        script.write_text(
            'wrk.method = "POST"\n'
            f'wrk.body = io.open("{scratch}/body", "rb"):read("*a")\n')
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s",
             "--timeout", "30s", "-s", script, url],
            check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"{url}: failed requests\n{out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def compare(name: str, unit: str, ours, theirs, bar: float) -> bool:
    """Measure both in turn and print the ratio of each round."""
    ratios, rates = [], []
    for _ in range(ROUNDS):
        other, own = theirs(), ours()
        rates.append((own, other))
        ratios.append(own / other)
    own, other = (statistics.median(rate) for rate in zip(*rates))
    ratio = statistics.median(ratios)
    rounds = " ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"{name}: {own:,.0f} {unit} of {other:,.0f}; ratio {ratio:.2f} "
          f"(bar {bar}; rounds {rounds})", flush=True)
    return ratio >= bar


def half_plus_two(models: Path) -> bool:
    body = b'{"x": [1.0]}'
    with tfweb(models / "half_plus_two") as ours, plain_server() as plain:
        return compare("half_plus_two", "requests/s",
                       lambda: load(ours + "/", body, 64),
                       lambda: load(plain + "/", body, 64), 0.7)


def pixels_row() -> list:
    random.seed(1)
    return [[[round(random.random(), 4) for _ in range(3)]
             for _ in range(224)] for _ in range(224)]


def pixels(models: Path) -> bool:
    body = json.dumps({"x": [pixels_row()]}).encode()
    with tfweb(models / "pixels") as ours, plain_server() as plain:
        return compare("pixels", "requests/s",
                       lambda: load(ours + "/", body, 4),
                       lambda: load(plain + "/pixels", body, 4), 0.9)


def rows(models: Path) -> bool:
    row = pixels_row()
    body = json.dumps({"instances": [row]}).encode()
    native = json.dumps({"x": [row]}).encode()
    with tfweb(models / "pixels") as ours, plain_server() as plain:
        call = ours + "/v1/models/pixels:predict"
        return compare("rows", "requests/s", lambda: load(call, body, 4),
                       lambda: load(plain + "/pixels", native, 4), 0.7)


def images(models: Path) -> bool:
    threads = min(os.cpu_count() or 1, 4)
    batch = 4
    photo = models / "photo.jpg"
    text = base64.b64encode(photo.read_bytes()).decode()
    body = json.dumps({"image": [{"b64": text}]}).encode()

    def raw() -> float:
        command = [BUILT / "examples" / "raw_session",
                   models / "mobilenet", photo, threads, batch, SECONDS]
        out = subprocess.run([str(word) for word in command], check=True,
                             capture_output=True, text=True, cwd=ROOT)
        return float(out.stdout)

    flags = ["--batch_size", str(batch), "--run_threads", str(threads)]
    with tfweb(models / "mobilenet", *flags) as ours:
        return compare("images", "images/s",
                       lambda: load(ours + "/", body, 16), raw, 0.95)


def resident_mb(address: str) -> float:
    with urllib.request.urlopen(address + "/stats") as answer:
        return json.load(answer)["process"]["resident_bytes"] / 1e6


def overload(models: Path) -> bool:
    """Send three times what was answered; no round is compared."""
    deadline_ms = 2000
    text = base64.b64encode((models / "photo.jpg").read_bytes()).decode()
    body = json.dumps({"image": [{"b64": text}]}).encode()
    flags = ["--batch_size", "4", "--request_timeout_ms", str(deadline_ms)]
    with tfweb(models / "mobilenet", *flags) as ours, \
            tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()

        def send(rate: float, seconds: int) -> list[float]:
            command = [BUILT / "examples" / "open_loop",
                       ours.removeprefix("http://"), "/", file.name, rate,
                       seconds]
            out = subprocess.run([str(word) for word in command], check=True,
                                 capture_output=True, text=True).stdout
            return [float(word) for word in out.split()]

        capacity = load(ours + "/", body, 16)
        before, megabytes = send(1, 10)[1], resident_mb(ours)
        seconds = 30
        (answered, _, p99, refused, refusal_p50, refusal_p99, refusal_max,
         advised, others) = send(3 * capacity, seconds)
        grown, after = resident_mb(ours) - megabytes, send(1, 10)[1]
    share = answered / (capacity * seconds)
    print(f"overload: {3 * capacity:.0f} images/s for {seconds} s, of which "
          f"{capacity:.0f} can be answered: {share:.2f} of those were (bar "
          f"0.9), p99 {p99:.0f} ms (bar {deadline_ms}); {refused:.0f} refused, "
          f"p50 {refusal_p50:.1f} ms, p99 {refusal_p99:.1f} ms, longest "
          f"{refusal_max:.1f} ms (bar 20), with Retry-After {advised:.0f}; "
          f"others {others:.0f}; {grown:.0f} MB more; one alone {before:.1f} "
          f"ms before, {after:.1f} ms after", flush=True)
    return share >= 0.9 and p99 <= deadline_ms and advised == refused


def grpc(_: Path) -> bool:
    def rate(port: int, connections: int) -> float:
        command = [BUILT / "examples" / "grpc_load", "load", str(port),
                   str(SECONDS), str(connections)]
        out = subprocess.run(command, check=True, capture_output=True,
                             text=True).stdout
        return float(out.split()[0])

    model = Path("tests/models/kitchen")
    with tfweb(model, grpc_port=GRPC_PORT), \
            example("grpc_load", "bare", port=BARE_PORT):
        return all([
            compare(f"grpc, {count} connection{'s' * (count > 1)}", "MB/s",
                    lambda: rate(GRPC_PORT, count),
                    lambda: rate(BARE_PORT, count), 0.8)
            for count in (1, 4)])


def main() -> None:
    os.chdir(ROOT)
    chosen = sys.argv[1:] or ["half_plus_two", "pixels", "rows", "images",
                              "grpc", "overload"]
    version = subprocess.run(
        [BUILT / "tfweb", "--version"], check=True, capture_output=True,
        text=True).stdout.strip()
    print(f"{version}, {platform.machine()}, {os.cpu_count()} cores, "
          f"{platform.system()} {platform.release()}; {ROUNDS} rounds of "
          f"{SECONDS} s each; medians", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(os.environ.get("BENCH_MODELS", scratch))
        if not any(models.iterdir()):
            subprocess.run([sys.executable, "benches/make_models.py", models],
                           check=True, stdout=subprocess.DEVNULL)
        passed = [globals()[name](models) for name in chosen]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
