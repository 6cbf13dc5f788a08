"""Logs with .NET and writes its output to dotnet.body. The times are replaced, because
the logger has no option for them.

usage: dotnet.py DIRECTORY
"""

import itertools
import pathlib
import re
import subprocess
import sys
import tempfile

MAKE = pathlib.Path(__file__).parent


def main(out):
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([MAKE.parents[1] / "dotnet/build", MAKE / "dotnet/Fixtures.cs", tmp], check=True)
        log = subprocess.run([tmp + "/run"], check=True, capture_output=True).stdout
    seconds = itertools.count()
    log = re.sub(
        rb'"Timestamp":"[^"]*"', lambda _: b'"Timestamp":"2026-11-22T15:24:%02d.1234567Z"' % next(seconds), log)
    pathlib.Path(out, "dotnet.body").write_bytes(log)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
