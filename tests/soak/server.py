"""The server under test, the store and the origin beside it, and what is read of the server while it runs."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "tests" / "models"
ADMIN_TOKEN = "soak"
READY_WAIT_S = 60


def free_port():
    """A port that is free now. Nothing else of a soak takes one by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Store:
    """A store with half_plus_two, which a run kills and starts again at the same address."""

    def __init__(self, work: Path):
        self.port = free_port()
        self.root = work / "store"
        shutil.copytree(MODELS / "half_plus_two", self.root / "moving")
        self.process = None
        self.start()

    def start(self):
        command = [sys.executable, ROOT / "tests" / "servers" / "azblob.py", self.root, str(self.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def publish(self, version: int):
        """Adds a version beside the others, and removes all but it and the one before."""
        new = self.root / f"unfinished-{version}"
        shutil.copytree(MODELS / "half_plus_two" / "1", new)
        new.rename(self.root / "moving" / str(version))
        for old in (self.root / "moving").iterdir():
            if int(old.name) < version - 1:
                shutil.rmtree(old)


class Origin:
    """An origin of URL inputs: `/BYTES/SEED` is a body that its path alone gives, `/mute` never answers."""

    def __init__(self):
        self.port = free_port()
        self.server = None
        self.muted = threading.Event()
        self.start()

    def start(self):
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.startswith("/mute"):
                    origin.muted.wait(30)
                    return
                body = Origin.body(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def kill(self):
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def body(path: str) -> bytes:
        size, seed = (int(part) for part in path.strip("/").split("/"))
        return bytes((seed + place * 7) % 251 for place in range(size))


class Server:
    """tfweb with default flags but for ports, models, tokens and the store."""

    def __init__(self, binary: Path, work: Path, store: Store, origin: Origin, memory_bytes=None):
        self.grpc_port = free_port()
        command = [
            binary, "--host", "127.0.0.1", "--port", "0", "--grpc_port", str(self.grpc_port),
            "--model", MODELS / "half_plus_two", "--model", MODELS / "kitchen", "--model", MODELS / "operations",
            "--model", "moving=az://moving", "--cache_dir", work / "cache", "--poll_seconds", "1",
            "--admin_token", ADMIN_TOKEN, "--url_allow", f"127.0.0.1:{origin.port}",
        ]
        storage = f"AccountName=dev;BlobEndpoint=http://127.0.0.1:{store.port}/dev;AccountKey=c2VjcmV0"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TFWEB_")}

        def limits():
            if memory_bytes:
                resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))

        self.log_path = work / "log"
        log = open(self.log_path, "wb")
        self.process = subprocess.Popen([str(part) for part in command], stderr=log, preexec_fn=limits,
                                        env={**environment, "AZURE_STORAGE_CONNECTION_STRING": storage})
        self.port = self._wait_until_ready()

    def _wait_until_ready(self):
        end = time.monotonic() + READY_WAIT_S
        while time.monotonic() < end:
            found = re.search(r"listening on http://\S+:(\d+)", self.log())
            # It is ready with the first of its models. Answers are checked for all of them.
            if found and "models loaded: " in self.log() and self.is_ready(int(found[1])):
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"tfweb did not start:\n{self.log()}")

    @staticmethod
    def is_ready(port):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200
        except (OSError, urllib.error.URLError):
            return False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def memory_kib(self, field="VmRSS"):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise SystemExit(f"tfweb has ended; its log ends with:\n{self.log()[-3000:]}")

    def stats(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=10) as answer:
            return json.load(answer)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(name + r"(\{| )", line))

    def stop(self):
        """Ends it as a supervisor does; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)
