"""Where a follower of a stream is: what it has seen, where it goes on, and when it gives up. Does no I/O.

`follow` and `async_follow` connect. The cursor is sent with the name of the server's log, so that a log restored from
a backup gives a `Gap` and never the wrong events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from towerlog.sdk.api.fleet_shapes import AgentEvent, Change
from towerlog.sdk.api.requests import path_of, with_query
from towerlog.sdk.api.shapes import Gap, RunEvent, Shape
from towerlog.sdk.wire import json_text
from towerlog.sdk.wire.errors import BadAnswer, SdkError, Unreachable
from towerlog.sdk.wire.retries import Backoff, is_worth_repeating
from towerlog.sdk.wire.sse import Frame

S = TypeVar("S", bound=Shape)

PATIENCE_S = 300.0
"""How long a follower tries to reach a server that is away, from its beginning on, unless the caller says otherwise."""
QUIET_S = 1.0
"""A stream that ends sooner, with nothing in it, counts as one that was never there."""
ACCEPT = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 2.0
MAX_CURSOR_CHARS = 1000
"""Of what a server names a place in a stream by, and gets back when the stream goes on."""


class Cursor(Generic[S]):
    """The position of one follower."""

    def __init__(self, path: str, shape: type[S]) -> None:
        """`path` is the path of the stream, with its query."""
        self.path = path
        self.shape = shape
        self.finished = False
        self._last_id: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the next connection."""
        return ACCEPT | ({"Last-Event-ID": self._last_id} if self._last_id is not None else {})

    def connected(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head of a reply. 204 means that the stream has ended for good."""
        if status == 204:
            self.finished = True
        elif "text/event-stream" not in headers.get("content-type", ""):
            raise BadAnswer("the server's reply is not a stream of events")

    def take(self, frame: Frame) -> S | Gap | None:
        """The event or gap in a frame; None for a repetition, or anything else."""
        if frame.event == "gap":
            return self._gap(Gap.read(_object(frame)))
        if frame.event != "message":
            return None
        return self._event(frame, self.shape.read(_object(frame)))

    def _gap(self, gap: Gap) -> Gap | None:
        return gap

    def _event(self, frame: Frame, event: S) -> S | None:
        self._last_id = _sendable(frame.frame_id) or self._last_id
        return event


class RunCursor(Cursor[RunEvent]):
    """The position in a run: its seq, which is dense, so that repetitions and holes are detected."""

    def __init__(self, run_id: str, after_seq: int) -> None:
        """Starts after a seq."""
        super().__init__(path_of("/v1/runs/{run_id}/events", {"run_id": run_id}), RunEvent)
        self.after_seq = after_seq
        self._epoch: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers with the cursor, and the log's name once it is known."""
        known = f"{self._epoch}-{self.after_seq}" if self._epoch else str(self.after_seq)
        return ACCEPT | {"Last-Event-ID": known}

    def connected(self, status: int, headers: Mapping[str, str]) -> None:
        """Learns the log's name."""
        super().connected(status, headers)
        self._next_epoch = _sendable(headers.get("x-log-epoch")) or self._epoch
        if self._epoch is None or self._next_epoch == self._epoch:
            self._epoch = self._next_epoch

    def take(self, frame: Frame) -> RunEvent | Gap | None:
        """The event or gap in a frame; the control frame after the last event ends the stream."""
        if frame.event == "end":
            self.finished = True
            return None
        return super().take(frame)

    def _gap(self, gap: Gap) -> Gap | None:
        if gap.oldest_seq is not None:
            self.after_seq = max(self.after_seq, gap.oldest_seq - 1)
        else:
            # Another log: the position means nothing there, so it is followed from its beginning.
            self.after_seq, self._epoch = 0, self._next_epoch
        return gap

    def _event(self, frame: Frame, event: RunEvent) -> RunEvent | None:
        if event.seq <= self.after_seq:
            return None
        if event.seq != self.after_seq + 1:
            raise BadAnswer(f"the stream went from seq {self.after_seq} to {event.seq}")
        self.after_seq = event.seq
        return event


class AgentCursor(Cursor[AgentEvent]):
    """The position in an agent's feed, which has no end."""

    def __init__(self, agent_id: str, tail: int, after: str | None) -> None:
        """Starts after a cursor, or with the newest `tail` events."""
        path = path_of("/agents/{id}/events", {"id": agent_id})
        super().__init__(with_query(path, {"follow": True, "tail": tail}), AgentEvent)
        self._last_id = after


class LiveCursor(Cursor[Change]):
    """The position in the stream of changed rows, which has no end. Its events are named for kinds of rows."""

    def __init__(self, filters: Mapping[str, Any], after: str | None) -> None:
        """Starts with what has changed since a place, or from now on."""
        super().__init__(with_query("/api/v1/live", filters), Change)
        self._last_id = after

    def take(self, frame: Frame) -> Change | Gap | None:
        """What has changed, or a gap. The place moves with the last of the rows that belong together."""
        if frame.event in ("gap", "message"):
            return super().take(frame)
        return self._event(frame, Change.read({"kind": frame.event, "row": _object(frame)}))


class Reconnects:
    """When a follower connects again, and when it gives up."""

    def __init__(self, patience_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """`patience_s` is how long the server may be away."""
        self._patience_s = patience_s
        self._now = now
        self._backoff = Backoff(MAX_PAUSE_S, FIRST_PAUSE_S)
        self._received_at = now()
        self._opened_at: float | None = None
        """When the stream was opened, in seconds by `now`; None once a line of it has come."""

    def opened(self) -> None:
        """A stream was opened."""
        self._opened_at = self._now()

    def received(self) -> None:
        """A stream was opened, or a line has come, if only a ping."""
        self._received_at = self._now()
        self._opened_at = None

    def ended(self) -> None:
        """A stream has ended, but not what is followed. Raises where nothing came in it, as `failed` does."""
        if self._opened_at is not None:
            self.failed(Unreachable("the stream ended before anything came"))

    def progressed(self) -> None:
        """An event has come: the next connection may be tried at once."""
        self._backoff.reset()

    def failed(self, error: SdkError) -> None:
        """Raises the error when trying again is of no use, or has been tried for long enough."""
        opened_at, self._opened_at = self._opened_at, None
        if opened_at is not None and self._now() - opened_at >= QUIET_S:
            self._received_at = self._now()
        if not is_worth_repeating(error) or self._now() - self._received_at >= self._patience_s:
            raise error

    def pause_s(self) -> float:
        """How long to wait before the next connection."""
        return self._backoff.next_s()


def _sendable(text: str | None) -> str | None:
    """What a server named, if it can be sent back to it in a header. Raises BadAnswer."""
    if text is not None and not (text.isascii() and text.isprintable() and len(text) <= MAX_CURSOR_CHARS):
        raise BadAnswer("the server names a place in the stream by something that no header can hold")
    return text


def _object(frame: Frame) -> object:
    try:
        return json_text.read(frame.data)
    except ValueError:
        raise BadAnswer("a frame of the stream is not JSON") from None
