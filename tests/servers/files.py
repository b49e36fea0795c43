"""The web server of files that `python -m http.server` starts, which speaks HTTP/1.0. Prints its port and serves until it is ended.

    files.py DIRECTORY
"""

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # Python's own 5 let the kernel drop who comes in a crowd, to try again a second later.
    request_queue_size = 128


server = Server(("127.0.0.1", 0), functools.partial(Files, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
