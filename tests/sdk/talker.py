"""A server that says exactly what a test tells it, byte for byte, over real sockets: for what no good server says.

Each request takes the next of the replies. A reply of None closes the connection without a word; `CLOSE` at the end of
one closes it after the reply. What was asked is kept, in order.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

CLOSE = b"\0close\0"
HANG = b"\0hang\0"
"""At the end of a reply: nothing more is said until the client has gone."""


class Talker:
    """Listens on a port of its own, or on this one, until it is closed."""

    def __init__(self, *replies: bytes | None, port: int = 0) -> None:
        self.replies: deque[bytes | None] = deque(replies, maxlen=1000)
        self.requests: list[tuple[str, bytes]] = []
        """The heads and bodies of all requests."""
        self.pause_s = 0.0
        """How long each reply takes."""
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            waiting = b""
            while True:
                try:
                    while b"\r\n\r\n" not in waiting:
                        found = connection.recv(65536)
                        if not found:
                            return
                        waiting += found
                    head, _, waiting = waiting.partition(b"\r\n\r\n")
                    waiting = self._with_body(connection, head.decode("latin-1"), waiting)
                    reply = self.replies.popleft() if self.replies else None
                    if reply is None or self._over.wait(self.pause_s):
                        return
                    connection.sendall(reply.removesuffix(CLOSE).removesuffix(HANG))
                    if reply.endswith(CLOSE):
                        return
                    if reply.endswith(HANG):
                        connection.recv(1)
                        return
                except OSError:
                    return

    def _with_body(self, connection: socket.socket, head: str, waiting: bytes) -> bytes:
        length = int(headers_of(head).get("content-length", "0"))
        while len(waiting) < length:
            waiting += connection.recv(65536)
        self.requests.append((head, waiting[:length]))
        return waiting[length:]

    def close(self) -> None:
        """Ends everything."""
        self._over.set()
        self._listener.close()
        for one in self._sockets:
            one.close()


def headers_of(head: str) -> dict[str, str]:
    """The headers of a request, in lower case."""
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    return {name.lower(): value.strip() for name, _, value in lines}


def reply(status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> bytes:
    """A reply with its length."""
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def stream(*frames: bytes, headers: Mapping[str, str] | None = None, whole: bool = True) -> bytes:
    """A chunked stream of events; not `whole`: it breaks off."""
    given = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", **(headers or {})}
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in given.items())]
    body = b"".join(b"%x\r\n%s\r\n" % (len(frame), frame) for frame in frames)
    return "\r\n".join([*lines, "", ""]).encode() + body + (b"0\r\n\r\n" if whole else CLOSE)


def frame(seq: int, type_: str = "step") -> bytes:
    """A frame of a run's stream."""
    return b'id: %d\ndata: {"seq":%d,"type":"%s","data":{},"created_at":"2026-01-01T00:00:00Z"}\n\n' % (
        seq,
        seq,
        type_.encode(),
    )


@contextmanager
def talking(*replies: bytes | None, port: int = 0) -> Iterator[Talker]:
    """A talker for a while."""
    talker = Talker(*replies, port=port)
    try:
        yield talker
    finally:
        talker.close()
