"""Sends requests to Apache, which logs them as JSON, and writes the log to apache.body.
The times are replaced, because Apache has no option for them.

usage: apache.py APACHE2 MODULES DIRECTORY
"""

import pathlib
import re
import sys
import tempfile

from webserver import free_port, request, running

# The first format has the time of the common log format, in brackets.
FORMATS = [
    r'{\"time\":\"%t\",\"level\":\"info\",\"message\":\"%r\",\"status\":%>s,\"agent\":\"%{User-Agent}i\"}',
    r'{\"time\":\"%{%Y-%m-%dT%H:%M:%S%z}t\",\"message\":\"%r\",\"status\":%>s}',
    r'{\"time\":%{msec}t,\"level\":\"error\",\"message\":\"%r\",\"microseconds\":%D}',
]


def main(apache, modules, out):
    port = free_port()
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
        with running([apache, "-D", "FOREGROUND", "-f", conf], port, env={"TZ": "UTC"}):
            request(port, "/apache2.conf?q=%22", 'quoted "agent"')
            request(port, "/missing", "plain")
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
