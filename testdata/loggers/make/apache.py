"""Sends requests to Apache, which logs them as JSON, and writes the log to apache.body.
The times and the port are replaced, because Apache has no options for them.

usage: apache.py APACHE2 MODULES DIRECTORY
"""

import http.client
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

# The first format has the time of the common log format, in brackets.
FORMATS = [
    r'{\"time\":\"%t\",\"level\":\"info\",\"message\":\"%r\",\"status\":%>s,\"agent\":\"%{User-Agent}i\"}',
    r'{\"time\":\"%{%Y-%m-%dT%H:%M:%S%z}t\",\"message\":\"%r\",\"status\":%>s}',
    r'{\"time\":%{msec}t,\"level\":\"error\",\"message\":\"%r\",\"microseconds\":%D}',
]


def request(port, path, agent):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    conn.request("GET", path, headers={"User-Agent": agent})
    conn.getresponse().read()


def main(apache, modules, out):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as tmp:
        conf = pathlib.Path(tmp, "apache2.conf")
        load = "".join(f"LoadModule {m}_module {modules}/mod_{m}.so\n" for m in ["mpm_event", "authz_core"])
        logs = "".join(f'CustomLog {tmp}/{i}.json "{format}"\n' for i, format in enumerate(FORMATS))
        conf.write_text(f"""ServerName localhost
ServerRoot {tmp}
Listen 127.0.0.1:{port}
PidFile {tmp}/pid
ErrorLog {tmp}/error.log
DocumentRoot {tmp}
{load}{logs}""")
        server = subprocess.Popen([apache, "-D", "FOREGROUND", "-f", conf], env={"TZ": "UTC"})
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            request(port, "/apache2.conf?q=%22", 'quoted "agent"')
            request(port, "/missing", "plain")
        finally:
            server.terminate()
            server.wait(5)
        log = b"".join(pathlib.Path(tmp, f"{i}.json").read_bytes() for i in range(len(FORMATS)))
    log = b"".join(line for line in log.splitlines(True) if b'"-"' not in line)
    log = re.sub(rb"\[\d\d/[^]]*\]", b"[22/Nov/2026:15:24:00 +0000]", log)
    log = re.sub(rb'"time":"\d[^"]*"', b'"time":"2026-11-22T15:24:00+0000"', log)
    log = re.sub(rb'"time":\d+', b'"time":1795361040123', log)
    log = re.sub(rb'"microseconds":\d+', b'"microseconds":85', log)
    pathlib.Path(out, "apache.body").write_bytes(log)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
