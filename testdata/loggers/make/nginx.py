"""Sends requests to nginx, which logs them as in examples/nginx, and writes the log to
nginx.body. The times, the request ids and the port are replaced, because nginx has no
options for them.

usage: nginx.py NGINX DIRECTORY
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from webserver import free_port, request, running

EXAMPLE = pathlib.Path(__file__).parents[3] / "examples/nginx/ingest.conf"


def main(nginx, out):
    port = free_port()
    with tempfile.TemporaryDirectory() as tmp:
        conf = pathlib.Path(tmp, "nginx.conf")
        include = EXAMPLE.read_text().replace("/var/log/nginx", tmp)
        conf.write_text(f"""pid {tmp}/pid; error_log {tmp}/error.log; master_process off; daemon off; events {{}}
http {{ {include}
server {{ listen 127.0.0.1:{port};
location /ok {{ return 200; }} location /teapot {{ return 418; }} location /broken {{ return 502; }} }} }}""")
        with running([nginx, "-c", conf, "-p", tmp], port, stderr=subprocess.DEVNULL):
            request(port, "/ok?q=%22", 'quoted "agent" \\ é'.encode())
            request(port, "/teapot", b"tab\tand \x7f")
            request(port, "/broken", b"latin1 \xe9")
        log = pathlib.Path(tmp, "access.json").read_bytes()
    log = b"".join(line for line in log.splitlines(True) if b'"status":400' not in line)
    log = re.sub(rb'"time":"[^"]*"', b'"time":"2026-11-22T15:24:00+00:00"', log)
    log = re.sub(rb'"request_id":"[^"]*"', b'"request_id":"0123456789abcdef0123456789abcdef"', log)
    log = log.replace(b":%d" % port, b":8080")
    pathlib.Path(out, "nginx.body").write_bytes(log)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
