"""Sockets of hostile clients: raw bytes, since client libraries refuse most of this. Every loop ends with the run, and every socket has
a limit of time."""

import socket
import threading

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
