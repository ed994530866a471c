"""A small HTTP client for one server on loopback: owns requests of the preparing kind and timed reads.

Load never goes through here; that is what the compiled tools are for.
"""

import http.client
import json
import re
import time
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 60
JSON = "application/json"
SERVER_TIMING_DURATION = re.compile(r"dur=([0-9.]+)")


class Refused(RuntimeError):
    """A request that had to succeed did not."""


@dataclass(frozen=True)
class Reply:
    """One reply, and how long it took to come whole."""

    status: int
    body: bytes
    elapsed_ms: float
    server_ms: float | None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def server_timing_ms(header: str | None) -> float | None:
    """The server's own figure: the sum of the durations in a Server-Timing header, None without one."""
    durations = SERVER_TIMING_DURATION.findall(header or "")
    return sum(float(duration) for duration in durations) if durations else None


class Client:
    """One keep-alive connection with a bearer key; as a context manager it closes itself."""

    def __init__(self, port: int, key: str) -> None:
        self.connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
        self.headers = {"Authorization": f"Bearer {key}"}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = JSON) -> Reply:
        """Send one request and read its reply, whatever its status; `kind`: of the body."""
        headers = self.headers if body is None else {**self.headers, "Content-Type": kind}
        started = time.perf_counter()
        self.connection.request(method, path, body=body, headers=headers)
        response = self.connection.getresponse()
        content = response.read()
        elapsed_ms = (time.perf_counter() - started) * 1000
        return Reply(response.status, content, elapsed_ms, server_timing_ms(response.headers.get("Server-Timing")))

    def get(self, path: str) -> Reply:
        """GET that must succeed."""
        return self._checked("GET", path, None)

    def post(self, path: str, body: bytes = b"", kind: str = JSON) -> Reply:
        """POST that must succeed."""
        return self._checked("POST", path, body, kind)

    def _checked(self, method: str, path: str, body: bytes | None, kind: str = JSON) -> Reply:
        reply = self.request(method, path, body, kind)
        if not 200 <= reply.status < 300:
            raise Refused(f"{method} {path} answered {reply.status}: {reply.body[:300]!r}")
        return reply


class Dechunker:
    """Takes a chunked body in any pieces and gives back the bytes inside."""

    def __init__(self) -> None:
        self.pending = bytearray()
        self.ended = False

    def feed(self, piece: bytes) -> bytes:
        """The content that is complete with this piece; a chunk is given out when it is whole."""
        self.pending += piece
        out = bytearray()
        while not self.ended:
            line_end = self.pending.find(b"\r\n")
            if line_end < 0:
                break
            size = int(self.pending[:line_end].split(b";")[0], 16)
            start = line_end + 2
            if len(self.pending) < start + size + 2:
                break
            out += self.pending[start : start + size]
            del self.pending[: start + size + 2]
            self.ended = size == 0
        return bytes(out)
