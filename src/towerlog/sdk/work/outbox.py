"""The undelivered events of one claimed run: numbered, in order, bounded. Any thread may add events.

Events stay inside until the server has acknowledged them, and are sent again with the same ids.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.encoder import EventEncoder
from towerlog.sdk.wire.event_batch import BATCH_BYTES, BATCH_EVENTS

MAX_OUTBOX_BYTES = 32 * 1024 * 1024
MAX_OUTBOX_EVENTS = 100_000
LANE_ENDS = frozenset({"run.completed", "run.failed", "run.cancelled"})
"""The ends that a worker reports."""
URGENT = LANE_ENDS | {"run.waiting_for_input", "run.question_withdrawn", "run.paused", "command.acknowledged"}
"""Events that are waited for: they are not held back to fill a batch."""


_log = logging.getLogger("towerlog.worker")


@dataclass(frozen=True)
class OutboxEvent:
    """One event, encoded."""

    client_seq: int
    type: str
    line: bytes


class Outbox:
    """The events of one client of one run."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, from whichever thread, when there is something to send; it must not block."""
        self._wake = wake
        # Re-entrant: garbage collection while an event is encoded may report another one in this thread.
        self._lock = threading.RLock()
        # `_admit` bounds it, by events and by bytes, and reports what it dropped.
        self._events: deque[OutboxEvent] = deque(maxlen=MAX_OUTBOX_EVENTS + 1024)
        self._bytes = 0
        self._encoder = EventEncoder()
        self._turned_away: list[int] | None = None
        self.closed = False
        self.urgent = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: dict[str, Any]) -> None:
        """Adds an event; never blocks, never raises. If there is no room, it is counted as dropped."""
        with self._lock:
            if self.closed:
                return
            line = self._encoder.encode(event)
            lost, self._encoder.lost = self._encoder.lost, []
            for seq, reason in lost:
                _log.warning("%s; it is counted as dropped", reason)
                self._tell_dropped(seq, seq, reason)
            if line is not None:
                encoded = OutboxEvent(event["client_seq"], str(event.get("type", "")), line)
                if self._admit(encoded):
                    self._add(encoded)
        self._wake()

    def resumes(self, history: object) -> None:
        """The server has this history: checkpoints that go on from it are sent by what is new."""
        with self._lock:
            self._encoder.resumes(history)

    def with_older_base(self, event: OutboxEvent) -> OutboxEvent | None:
        """A checkpoint whose base the server does not know, with an older one or none; None if that cannot be made."""
        with self._lock:
            line = self._encoder.with_older_base(event.line)
        return None if line is None else OutboxEvent(event.client_seq, event.type, line)

    def _admit(self, event: OutboxEvent) -> bool:
        """Whether there is room; for an event that ends the run there always is."""
        fits = self._bytes + len(event.line) <= MAX_OUTBOX_BYTES and len(self._events) < MAX_OUTBOX_EVENTS
        if fits or event.type in LANE_ENDS:
            if self._turned_away is not None:
                first, last = self._turned_away
                self._turned_away = None
                # The notice has a later number than the event that it is put before: the server accepts both orders.
                self._tell_dropped(first, last, "the worker's outbox was full")
            return True
        if self._turned_away is None:
            self._turned_away = [event.client_seq, event.client_seq]
        self._turned_away[1] = event.client_seq
        return False

    def _add(self, event: OutboxEvent) -> None:
        self._events.append(event)
        self._bytes += len(event.line)
        self.urgent = self.urgent or event.type in URGENT

    def drop(self, event: OutboxEvent, reason: str) -> None:
        """Reports an event as dropped, so that its number is not missed."""
        with self._lock:
            if not self.closed:
                self._tell_dropped(event.client_seq, event.client_seq, reason)
        self._wake()

    def _tell_dropped(self, first: int, last: int, reason: str) -> None:
        line = self._encoder.encode_loss(first, last, reason)
        notice = OutboxEvent(self._encoder.seq, "other", line)
        # Before the end of the run, if that is queued already: events after the end count as late.
        if self._events and self._events[-1].type in LANE_ENDS:
            self._events.insert(len(self._events) - 1, notice)
            self._bytes += len(notice.line)
        else:
            self._add(notice)

    def batch(self) -> list[OutboxEvent]:
        """The first events, up to the size of one report; they stay inside until `settle`."""
        taken: list[OutboxEvent] = []
        size = 0
        with self._lock:
            self.urgent = False
            for event in self._events:
                size += len(event.line)
                if taken and (len(taken) >= BATCH_EVENTS or size > BATCH_BYTES):
                    self.urgent = True
                    break
                taken.append(event)
        return taken

    def settle(self, events: list[OutboxEvent]) -> None:
        """Removes events that need not be sent again."""
        gone = {event.client_seq for event in events}
        with self._lock:
            while self._events and self._events[0].client_seq in gone:
                self._bytes -= len(self._events.popleft().line)
            if any(event.client_seq in gone for event in self._events):
                kept = [event for event in self._events if event.client_seq not in gone]
                self._events = deque(kept, maxlen=self._events.maxlen)
                self._bytes = sum(len(event.line) for event in kept)

    def close(self) -> list[OutboxEvent]:
        """Accepts nothing more; returns the undelivered events."""
        with self._lock:
            self.closed = True
            left = list(self._events)
            self._events.clear()
            self._bytes = 0
        return left
