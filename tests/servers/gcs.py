"""A Google Cloud Storage server (gcp-storage-emulator) with the bucket `models`, in memory. Prints its port and serves until
its stdin is closed."""

import os
import sys

from gcp_storage_emulator.server import create_server

server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="models")
server.start()
print(server._api._httpd.server_port, flush=True)
sys.stdin.read()
# Threads of requests would be waited for.
os._exit(0)
