"""Asks one URL ten times a second, and prints `status seconds` for each answer.

It is a process of its own: in the process of the other clients it would measure how long Python makes it wait for them.
"""

import http.client
import sys
import time

PAUSE_S = 0.1
TIMEOUT_S = 40


def main(port, path):
    connection = None
    while True:
        start = time.monotonic()
        status, connection = ask(port, path, connection)
        print(status, time.monotonic() - start, flush=True)
        time.sleep(PAUSE_S)


def ask(port, path, kept):
    """The status, and the connection if it is still open. A kept connection may end before a request; a fresh one may not."""
    connection = kept or http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return (type(error).__name__, None) if kept is None else ask(port, path, None)
    return answer.status, None if answer.will_close else connection


main(int(sys.argv[1]), sys.argv[2])
