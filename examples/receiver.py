"""A receiver of webhooks on this machine: it checks who has signed each message, keeps it, and says that it has come.

The signature is that of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, with the secret of the alert rule.
A program of your own would use their library; this is all that it does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MAX_BODY_BYTES = 1024 * 1024


class Receiver:
    """Takes messages in a thread, from `start` to `stop`."""

    def __init__(self, file: Path, told: Callable[[dict[str, Any]], None]) -> None:
        """`file` gets a line for each message; `told` is called with it."""
        self.file = file
        self.file.touch()
        self.taken = 0
        self.secret = ""
        """Of the rule whose messages come here; until it is set nothing is accepted."""
        self._told = told
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """Where messages are posted to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def start(self) -> None:
        """Begins to take messages."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def take(self, headers: Any, body: bytes) -> bool:
        """Whether it was signed with the secret; then it is kept."""
        if not self.secret or not _is_signed(self.secret, headers, body):
            return False
        message = json.loads(body)
        with self.file.open("a") as kept:
            kept.write(json.dumps(message) + "\n")
        self.taken += 1
        self._told(message)
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers["Content-Length"]), MAX_BODY_BYTES))
                self.send_response(204 if receiver.take(self.headers, body) else 401)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
                """Nothing: `told` says what has come."""

        return Handler


def _is_signed(secret: str, headers: Any, body: bytes) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(one, wanted) for one in headers["webhook-signature"].split())
