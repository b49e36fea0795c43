"""An Azure Blob Storage server of one directory, after the public REST contract (List Blobs, Get Blob) as far as readers use
it: containers are the directory's own. The account is the path's first part, as in the official emulator. Prints its port and
serves until its stdin is closed.

    azblob.py DIRECTORY [PORT]

PUT /pages?failures=503,0 makes each listing come in pages of one blob. The requests of the second page fail with these statuses
before it comes; 0 ends the connection.
"""

import base64
import hashlib
import os
import re
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Account(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root = ""
    # None where a listing is one page.
    failures = None

    def do_PUT(self):
        failures = parse_qs(urlsplit(self.path).query).get("failures", [])
        Account.failures = [int(status) for status in ",".join(failures).split(",") if status]
        self.answer(200, "text/plain", b"", {})

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        # The account, the container, and perhaps a blob.
        parts = unquote(url.path).strip("/").split("/", 2)
        if len(parts) < 2 or ".." in parts[-1] or not os.path.isdir(os.path.join(self.root, parts[1])):
            return self.fail(404, "ContainerNotFound", "The specified container does not exist.")
        container = os.path.join(self.root, parts[1])
        if query.get("comp") == "list":
            return self.list(parts[1], container, query.get("prefix", ""), int(query.get("marker", "0")))
        path = os.path.join(container, parts[2]) if len(parts) == 3 else ""
        if not os.path.isfile(path):
            return self.fail(404, "BlobNotFound", "The specified blob does not exist.")
        with open(path, "rb") as file:
            content = file.read()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("x-ms-range") or self.headers.get("Range") or "")
        headers = {"ETag": etag(path), "Last-Modified": modified(path), "x-ms-blob-type": "BlockBlob"}
        if not wanted:
            return self.answer(200, "application/octet-stream", content, headers)
        start = int(wanted[1])
        part = content[start : int(wanted[2]) + 1 if wanted[2] else None]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        return self.answer(206, "application/octet-stream", part, headers)

    def list(self, name, container, prefix, start):
        if start == 1 and self.failures:
            status = self.failures.pop(0)
            self.close_connection = status == 0
            return self.fail(status, "AsTheTestWishes", "") if status else None
        blobs = []
        for directory, _, files in sorted(os.walk(container)):
            for file in sorted(files):
                path = os.path.join(directory, file)
                blob = os.path.relpath(path, container)
                if blob.startswith(prefix):
                    blobs.append(
                        f"<Blob><Name>{escape(blob)}</Name><Properties><Last-Modified>{modified(path)}</Last-Modified>"
                        f"<Etag>{etag(path)}</Etag><Content-Length>{os.path.getsize(path)}</Content-Length>"
                        f"<Content-MD5>{md5(path)}</Content-MD5>"
                        "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
                    )
        end = len(blobs) if self.failures is None else start + 1
        next_marker = f"<NextMarker>{end}</NextMarker>" if end < len(blobs) else "<NextMarker />"
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://localhost/" '
            f'ContainerName="{name}"><Prefix>{escape(prefix)}</Prefix><Blobs>{"".join(blobs[start:end])}</Blobs>{next_marker}'
            "</EnumerationResults>"
        )
        return self.answer(200, "application/xml", body.encode(), {})

    def fail(self, code, error, message):
        body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{error}</Code><Message>{message}</Message></Error>'
        self.answer(code, "application/xml", body.encode(), {"x-ms-error-code": error})

    def answer(self, code, kind, body, headers):
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def md5(path):
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.md5(file.read()).digest()).decode()


def etag(path):
    return f'"0x{os.stat(path).st_mtime_ns:X}"'


def modified(path):
    return formatdate(os.path.getmtime(path), usegmt=True)


def main():
    Account.root = os.path.abspath(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Account)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


main()
