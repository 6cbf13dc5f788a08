"""Makes PostgreSQL log in JSON, and writes the log to postgres.body. The times, process
ids and session ids are replaced. It runs as a user other than root.

usage: postgres.py BIN DIRECTORY    (BIN contains initdb, pg_ctl and psql)
"""

import itertools
import pathlib
import re
import subprocess
import sys
import tempfile

CONFIG = """
logging_collector = on
log_destination = jsonlog
log_directory = log
log_filename = postgres
log_min_messages = debug1
log_timezone = UTC
listen_addresses = ''
unix_socket_directories = '{}'
"""

SQL = """do $$ begin
raise debug 'cache miss';
raise info 'commande passée à « Zoé »';
raise log 'payload was {"error_severity":"ERROR"}';
raise notice 'listening';
raise warning 'slow request';
end $$;
select 1/0;
select 'said "no"
then C:\\temp' from missing;
select pg_terminate_backend(pg_backend_pid());
"""


def main(programs, out):
    programs = pathlib.Path(programs)
    with tempfile.TemporaryDirectory() as tmp:
        data = pathlib.Path(tmp, "data")
        subprocess.run([programs / "initdb", "-A", "trust", "-E", "UTF8", "--locale", "C", "-D", data, "-U", "shop"],
                       check=True, stdout=subprocess.DEVNULL)
        with open(data / "postgresql.conf", "a") as config:
            config.write(CONFIG.format(tmp))
        control = [programs / "pg_ctl", "-s", "-w", "-D", data]
        subprocess.run([*control, "start"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([programs / "psql", "-q", "-h", tmp, "-U", "shop", "postgres"], input=SQL.encode(),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([*control, "stop"], check=True)
        lines = (data / "log/postgres.json").read_text("utf-8").splitlines()
    seconds = itertools.count()
    body = ""
    for line in lines:
        if '"application_name":"psql"' not in line:
            continue
        line = re.sub(r'"timestamp":"[^"]*"', f'"timestamp":"2026-11-22 15:24:{next(seconds):02}.123 UTC"', line)
        line = re.sub(r'"session_start":"[^"]*"', '"session_start":"2026-11-22 15:24:00 UTC"', line)
        line = re.sub(r'"pid":\d+', '"pid":42', line)
        line = re.sub(r'"session_id":"[^"]*"', '"session_id":"6b075397.2a"', line)
        body += re.sub(r'"vxid":"[^"]*"', '"vxid":"3/2"', line) + "\n"
    pathlib.Path(out, "postgres.body").write_text(body, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
