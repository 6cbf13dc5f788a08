"""Sends the logs of a Python program to the log ingester. It logs each line of
standard input as an error:

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    echo 'payment failed' | venv/bin/python main.py

Copy ingest.py, which needs only the standard library, into your program.
"""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from ingest import IngestHandler

handler = IngestHandler("http://localhost:3002/ingest?wait=1", key="KEY")
# timestamp=True adds the time in UTC. %(asctime)s would add the local time without
# an offset, which the service takes as UTC.
handler.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s", timestamp=True))
logging.basicConfig(level=logging.INFO, handlers=[handler])
logger = logging.getLogger("shop")

logger.info("started")
for line in sys.stdin:
    logger.error(line.rstrip("\n"))
logger.warning("end of input")
