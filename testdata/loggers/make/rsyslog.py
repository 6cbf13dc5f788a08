"""Sends syslog lines to rsyslogd, whose module omhttp posts them to a server
that writes the request body to a file.

usage: rsyslog.py RSYSLOGD MODULES DIRECTORY
"""

import http.server
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

# The lines have the format of RFC 5424, which includes the time and severity.
LINES = [
    "<15>1 2026-11-22T15:24:01.123456Z web-1 shop 42 - - cache miss",
    "<14>1 2026-11-22T15:24:02.123456Z web-1 shop 42 - - commande passée à « Zoé » — 注文 ✓ 🚀",
    '<14>1 2026-11-22T15:24:03.123456Z web-1 shop 42 - - payload was {"level":"error","message":"inner"}',
    "<13>1 2026-11-22T15:24:04.123456Z web-1 shop 42 - - significant",
    "<12>1 2026-11-22T15:24:05.123456Z web-1 shop 42 - - slow request",
    "<11>1 2026-11-22T16:24:06.5+01:00 web-2 shop 42 - - payment failed: \"card declined\" C:\\temp </b> & 'rest'",
    "<11>1 2026-11-22T15:24:07Z web-1 shop - - - \x1b[31mred\x1b[0m alert\ttab",
    b"<11>1 2026-11-22T15:24:08Z web-1 shop - - - caf\xe9 in Latin-1",
    "<10>1 2026-11-22T15:24:09.123456Z web-1 kernel - - - disk failing",
    "<8>1 2026-11-22T15:24:10.123456Z web-1 kernel - - - giving up",
]


def capture(rsyslogd, modules, form):
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer()

        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer()

        def answer(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as tmp:
        conf = pathlib.Path(__file__).with_name("rsyslog.conf").read_text()
        for name, value in [("DIR", tmp), ("PORT", str(server.server_port)), ("FORMAT", form)]:
            conf = conf.replace(name, value)
        pathlib.Path(tmp, "rsyslog.conf").write_text(conf)
        daemon = subprocess.Popen(
            [rsyslogd, "-n", "-M", modules, "-f", tmp + "/rsyslog.conf", "-i", tmp + "/pid"])
        try:
            port = pathlib.Path(tmp, "port")
            while not (port.exists() and port.read_text().strip()):
                if daemon.poll() is not None:
                    sys.exit("rsyslogd exited")
                time.sleep(0.05)
            with socket.create_connection(("127.0.0.1", int(port.read_text()))) as s:
                for line in LINES:
                    s.sendall((line if isinstance(line, bytes) else line.encode()) + b"\n")
            for _ in range(200):
                if bodies:
                    break
                time.sleep(0.05)
        finally:
            daemon.terminate()
            daemon.wait()
    if len(bodies) != 1:
        sys.exit(f"requests: got {len(bodies)}, want 1")
    return bodies[0]


def main():
    rsyslogd, modules, out = sys.argv[1:]
    for name, form in [("rsyslog-newline", "newline"), ("rsyslog-jsonarray", "jsonarray")]:
        pathlib.Path(out, name + ".body").write_bytes(capture(rsyslogd, modules, form))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
