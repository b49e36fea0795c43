"""A WebHDFS server of one directory, after the public REST contract (Hadoop's WebHDFS page): GETFILESTATUS, LISTSTATUS, and
OPEN, which a namenode answers with a redirect to a datanode. Namenode and datanode are two ports.

    webhdfs.py DIRECTORY   prints the namenode's port and serves until its stdin is closed

PUT /faults/PATH?how=503&times=2 makes the next two LISTSTATUS of a path fail: with a status, or how=drop with a connection that
ends. GET /faults/PATH tells how many are left, and /listed/PATH how often the path was listed or not.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

PREFIX = "/webhdfs/v1"


class Node(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root = ""
    datanode_port = None
    faults = {}
    listed = {}

    def do_PUT(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.faults[url.path.removeprefix("/faults")] = query["how"] * int(query["times"][0])
        self.answer(200, "text/plain", b"")

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path.startswith("/faults/"):
            return self.json(200, len(self.faults.get(url.path.removeprefix("/faults"), [])))
        if url.path.startswith("/listed/"):
            return self.json(200, self.listed.get(url.path.removeprefix("/listed"), 0))
        query = {name.lower(): values[0] for name, values in parse_qs(url.query).items()}
        path = os.path.normpath(self.root + "/" + unquote(url.path.removeprefix(PREFIX)))
        if not (url.path.startswith(PREFIX + "/") and path.startswith(self.root)):
            return self.fail(404, "FileNotFoundException", url.path)
        if not os.path.exists(path):
            return self.fail(404, "FileNotFoundException", f"File {url.path} does not exist.")
        operation = query.get("op", "").upper()
        if operation == "GETFILESTATUS":
            return self.json(200, {"FileStatus": status(path, "")})
        if operation == "LISTSTATUS":
            listed = path.removeprefix(self.root)
            self.listed[listed] = self.listed.get(listed, 0) + 1
            if self.faults.get(listed):
                return self.fault(self.faults[listed].pop())
            names = sorted(os.listdir(path)) if os.path.isdir(path) else []
            statuses = [status(os.path.join(path, name), name) for name in names]
            return self.json(200, {"FileStatuses": {"FileStatus": statuses}})
        if operation == "OPEN":
            return self.open(path, url, query)
        return self.fail(400, "IllegalArgumentException", f"Invalid value for webhdfs parameter \"op\": {operation}")

    def fault(self, how):
        if how == "drop":
            self.close_connection = True
            return None
        exception = {"403": "AccessControlException", "404": "FileNotFoundException"}.get(how, "StandbyException")
        return self.fail(int(how), exception, "as the test wishes")

    def open(self, path, url, query):
        if self.server.server_port != self.datanode_port:
            location = f"http://127.0.0.1:{self.datanode_port}{quote(url.path)}?{url.query}"
            self.send_response(307)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        with open(path, "rb") as file:
            file.seek(int(query.get("offset", 0)))
            content = file.read(int(query["length"]) if "length" in query else -1)
        self.answer(200, "application/octet-stream", content)

    def json(self, code, value):
        self.answer(code, "application/json", json.dumps(value).encode())

    def fail(self, code, exception, message):
        remote = {"exception": exception, "javaClassName": f"java.io.{exception}", "message": message}
        self.json(code, {"RemoteException": remote})

    def answer(self, code, kind, body):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def status(path, suffix):
    is_directory = os.path.isdir(path)
    found = os.stat(path)
    return {
        "accessTime": 0,
        "blockSize": 0 if is_directory else 134217728,
        "childrenNum": 0,
        "fileId": found.st_ino,
        "group": "supergroup",
        "length": 0 if is_directory else found.st_size,
        "modificationTime": int(found.st_mtime * 1000),
        "owner": "hdfs",
        "pathSuffix": suffix,
        "permission": "755" if is_directory else "644",
        "replication": 0 if is_directory else 3,
        "storagePolicy": 0,
        "type": "DIRECTORY" if is_directory else "FILE",
    }


def main():
    Node.root = os.path.abspath(sys.argv[1])
    datanode = ThreadingHTTPServer(("127.0.0.1", 0), Node)
    namenode = ThreadingHTTPServer(("127.0.0.1", 0), Node)
    Node.datanode_port = datanode.server_port
    for node in (datanode, namenode):
        threading.Thread(target=node.serve_forever, daemon=True).start()
    print(namenode.server_port, flush=True)
    sys.stdin.read()


main()
