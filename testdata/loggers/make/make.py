"""Logs with Python's JSON loggers and writes their output to files in the
directory given as the argument. The script fixes the clock, so that the output
is reproducible, and changes nothing else."""

import datetime
import io
import linecache
import logging
import pathlib
import socket
import sys
import time

import ecs_logging
import freezegun
import structlog
from logging_gelf.formatters import GELFFormatter
from loguru import logger as loguru_logger
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from pythonjsonlogger.json import JsonFormatter

FRENCH = "commande passée à « Zoé » — 注文 ✓ 🚀"
ANSI = "\x1b[31mred\x1b[0m alert\ttab \x01 \x7f"
QUOTED = "said \"no\"\nthen C:\\temp\\x and </script> & 'rest'\u2028end"
DECOY = 'payload was {"level":"error","message":"inner"}'

# Errors are raised in code with a fixed file name, so that tracebacks do not
# contain the path of this file.
FAILING = """\
def charge(amount):
    raise ValueError(f"card declined: {amount!r}")


def call(log):
    try:
        charge(12.5)
    except ValueError:
        log()
"""
shop = {"__name__": "charge"}
exec(compile(FAILING, "/srv/shop/charge.py", "exec"), shop)
linecache.cache["/srv/shop/charge.py"] = (
    len(FAILING), None, FAILING.splitlines(keepends=True), "/srv/shop/charge.py")
call = shop["call"]


def start():
    return freezegun.freeze_time(
        datetime.datetime(2026, 11, 22, 15, 24, 0, 123456), auto_tick_seconds=1.011111)


def write(name, formatter, log):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    logger = logging.Logger("shop.checkout", logging.DEBUG)
    logger.addHandler(handler)
    with start():
        log(logger)
    pathlib.Path(sys.argv[1], name + ".body").write_text(out.getvalue(), encoding="utf-8")


def records(l):
    l.debug("cache miss", extra={"key": "user:42", "hit": False})
    l.info(FRENCH, extra={"user": "Zoé"})
    l.info(DECOY, extra={"ctx": {"level": "error", "levelname": "ERROR"}})
    l.log(logging.INFO + 5, "between info and warning")
    l.warning("slow request: %d ms", 1500, extra={"status": 499})
    l.error("payment failed", extra={"amount": 12.5, "tags": ["a", None, True]})
    call(lambda: l.exception("payment failed"))
    l.error(QUOTED, extra={"html": "<b>&</b>"})
    l.error(ANSI)
    l.error({"event": "a dict as the message", "code": 7})
    l.error("a lone \udc80 surrogate")
    l.critical("giving up", extra={"since": datetime.date(2026, 11, 22)})


def gelf(l):
    def place(record):
        record.pathname, record.lineno = "/srv/shop/checkout.py", 7
        return True

    l.addFilter(place)
    l.debug("cache miss")
    l.info(FRENCH, extra={"user": "Zoé"})
    l.warning(DECOY)
    l.error("payment failed: %s", "card declined")
    l.error(QUOTED)
    l.critical("giving up")


def main():
    logging.addLevelName(logging.INFO + 5, "NOTICE")
    logging.Formatter.converter = time.gmtime
    fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
    # The format of its README.
    write("python-json-logger", JsonFormatter(fields), records)
    # With renamed fields. The time has logging's comma and no zone.
    write("python-json-logger-renamed", JsonFormatter(
        fields, rename_fields={"levelname": "level", "asctime": "time"}), records)
    # With the formatter's own timestamp, and UTF-8 instead of escapes.
    write("python-json-logger-timestamp", JsonFormatter(
        "%(levelname)s %(message)s", timestamp=True, json_ensure_ascii=False), lambda l: (
            l.info(FRENCH), l.error(FRENCH), call(lambda: l.exception("payment failed"))))

    # Without the process and the file, which depend on this machine.
    write("ecs-logging", ecs_logging.StdlibFormatter(
        exclude_fields=["process", "log.origin"], stack_trace_limit=2), records)
    socket.gethostname = socket.getfqdn = lambda *_: "web-1"
    write("logging-gelf", GELFFormatter(null_character=False), gelf)

    out = io.StringIO()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(out))
    with start():
        l = structlog.get_logger()
        l.debug("cache_miss", key="user:42")
        l.info(FRENCH, user="Zoé")
        l.info(DECOY, ctx={"level": "error"})
        l.warning("slow_request", status=499)
        l.error("payment_failed", amount=12.5, tags=["a", None, True])
        call(lambda: l.exception("payment_failed"))
        l.error(QUOTED)
        l.error(ANSI)
        l.error("in_event", message="in message")
        l.critical("giving_up")
    pathlib.Path(sys.argv[1], "structlog.body").write_text(out.getvalue(), encoding="utf-8")


def loguru():
    """Logs with loguru's serialize=True."""
    out = io.StringIO()
    clock = datetime.datetime(2026, 11, 22, 15, 24, 0, 123456, datetime.timezone.utc)

    def patch(record):
        nonlocal clock
        clock += datetime.timedelta(seconds=1.011111)
        record["time"] = type(record["time"]).fromtimestamp(clock.timestamp(), datetime.timezone.utc)
        record["elapsed"] = datetime.timedelta(seconds=1)
        record["process"].id = record["thread"].id = 1
        record["file"].path = "/srv/shop/checkout.py"

    loguru_logger.configure(
        handlers=[{"sink": out, "serialize": True, "level": 0, "diagnose": False, "backtrace": False}], patcher=patch)
    l = loguru_logger.bind(user="Zoé")
    l.trace("cache miss")
    l.debug(DECOY)
    l.info(FRENCH)
    l.success("order placed")
    l.warning("slow request")
    l.error(QUOTED)
    l.critical("giving up")
    l.log(45, "a number as the level")
    pathlib.Path(sys.argv[1], "loguru.body").write_text(out.getvalue(), encoding="utf-8")


def otel():
    """Logs with the console exporter of OpenTelemetry."""
    out = io.StringIO()
    provider = LoggerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(ConsoleLogRecordExporter(out)))
    l = logging.Logger("shop.checkout", logging.DEBUG)
    l.addHandler(LoggingHandler(logger_provider=provider))
    with start():
        gelf(l)
        call(lambda: l.exception("payment failed"))
        l.error({"event": "a dict as the message", "code": 7})
        l.error(ANSI)
    pathlib.Path(sys.argv[1], "otel-python.body").write_text(out.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make.py DIRECTORY")
    main()
    loguru()
    otel()
