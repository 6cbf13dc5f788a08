"""Writes NAME.rows for each NAME.body in a directory: the rows that the service
must store. The script implements the rules independently, as simply as
possible, with its own parser.

usage: expect.py DIRECTORY
"""

import datetime
import decimal
import json
import pathlib
import re
import sys

LEVEL = ["level", "severity", "lvl", "log.level", "levelname", "@l", "Level", "LogLevel", "loglevel",
         "level_name", "error_severity", "PRIORITY"]
MESSAGE = ["message", "msg", "@m", "@mt", "RenderedMessage", "event", "log", "short_message", "MESSAGE",
           "Message", "Body", "body"]
TIME = ["timestamp", "time", "ts", "@timestamp", "@t", "Timestamp", "date", "instant", "asctime",
        "__REALTIME_TIMESTAMP", "ibm_datetime", "datetime"]
OBSERVED = ["ObservedTimestamp", "observed_timestamp"]
OTEL_NUMBER = ["severity_number", "severityNumber", "Severity"]
OTEL_TEXT = ["SeverityText", "severity_text", "severityText"]
OTEL = ["trace", "debug", "info", "warn", "error", "fatal"]
SYSLOG = ["fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug"]

BELOW = {
    "trace", "verbose", "silly",
    "debug", "fine", "config",
    "info", "information", "notice", "log", "http",
    "warn", "warning",
}
ABOVE = {
    "error", "err",
    "fatal", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic",
}
SLOG = re.compile(r"(debug|info|warn|error)([+-]\d+)")
SLOG_BASE = {"debug": -4, "info": 0, "warn": 4, "error": 8}


LOGURU = {
    "TRACE": "trace", "DEBUG": "debug", "INFO": "info", "SUCCESS": "info", "WARNING": "warn", "ERROR": "error",
    "CRITICAL": "fatal",
}


def space(s, i):
    while i < len(s) and s[i] in " \t\r\n":
        i += 1
    return i


def members(s, i):
    """Returns the members of the object at s[i] as (key, raw key, raw value), and
    the index of its end."""
    assert s[i] == "{", s[i:i + 20]
    out = []
    i = space(s, i + 1)
    if s[i] == "}":
        return out, i + 1
    decoder = json.JSONDecoder()
    while True:
        key, end = decoder.raw_decode(s, i)
        raw = s[i:end]
        i = space(s, end)
        assert s[i] == ":"
        i = space(s, i + 1)
        _, end = decoder.raw_decode(s, i)
        out.append((key, raw, s[i:end]))
        i = space(s, end)
        if s[i] == "}":
            return out, i + 1
        assert s[i] == ","
        i = space(s, i + 1)


def entries(s):
    """Yields the entries of one object, concatenated objects, or an array of objects."""
    i = space(s, 0)
    array = s[i] == "["
    if array:
        i = space(s, i + 1)
    while i < len(s) and s[i] != "]":
        entry, i = members(s, i)
        yield entry
        i = space(s, i)
        if array and s[i] == ",":
            i = space(s, i + 1)
    if array:
        assert space(s, i + 1) == len(s)


