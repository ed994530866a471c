"""An open-loop sender and one follower in one process, on one clock: owns posting at a steady rate and timing frames.

Open loop: a request is due at its time whether or not earlier ones have been answered; when every connection is
busy it waits, and that lateness is part of what is measured.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from bench.wire import HOST, Dechunker

CONNECTIONS = 32
DRAIN_DEADLINE_SECONDS = 20.0
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
# The number that a sender wrote into its event, found again in the frame.
MARKED_NUMBER = re.compile(rb'"mark":(\d+)')


class PaceFailed(RuntimeError):
    """A post was refused, or what was sent did not arrive."""


def reply_length(received: bytes | bytearray) -> int | None:
    """Bytes of the whole reply when its head is complete, else None."""
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    found = CONTENT_LENGTH.search(received, 0, head_end + 2)
    return head_end + 4 + (int(found[1]) if found else 0)


class PostConnection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, on_reply: Callable[["PostConnection", int, int], None], on_lost: Callable[[], None]) -> None:
        self.on_reply = on_reply
        self.on_lost = on_lost
        self.received = bytearray()
        self.number = -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are transports by what they do, not by their class.
        self.transport = cast(asyncio.Transport, transport)

    def post(self, number: int, request: bytes) -> None:
        """Send one request."""
        assert self.transport is not None
        self.number = number
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        length = reply_length(self.received)
        if length is not None and len(self.received) >= length:
            status = int(self.received[9:12])
            del self.received[:length]
            self.on_reply(self, self.number, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()


class PacedSender:
    """Posts `count` requests at `rate` a second; keeps when each was sent and answered, by the monotonic clock."""

    def __init__(self, port: int, make_request: Callable[[int], bytes]) -> None:
        self.port = port
        self.make_request = make_request
        self.sent_ns: dict[int, int] = {}
        self.acked_ns: dict[int, int] = {}
        self.count = 0
        self.waiting: deque[int] = deque()
        self.idle: deque[PostConnection] = deque()
        self.problem: str | None = None
        self.over = asyncio.Event()

    async def send(self, count: int, rate: float) -> None:
        """Send all, and wait for every reply."""
        self.count = count
        loop = asyncio.get_running_loop()
        everyone = [(await loop.create_connection(self._connection, HOST, self.port))[1] for _ in range(CONNECTIONS)]
        self.idle = deque(everyone)
        try:
            await self._send_in_time(rate)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), DRAIN_DEADLINE_SECONDS)
        finally:
            self.over.set()
            for connection in everyone:
                if connection.transport is not None:
                    connection.transport.close()
        if self.problem is not None or len(self.acked_ns) < count:
            raise PaceFailed(self.problem or f"{len(self.acked_ns)} of {count} posts were answered")

    async def _send_in_time(self, rate: float) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number in range(self.count):
            ahead = started + number / rate - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if self.over.is_set():
                return
            self._post(number)

    def _connection(self) -> PostConnection:
        return PostConnection(self._replied, self._lost)

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem
        self.over.set()

    def _lost(self) -> None:
        if not self.over.is_set():
            self._fail("the server closed a connection under load")

    def _post(self, number: int) -> None:
        if not self.idle:
            self.waiting.append(number)
            return
        connection = self.idle.popleft()  # in turn: one that is never used would be closed
        request = self.make_request(number)
        self.sent_ns[number] = time.monotonic_ns()
        connection.post(number, request)

    def _replied(self, connection: PostConnection, number: int, status: int) -> None:
        self.acked_ns[number] = time.monotonic_ns()
        if not 200 <= status < 300:
            self._fail(f"a post was answered {status}")
        elif len(self.acked_ns) == self.count:
            self.over.set()
        self.idle.append(connection)
        if self.waiting:
            self._post(self.waiting.popleft())


class Follower(asyncio.Protocol):
    """One SSE follower that notes when each marked frame came."""

    def __init__(self, request: bytes, count: int) -> None:
        self.request = request
        self.count = count
        self.head = bytearray()
        self.head_done = False
        self.pending = bytearray()
        self.dechunker = Dechunker()
        self.seen_ns: dict[int, int] = {}
        self.repeats = 0
        self.following = asyncio.Event()
        self.complete = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.head_done:
            self.head += data
            head, found, data = bytes(self.head).partition(b"\r\n\r\n")
            if not found:
                return
            self.head_done = head[9:12] == b"200"
            self.following.set()
        self.pending += self.dechunker.feed(data)
        *frames, rest = bytes(self.pending).split(b"\n\n")
        self.pending = bytearray(rest)
        for frame in frames:
            self._note(frame, now)

    def _note(self, frame: bytes, now: int) -> None:
        found = MARKED_NUMBER.search(frame)
        if found:
            number = int(found[1])
            self.repeats += number in self.seen_ns
            self.seen_ns.setdefault(number, now)
        if len(self.seen_ns) == self.count:
            self.complete.set()


async def send_and_follow(
    port: int, follow_request: bytes, make_request: Callable[[int], bytes], count: int, rate: float
) -> tuple[PacedSender, Follower]:
    """Follow, then send; every event must be seen exactly once."""
    loop = asyncio.get_running_loop()
    transport, follower = await loop.create_connection(lambda: Follower(follow_request, count), HOST, port)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(follower.following.wait(), DRAIN_DEADLINE_SECONDS)
        if not follower.head_done:
            raise PaceFailed(f"following was refused: {bytes(follower.head)[:200]!r}")
        sender = PacedSender(port, make_request)
        await sender.send(count, rate)
        with suppress(TimeoutError):
            await asyncio.wait_for(follower.complete.wait(), DRAIN_DEADLINE_SECONDS)
    finally:
        transport.close()
    if len(follower.seen_ns) < count or follower.repeats:
        raise PaceFailed(f"{len(follower.seen_ns)} of {count} frames came, {follower.repeats} of them twice")
    return sender, follower
