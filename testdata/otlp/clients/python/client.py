# Sends ERROR and WARN records with the default exporter. Arguments: endpoint, count.
import logging
import sys
import time

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

endpoint, count = sys.argv[1], int(sys.argv[2])
provider = LoggerProvider(resource=Resource.create({"service.name": "python-demo"}))
provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=endpoint), schedule_delay_millis=200))
log = logging.getLogger("demo")
log.addHandler(LoggingHandler(logger_provider=provider))
for i in range(count):
    log.log(logging.WARNING if i % 2 else logging.ERROR, "python %d", i, extra={"order": i, "user": "bob"})
    time.sleep(0.002)
provider.shutdown()
