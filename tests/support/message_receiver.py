"""A webhook for notifications that can fail, stall or answer 500 on purpose."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "t0p-s3cr3t"  # part of the address


class Reply(Enum):
    """What the receiver does with a request."""

    ACCEPT = "accept"
    ERROR_500 = "answer 500"
    STALL = "wait for five seconds"
    DISCONNECT = "close the connection without an answer"


class MessageReceiver:
    """An HTTP server that answers each request with the next reply and stores what it accepted."""

    def __init__(self, replies: Iterable[Reply]) -> None:
        self.replies = iter(replies)
        self.accepted: list[dict] = []
        self.received_ids: list[str] = []
        self.attachments: list[list[dict]] = []  # of each accepted message that has any
        self.lock = threading.Lock()
        self.wake = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.lock:
                    reply = next(receiver.replies)
                    receiver.received_ids.append(self.headers["Idempotency-Key"])
                    if reply is Reply.ACCEPT:
                        receiver.accepted.append(body["alert"])
                        receiver.attachments += [body["attachments"]] if body.get("attachments") else []
                if reply is Reply.STALL:
                    receiver.wake.wait(5)
                elif reply is not Reply.DISCONNECT:
                    self.send_response(200 if reply is Reply.ACCEPT else 500)
                    self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"json://127.0.0.1:{self.server.server_address[1]}/{SECRET}"

    def __enter__(self) -> "MessageReceiver":
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.wake.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def accepted_changes(self) -> dict[int, list[str]]:
        """The accepted changes by alert, in order of arrival."""
        changes = defaultdict(list)
        for message in self.accepted:
            changes[message["alert_id"]].append(message["change"])
        return dict(changes)
