# Sends ERROR and WARN documents with helpers.bulk. Arguments: endpoint, count.
import sys
import time
from datetime import datetime, timezone

from elasticsearch import Elasticsearch, helpers

endpoint, count = sys.argv[1], int(sys.argv[2])
client = Elasticsearch(endpoint, http_compress=True)


def documents():
    for i in range(count):
        yield {
            "_index": "app",
            "@timestamp": datetime.now(timezone.utc).isoformat(),
            "level": "WARN" if i % 2 else "ERROR",
            "message": f"elastic {i}",
            "order": i,
            "user": "bob",
            "service.name": "elastic-demo",
        }
        time.sleep(0.002)


stored, errors = helpers.bulk(
    client, documents(), chunk_size=100, max_retries=8, initial_backoff=0.5, retry_on_status=(429, 503)
)
assert (stored, errors) == (count, []), (stored, errors)
