"""A logging handler that sends log lines to the log ingester."""

import gzip
import http.client
import logging
import queue
import sys
import threading
import urllib.parse
import uuid

BATCH_SIZE = 1 << 20  # characters after which a request takes no more lines


class IngestHandler(logging.Handler):
    """Sends log lines from a thread, so that logging never waits for the service.

    The handler repeats a request after a connection error or a status of 500 or
    more, until the service accepts it. Each request has a key, so that the
    service stores its lines once. On stderr the handler reports how many lines
    were lost, and why. A program that forks must create the handler after the fork.

    url, key: the service and its API key; None sends no key. Without wait=1 in
        url, the service responds before it has stored the lines, and loses them
        if it is killed then.
    max_lines: how many lines wait in memory; the handler drops further lines.
    close_timeout: how long close waits until all lines are sent, in seconds.
    """

    def __init__(self, url, key=None, max_lines=10_000, close_timeout=10):
        super().__init__()
        self.url = urllib.parse.urlsplit(url)
        self.headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        if key:
            self.headers["Authorization"] = "Bearer " + key
        self.max_lines = max_lines
        self.close_timeout = close_timeout
        self.gave_up = threading.Event()  # set when close_timeout is over
        self.lines = queue.SimpleQueue()  # None marks the end
        self.state = threading.Lock()  # guards the fields below
        self.closed = False
        self.pending = 0  # lines neither sent nor lost yet
        self.overflow = 0  # lines dropped since the last report
        self.error = "no response"  # to the last request
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def emit(self, record):
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        with self.state:
            if self.closed:
                report(1, "logged after the handler was closed")
            elif self.pending >= self.max_lines:
                self.overflow += 1
            else:
                self.pending += 1
                self.lines.put(line)

    def close(self):
        """Waits until all lines are sent. logging calls it at exit."""
        with self.state:
            if self.closed:
                return
            self.closed = True
        self.lines.put(None)
        self.thread.join(self.close_timeout)
        self.gave_up.set()
        with self.state:
            if self.overflow > 0:
                report(self.overflow, "buffer full")
                self.overflow = 0
            if self.pending > 0:
                report(self.pending, f"not sent within {self.close_timeout} s: {self.error}")
        super().close()

    def _run(self):
        batch, size = [], 0
        for line in iter(self.lines.get, None):
            batch.append(line)
            size += len(line)
            if size >= BATCH_SIZE or self.lines.empty():
                self._send(batch)
                batch, size = [], 0
        if batch:
            self._send(batch)

    def _send(self, batch):
        """Posts a batch until the service accepts or refuses it."""
        body = gzip.compress("\n".join(batch).encode(errors="replace"), compresslevel=1)
        headers = {**self.headers, "Idempotency-Key": str(uuid.uuid4())}
        wait = 0.1
        while not self.gave_up.is_set():
            error, retry = self._post(body, headers)
            with self.state:
                self.error = error or self.error
                overflow, self.overflow = self.overflow, 0
                if not retry:
                    self.pending -= len(batch)
            if overflow > 0:
                report(overflow, "buffer full")
            if error and not retry:
                report(len(batch), error)
            if not retry:
                return
            self.gave_up.wait(wait)
            wait = min(2 * wait, 5)

    def _post(self, body, headers):
        """Sends one request. Returns the error or None, and whether to retry."""
        connect = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        connection = connect(self.url.netloc, timeout=30)
        try:
            connection.request("POST", self.url._replace(scheme="", netloc="").geturl(), body, headers)
            response = connection.getresponse()
            text = response.read(1000).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            return error, True
        finally:
            connection.close()
        if response.status < 300:
            return None, False
        return f"{response.status} {response.reason}: {text}", response.status >= 500


def report(n, reason):
    print(f"log ingester: {n} lines lost: {reason}", file=sys.stderr)
