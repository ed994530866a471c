"""Receivers of webhooks for tests of a whole server: threads on loopback addresses that take, refuse or fail.

What they take they check: by the reference library of Standard Webhooks, with the secret of the rule that is named.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

Json = dict[str, Any]
HERE = "127.0.0.0/8"
"""For TOWERLOG_EGRESS_ALLOW."""
HANG_S = 0.3


class Taken:
    """One message that a receiver has answered with 200."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> Json:
        said: Json = json.loads(self.body)
        return said

    def verified(self, secret: str) -> Json:
        """What it says, if the reference library finds that it was signed with this secret. Raises otherwise."""
        said: Json = Webhook(secret).verify(self.body, self.headers)
        return said


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever sent it was killed meanwhile.
            return
        hooks = self.server.hooks
        with hooks.lock:
            hooks.tries += 1
            fails = hooks.fails(hooks.random)
        if fails is not None:
            fails(self)
            return
        taken = Taken(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        # Before it is answered: whoever is told of a delivery that was taken finds it here.
        with hooks.lock:
            hooks.taken.append(taken)
            secret = hooks.secrets.get(taken.json()["rule_id"])
        if secret is not None:
            try:
                taken.verified(secret)
            except WebhookVerificationError as error:
                hooks.wrong.append(f"{taken.message_id}: {error}")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
        pass


class _Server(ThreadingHTTPServer):
    hooks: Hooks
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not this server's trouble."""


Fail = Callable[[_Handler], None]


class Hooks:
    """All that receivers of one port have taken. Every address of 127.0.0.0/8 is one to the server."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: list[Taken] = []
        self.tries = 0
        self.random = random.Random(10)
        self.fails: Callable[[random.Random], Fail | None] = lambda _: None
        self.port = 0
        self.secrets: dict[str, str] = {}
        """Rule → its secret: what comes of these rules is verified as it comes."""
        self.wrong: list[str] = []

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextlib.contextmanager
def receiving_hooks() -> Iterator[Hooks]:
    """A receiver that takes all; `fails` changes that."""
    hooks = Hooks()
    server = _Server(("0.0.0.0", 0), _Handler)
    server.hooks, hooks.port = hooks, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hooks
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# Ways to fail


def _status(code: int) -> Fail:
    def fail(handler: _Handler) -> None:
        handler.send_response(code)
        handler.send_header("Location", "http://127.0.0.1:1/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return fail


def _reset(handler: _Handler) -> None:
    """The connection is torn down without a word."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def _nothing(handler: _Handler) -> None:
    handler.close_connection = True


def _garbage(handler: _Handler) -> None:
    handler.wfile.write(b"\x00\xff nonsense\r\n\r\n")
    handler.close_connection = True


def _half_a_head(handler: _Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200")
    handler.close_connection = True


def _late(handler: _Handler) -> None:
    """Says no, after a while."""
    threading.Event().wait(HANG_S)
    _status(504)(handler)


def _taken_and_not_said(handler: _Handler) -> None:
    """It has taken the message, and the answer is lost: the sender cannot know."""
    _reset(handler)


WAYS: tuple[Fail, ...] = (
    *map(_status, (302, 400, 404, 429, 500, 503)),
    _reset,
    _nothing,
    _garbage,
    _half_a_head,
    _late,
    _taken_and_not_said,
)


def often(part: float) -> Callable[[random.Random], Fail | None]:
    """Fails that part of the time, each time in any of the ways."""

    def fails(source: random.Random) -> Fail | None:
        return source.choice(WAYS) if source.random() < part else None

    return fails
