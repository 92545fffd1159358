"""A receiver of notifications on the loopback address: what the operator's channel gets, and when.

Stores the `alert` of each message with the simulated time at which it arrived.
"""

import json
import threading
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class ReceivedMessage:
    """One notification as it arrived."""

    at: datetime
    title: str
    body: str
    alert: dict[str, Any]

    @property
    def sensor_id(self) -> str:
        """The sensor it is about."""
        return str(self.alert["sensor_id"])

    @property
    def change(self) -> str:
        """The change that it reports."""
        return str(self.alert["change"])


class MessageSink:
    """An HTTP server for a `json://` channel; a context manager. `now` is set by the simulated clock."""

    def __init__(self) -> None:
        self.now = datetime(1970, 1, 1)  # noqa: DTZ001 (naive UTC, as everywhere inside)
        self.messages: list[ReceivedMessage] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                sink.messages.append(ReceivedMessage(sink.now, body["title"], body["message"], body["alert"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> "MessageSink":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
