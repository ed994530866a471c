"""Server-sent events as a browser sees them: a parser fed with bytes, and a connection that can be cut anywhere.

The connection is a plain socket, so that a test decides to the byte how much of the body arrives before the cut.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.wait import DEADLINE_S

RECEIVE_BYTES = 65_536
LITTLE_S = 10.0
"""So long a part of a stream is waited for that may have come whole already."""


@dataclass(slots=True)
class Frame:
    """One block of the stream, ended by a blank line. Comments and `retry` before a block are one of their own."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comments: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The data as JSON."""
        assert self.data is not None, f"a frame without data: {self}"
        return json.loads(self.data)


class FrameParser:
    """Bytes in, complete frames out; what is not yet ended by a blank line stays inside."""

    def __init__(self) -> None:
        self._rest = b""
        self._block: list[bytes] = []

    def feed(self, received: bytes) -> list[Frame]:
        """Take some more bytes, wherever they were cut, and return the frames that they complete."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        frames: list[Frame] = []
        for line in (line.removesuffix(b"\r") for line in lines):
            if line.startswith((b":", b"retry:")) and not self._block:
                frames.append(frame_of(line))  # needs no block around it: effective at once
            elif line:
                self._block.append(line)
            elif self._block:
                frames.append(frame_of(b"\n".join(self._block)))
                self._block = []
        return frames


def frame_of(block: bytes) -> Frame:
    """One frame from the lines between two blank ones."""
    frame = Frame()
    for line in block.decode("utf-8").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "":
            frame.comments.append(value)
        elif name == "data":
            frame.data = value if frame.data is None else f"{frame.data}\n{value}"
        elif name in ("id", "event", "retry"):
            setattr(frame, name, value)
    return frame


def parse_frames(body: bytes) -> list[Frame]:
    """Every complete frame of a body that has been read to its end."""
    return FrameParser().feed(body)


class StreamEnded(Exception):
    """The server closed the stream."""


class EventStream:
    """One GET whose body is read as it comes; `status` and `headers` are there once it is made."""

    def __init__(self, url: str, headers: Mapping[str, str], deadline_s: float = DEADLINE_S) -> None:
        self.body_bytes = 0
        self._parser = FrameParser()
        self._ready: list[Frame] = []
        self._raw = b""
        self._chunk_left = 0
        self._ended = False
        self._deadline_s = deadline_s
        target = urlsplit(url)
        self._socket = socket.create_connection((target.hostname or "", target.port or 80), timeout=deadline_s)
        path = target.path + (f"?{target.query}" if target.query else "")
        lines = [f"GET {path} HTTP/1.1", f"Host: {target.netloc}", "Accept: text/event-stream"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            self.status, self.headers = self._read_head()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave politely."""
        self._socket.close()

    def cut(self) -> None:
        """Leave as a broken network does: a reset, nothing said."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def next_frame(self, deadline_s: float | None = None) -> Frame:
        """The next frame, of whatever kind; StreamEnded when the server is done, TimeoutError at the deadline."""
        until = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        while not self._ready:
            self._ready += self._parser.feed(self._read_body(until))
        return self._ready.pop(0)

    def next_event(self, deadline_s: float | None = None) -> Frame:
        """The next frame that carries data, skipping comments and `retry`."""
        until = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        while True:
            frame = self.next_frame(max(0.0, until - time.monotonic()))
            if frame.data is not None:
                return frame

    def events(self, count: int) -> list[Frame]:
        """The next `count` frames that carry data."""
        return [self.next_event() for _ in range(count)]

    def rest(self) -> Iterator[Frame]:
        """All frames up to the end of the stream, each within the deadline."""
        while True:
            try:
                yield self.next_frame()
            except StreamEnded:
                return

    def frames_of_first(self, body_bytes: int, deadline_s: float = LITTLE_S) -> list[Frame]:
        """The frames that are complete in the first `body_bytes` of the body; the connection is cut there.

        Less is enough when the stream ends or the deadline passes before so much has come.
        """
        until = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        taken = b""
        with contextlib.suppress(StreamEnded, TimeoutError):
            while len(taken) < body_bytes:
                taken += self._read_body(until)
        self.cut()
        return FrameParser().feed(taken[:body_bytes])

    def _read_head(self) -> tuple[int, dict[str, str]]:
        until = time.monotonic() + self._deadline_s
        while b"\r\n\r\n" not in self._raw:
            self._receive(until)
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ")[1]), headers

    def _read_body(self, until: float) -> bytes:
        """Some more of the body, with the transfer coding taken off; at least one byte."""
        if self._ended:
            raise StreamEnded
        read = self._read_chunk if "chunked" in self.headers.get("transfer-encoding", "") else self._read_plain
        body = read(until)
        self.body_bytes += len(body)
        return body

    def _read_plain(self, until: float) -> bytes:
        if self.headers.get("content-length") == str(self.body_bytes):
            self._ended = True
            raise StreamEnded
        if not self._raw:
            self._receive(until)
        body, self._raw = self._raw, b""
        return body

    def _read_chunk(self, until: float) -> bytes:
        while self._chunk_left == 0:
            self._begin_chunk(until)
        if not self._raw:
            self._receive(until)
        body, self._raw = self._raw[: self._chunk_left], self._raw[self._chunk_left :]
        self._chunk_left -= len(body)
        if self._chunk_left == 0:
            self._take_line(until)
        return body

    def _begin_chunk(self, until: float) -> None:
        self._chunk_left = int(self._take_line(until).split(b";")[0], 16)
        if self._chunk_left == 0:
            self._ended = True
            raise StreamEnded

    def _take_line(self, until: float) -> bytes:
        while b"\r\n" not in self._raw:
            self._receive(until)
        line, _, self._raw = self._raw.partition(b"\r\n")
        return line

    def _receive(self, until: float) -> None:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("nothing more came before the deadline")
        self._socket.settimeout(left_s)
        received = self._socket.recv(RECEIVE_BYTES)
        if not received:
            self._ended = True
            raise StreamEnded
        self._raw += received
