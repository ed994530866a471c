"""Following a stream over any number of connections: each event once and in order, to its end.

What has been seen and what comes next is kept in a `Cursor`, free of I/O; `follow` and `follow_async` connect for it.
The cursor travels with the name of the server's log, so that a log restored from a backup gives a `Gap` and never the
wrong events.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Generic, TypeVar

from towerlog.sdk.api.fleet_shapes import AgentEvent
from towerlog.sdk.api.requests import path_of, refusal, with_query
from towerlog.sdk.api.shapes import Gap, RunEvent, Shape
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import BadAnswer, SdkError
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.retries import Retries, may_pass
from towerlog.sdk.wire.sse import Frame, FrameReader

S = TypeVar("S", bound=Shape)

ENDS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.lost", "budget.exceeded"})
"""Events after which a run's stream may end."""
PATIENCE_S = 300.0
"""How long a follower looks for a server that is gone, unless the caller says otherwise."""
FIRST_CONTACT_S = 5.0
"""The same for a server that was never met: its address is more likely wrong than it is about to come back."""
ACCEPT = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
BACKOFF = Retries(first_s=0.1, longest_s=2.0)


class Cursor(Generic[S]):
    """What one follower has seen, and where it goes on."""

    def __init__(self, path: str, shape: type[S]) -> None:
        """`path` is the stream's, with a query or without."""
        self.path = path
        self.shape = shape
        self.finished = False
        self._last_id: str | None = None

    def headers(self) -> dict[str, str]:
        """Those of the next connection."""
        return ACCEPT | ({"Last-Event-ID": self._last_id} if self._last_id is not None else {})

    def connected(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head of a connection. 204: there is nothing more and will not be."""
        if status == 204:
            self.finished = True
        elif "text/event-stream" not in headers.get("content-type", ""):
            raise BadAnswer("the server's answer is no stream of events")

    def take(self, frame: Frame) -> S | Gap | None:
        """What a frame tells; None for what is not news."""
        if frame.event == "gap":
            return self._gap(Gap.read(_object(frame)))
        if frame.event != "message":
            return None
        return self._event(frame, self.shape.read(_object(frame)))

    def ended(self) -> None:
        """The server has ended the stream."""

    def _gap(self, gap: Gap) -> Gap | None:
        return gap

    def _event(self, frame: Frame, event: S) -> S | None:
        self._last_id = frame.frame_id or self._last_id
        return event


class RunCursor(Cursor[RunEvent]):
    """In a run: by seq, which is dense, so that repetitions and holes are seen."""

    def __init__(self, run_id: str, after_seq: int) -> None:
        """Begins after a seq."""
        super().__init__(path_of("/v1/runs/{run_id}/events", {"run_id": run_id}), RunEvent)
        self.after_seq = after_seq
        self._epoch: str | None = None
        self._may_end = False

    def headers(self) -> dict[str, str]:
        """The cursor, with the log's name once it is known."""
        known = f"{self._epoch}-{self.after_seq}" if self._epoch else str(self.after_seq)
        return ACCEPT | {"Last-Event-ID": known}

    def connected(self, status: int, headers: Mapping[str, str]) -> None:
        """Learns the log's name."""
        super().connected(status, headers)
        self._next_epoch = headers.get("x-log-epoch") or self._epoch
        if self._epoch is None or self._next_epoch == self._epoch:
            self._epoch = self._next_epoch

    def ended(self) -> None:
        """After a run's last event that is its end; else the server goes down and will be back."""
        self.finished = self.finished or self._may_end

    def _gap(self, gap: Gap) -> Gap | None:
        if gap.oldest_seq is not None:
            self.after_seq = max(self.after_seq, gap.oldest_seq - 1)
        else:
            # Another log: what was seen does not count there, and it is told from its beginning.
            self.after_seq, self._epoch, self._may_end = 0, self._next_epoch, False
        return gap

    def _event(self, frame: Frame, event: RunEvent) -> RunEvent | None:
        if event.seq <= self.after_seq:
            return None
        if event.seq != self.after_seq + 1:
            raise BadAnswer(f"the stream went from seq {self.after_seq} to {event.seq}")
        self.after_seq = event.seq
        self._may_end = self._may_end or event.type in ENDS
        return event


class AgentCursor(Cursor[AgentEvent]):
    """In an agent's feed, which has no end."""

    def __init__(self, agent_id: str, tail: int, after: str | None) -> None:
        """Begins after a cursor, or with the newest `tail` events."""
        path = path_of("/agents/{id}/events", {"id": agent_id})
        super().__init__(with_query(path, {"follow": True, "tail": tail}), AgentEvent)
        self._last_id = after


def follow(
    http: Http, cursor: Cursor[S], patience_s: float = PATIENCE_S, closed: Callable[[], bool] = lambda: False
) -> Iterator[S | Gap]:
    """What comes, until the end. Raises ApiError for a refusal, Unreachable when nobody answers for that long."""
    reconnects = Reconnects(patience_s)
    idle = threading.Event()
    while not cursor.finished and not closed():
        try:
            with http.stream("GET", cursor.path, cursor.headers()) as stream:
                if stream.status >= 300:
                    raise refusal(stream.status, stream.headers, stream.read())
                cursor.connected(stream.status, stream.headers)
                reconnects.opened()
                reader = FrameReader()
                for line in stream:
                    reconnects.received()
                    frame = reader.feed(line)
                    if frame is not None and (news := cursor.take(frame)) is not None:
                        reconnects.progressed()
                        yield news
                cursor.ended()
        except SdkError as error:
            reconnects.failed(error)
        if not cursor.finished:
            idle.wait(reconnects.pause_s())


async def follow_async(http: AsyncHttp, cursor: Cursor[S], patience_s: float = PATIENCE_S) -> AsyncIterator[S | Gap]:
    """The asyncio twin of `follow`."""
    reconnects = Reconnects(patience_s)
    while not cursor.finished:
        try:
            async with await http.stream("GET", cursor.path, cursor.headers()) as stream:
                if stream.status >= 300:
                    raise refusal(stream.status, stream.headers, await stream.read())
                cursor.connected(stream.status, stream.headers)
                reconnects.opened()
                reader = FrameReader()
                async for line in stream:
                    reconnects.received()
                    frame = reader.feed(line)
                    if frame is not None and (news := cursor.take(frame)) is not None:
                        reconnects.progressed()
                        yield news
                cursor.ended()
        except SdkError as error:
            reconnects.failed(error)
        if not cursor.finished:
            await asyncio.sleep(reconnects.pause_s())


class Reconnects:
    """How often in a row it went wrong, and for how long."""

    def __init__(self, patience_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._now = now
        self._tried = 0
        self._alive_at = now()
        self._met = False

    def opened(self) -> None:
        """A stream was opened."""
        self._met = True
        self.received()

    def received(self) -> None:
        """Something came, if only a ping."""
        self._alive_at = self._now()

    def progressed(self) -> None:
        """News came: the next connection may be tried at once."""
        self._tried = 0

    def failed(self, error: SdkError) -> None:
        """Raises the error when trying again is of no use, or has been for long enough."""
        patience_s = self._patience_s if self._met else min(self._patience_s, FIRST_CONTACT_S)
        if not may_pass(error) or self._now() - self._alive_at >= patience_s:
            raise error

    def pause_s(self) -> float:
        """How long to wait before the next connection."""
        self._tried += 1
        return BACKOFF.backoff_s(self._tried)


def _object(frame: Frame) -> object:
    try:
        return json.loads(frame.data)
    except ValueError:
        raise BadAnswer("a frame of the stream is not JSON") from None
