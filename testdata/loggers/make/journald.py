"""Writes journal entries with systemd-journal-remote, and what journalctl -o json makes
of them to journald.body. The cursors are replaced.

usage: journald.py SYSTEMD-JOURNAL-REMOTE DIRECTORY
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile

MESSAGES = [
    (7, "cache miss"),
    (6, "commande passée à « Zoé » — 注文 ✓ 🚀"),
    (6, 'payload was {"PRIORITY":"3","MESSAGE":"inner"}'),
    (5, "listening"),
    (4, "slow request"),
    (3, 'said "no"\nthen C:\\temp\\x and </script>\u2028end'),
    (3, "\x1b[31mred\x1b[0m alert"),  # a control character makes it an array of bytes
    (2, "giving up"),
    (1, "disk failed"),
    (0, "power lost"),
    (None, "without a priority"),
    (3, b"latin1 \xe9"),
]


def field(name, value):
    if isinstance(value, str):
        value = value.encode()
    if b"\n" not in value and value.isascii() and value.decode().isprintable():
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"


def main(remote, out):
    export = b""
    for i, (priority, message) in enumerate(MESSAGES):
        export += field("__REALTIME_TIMESTAMP", str(1795361040123456 + i * 1011111))
        export += field("__MONOTONIC_TIMESTAMP", str(1000000 + i))
        export += field("_BOOT_ID", "0123456789abcdef0123456789abcdef")
        for name, value in [("_TRANSPORT", "syslog"), ("_HOSTNAME", "web-1"), ("_PID", "42"),
                            ("_SYSTEMD_UNIT", "shop.service"), ("SYSLOG_IDENTIFIER", "shop"), ("MESSAGE", message)]:
            export += field(name, value)
        if priority is not None:
            export += field("PRIORITY", str(priority))
        if priority == 4:
            export += field("TAG", "a") + field("TAG", "b")  # a field with two values
        export += b"\n"
    with tempfile.TemporaryDirectory() as tmp:
        journal = tmp + "/test.journal"
        subprocess.run([remote, "--output=" + journal, "-"], input=export, check=True, capture_output=True)
        log = subprocess.run(
            ["journalctl", "--file=" + journal, "-o", "json", "--no-pager"], check=True, capture_output=True).stdout
    log = re.sub(rb'"__CURSOR":"[^"]*"', b'"__CURSOR":"s=0;i=1"', log.replace(b'"__CURSOR" : ', b'"__CURSOR":'))
    pathlib.Path(out, "journald.body").write_bytes(log)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
