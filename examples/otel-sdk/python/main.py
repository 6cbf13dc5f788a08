"""Sends the logs of a Python program to the log ingester with OpenTelemetry's SDK. It
logs each line of standard input as an error:

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    echo 'payment failed' | venv/bin/python main.py
"""

import logging
import sys

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

exporter = OTLPLogExporter("http://localhost:3002/v1/logs?wait=1", headers={"Authorization": "Bearer KEY"})
provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
# Not the root logger: the exporter would send its own warnings.
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
logger.addHandler(LoggingHandler(logger_provider=provider))

logger.info("started")
for line in sys.stdin:
    logger.error(line.rstrip("\n"))
logger.warning("end of input")
provider.shutdown()  # sends what waits
