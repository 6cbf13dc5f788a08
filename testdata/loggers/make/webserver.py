"""Starts web servers for the scripts that record access logs."""

import contextlib
import http.client
import socket
import subprocess
import time


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@contextlib.contextmanager
def running(command, port, **options):
    """Starts a server, waits until it listens on the port, and ends it."""
    server = subprocess.Popen(command, **options)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(5)


def request(port, path, agent):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    conn.request("GET", path, headers={"User-Agent": agent})
    conn.getresponse().read()