def text(raw):
    """Returns the value of a string. A lone surrogate becomes U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", json.loads(raw, strict=True))


def is_number(raw):
    return raw[0] in "-0123456789"


def level(raw):
    """Returns the name of the level, or None if it is unreadable."""
    if raw.startswith('"'):
        return text(raw).lower()
    if is_number(raw):
        n = decimal.Decimal(raw)
        for least, name in [(60, "fatal"), (50, "error"), (40, "warn"), (30, "info"), (20, "debug"), (10, "trace")]:
            if least <= n < least + 10:
                return name
    return None


def kept(name):
    """Reports whether -level error keeps a level. Unknown levels are kept."""
    m = SLOG.fullmatch(name)
    if m:
        return SLOG_BASE[m[1]] + int(m[2]) >= SLOG_BASE["error"]
    assert not (name in BELOW and name in ABOVE)
    return name not in BELOW


def stamp(seconds, nanos):
    t = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return t.strftime("%Y-%m-%dT%H:%M:%S") + ".%09dZ" % nanos


DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|([+-])(\d\d):?(\d\d))?")


def when(raw):
    """Returns the time as the service stores it, or None if it is unreadable."""
    if raw.startswith('"['):
        t = datetime.datetime.strptime(text(raw), "[%d/%b/%Y:%H:%M:%S %z]")
        return stamp(int(t.timestamp()), 0)
    if re.fullmatch(r'"(\d{10}|\d{13}|\d{16}|\d{19})"', raw):
        raw = text(raw)
    if raw.startswith('"'):
        m = DATE.fullmatch(text(raw).replace(" UTC", "Z"))
        if not m:
            return None
        t = datetime.datetime(*map(int, m.group(1, 2, 3, 4, 5, 6)))
        if m[9]:
            zone = datetime.timedelta(hours=int(m[10]), minutes=int(m[11]))
            t += zone if m[9] == "-" else -zone
        return t.isoformat(timespec="seconds") + "." + (m[7] or "").ljust(9, "0") + "Z"
    if raw.startswith("{"):
        instant = json.loads(raw)
        if "seconds" in instant:
            return stamp(instant["seconds"], instant["nanos"])
        return stamp(instant["epochSecond"], instant["nanoOfSecond"])
    if is_number(raw):
        n = decimal.Decimal(raw)
        for limit, digits in [("1e11", 0), ("1e14", 3), ("1e17", 6), ("Infinity", 9)]:
            if abs(n) < decimal.Decimal(limit):
                nanos = int(n.scaleb(9 - digits))
                return stamp(nanos // 10**9, nanos % 10**9)
    return None


def otel(entry):
    """Returns the index of the member with the level of an OpenTelemetry record, and the level."""
    for key in OTEL_NUMBER:
        at = first(entry, [key])
        if at is not None and entry[at][2] not in ("null", "0"):
            return at, OTEL[(int(entry[at][2]) - 1) // 4]
    for key in OTEL_TEXT:
        at = first(entry, [key])
        if at is not None and entry[at][2] not in ("null", '""'):
            return at, text(entry[at][2]).lower()
    return None, None


def body(raw):
    """Returns the text of a message."""
    if raw.startswith('{"Type":'):  # as OpenTelemetry's Go SDK writes it
        _, (_, _, raw) = members(raw, 0)[0]
        if raw == "null":
            return ""
    if re.fullmatch(r"\[[0-9,]+\]", raw):  # bytes, as journald writes them
        return "".join(bytes(json.loads(raw)).decode("utf-8", "surrogateescape")).translate(
            {c: 0xfffd for c in range(0xdc80, 0xdd00)})
    return text(raw) if raw.startswith('"') else raw


def first(entry, keys):
    for key in keys:
        for i, member in enumerate(entry):
            if member[0] == key:
                return i
    return None


def without(raw, key):
    """Returns an object without a member, and else byte for byte."""
    spans = []
    decoder = json.JSONDecoder()
    i = space(raw, 1)
    while raw[i] != "}":
        name, end = decoder.raw_decode(raw, i)
        _, end = decoder.raw_decode(raw, space(raw, space(raw, end) + 1))
        spans.append((name, i, end))
        i = space(raw, end)
        if raw[i] == ",":
            i = space(raw, i + 1)
    at = [name for name, _, _ in spans].index(key)
    start = spans[at - 1][2] if at else spans[at][1]
    end = spans[at + 1][1] if at == 0 and len(spans) > 1 else spans[at][2]
    return raw[:start] + raw[end:]


def row(entry):
    used = set()
    record = first(entry, ["record"])
    loguru = json.loads(entry[record][2]) if record is not None else None

    at = first(entry, LEVEL)
    if first(entry, ["level_name"]) is not None:  # Monolog
        at = first(entry, ["level_name"])
    name = None
    if at is not None:
        name = level(entry[at][2])
        if is_number(entry[at][2]) and first(entry, ["version"]) is not None and first(entry, ["host"]) is not None:
            name = SYSLOG[int(entry[at][2])]  # GELF
        if entry[at][0] == "PRIORITY":
            name = SYSLOG[int(text(entry[at][2]))]
        if name is not None:
            used.add(at)
    elif any(key == "@t" for key, _, _ in entry):
        name = "info"
    elif otel(entry)[1]:
        at, name = otel(entry)
        used.add(at)
    else:
        at = first(entry, ["log"])
        if at is not None and entry[at][2].startswith("{"):
            name = json.loads(entry[at][2]).get("level")
        elif loguru and loguru["level"]["name"] in LOGURU:
            name = LOGURU[loguru["level"]["name"]]
    if name is None:
        name = "unknown"

    at = first(entry, MESSAGE)
    message = ""
    if at is not None:
        message = body(entry[at][2])
        used.add(at)
    elif loguru:
        message = loguru["message"]
        entry[record] = (*entry[record][:2], without(entry[record][2], "message"))

    fields = first(entry, ["fields"])
    if at is None and fields is not None and "message" in json.loads(entry[fields][2]):
        message = json.loads(entry[fields][2])["message"]
        entry[fields] = (*entry[fields][:2], without(entry[fields][2], "message"))

    at = first(entry, TIME)
    time = None
    observed = first(entry, OBSERVED)
    if observed is not None and (at is None or when(entry[at][2]) in (None, "0001-01-01T00:00:00.000000000Z")):
        at = observed
    if at is not None:
        time = when(entry[at][2])
        if time is not None:
            used.add(at)
    elif loguru:
        timestamp = re.search(r'"timestamp": ([0-9.]+)', entry[record][2])
        time = when(timestamp[1])
    if time is None:
        time = "ARRIVAL"

    rest = [raw + ":" + value for i, (_, raw, value) in enumerate(entry) if i not in used]
    details = "{" + ",".join(rest) + "}" if rest else "null"
    if "\n" in details:
        details = json.dumps(details, ensure_ascii=False)

    columns = {"kept": kept(name), "level": name, "message": message, "timestamp": time}
    return json.dumps(columns, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"details":' + details + "}"


def main():
    for body in sorted(pathlib.Path(sys.argv[1]).glob("*.body")):
        # Each byte of invalid UTF-8 becomes one U+FFFD.
        s = body.read_bytes().decode("utf-8", "surrogateescape")
        s = re.sub("[\udc80-\udcff]", "\ufffd", s)
        body.with_suffix(".rows").write_text("".join(row(e) + "\n" for e in entries(s)), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
