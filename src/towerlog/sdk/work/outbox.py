"""The events of one claimed run on their way to the server: numbered, in order, bounded; fed by any thread.

What the server has not taken stays inside, so that it can be sent again with the same ids.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.encoding import encode_event
from towerlog.sdk.wire.ids import uuid7

OUTBOX_BYTES_MAX = 16 * 1024 * 1024
OUTBOX_EVENTS_MAX = 100_000
BATCH_EVENTS = 100
BATCH_BYTES = 256 * 1024
ENDS = frozenset({"run.completed", "run.failed", "run.cancelled"})
URGENT = ENDS | {"run.waiting_for_input", "run.paused", "command.acknowledged"}
"""Somebody waits for these: they are not held back to fill a batch."""


@dataclass(frozen=True)
class Letter:
    """One event, encoded."""

    client_seq: int
    event_id: str
    type: str
    body: bytes


class Outbox:
    """What one client has to say about one run."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, from whichever thread, when there is something to send; it must not block."""
        self._wake = wake
        # Re-entrant: a collection of garbage while an event is encoded may tell another, in this very thread.
        self._lock = threading.RLock()
        # `_admit` bounds it, by events and by bytes, and says what it turned away.
        self._letters: deque[Letter] = deque(maxlen=OUTBOX_EVENTS_MAX + 1024)
        self._bytes = 0
        self._numbered = 0
        self._turned_away: list[int] | None = None
        self.closed = False
        self.urgent = False

    def __len__(self) -> int:
        return len(self._letters)

    def put(self, event: dict[str, Any]) -> None:
        """Takes an event from the program: never blocks, never raises. One that finds no room is counted as dropped."""
        stamped = {"event_id": uuid7(), "time": time.time_ns() // 1_000_000, **event}
        with self._lock:
            if self.closed:
                return
            self._numbered += 1
            stamped["client_seq"] = self._numbered
            letter = Letter(self._numbered, str(stamped["event_id"]), str(event.get("type", "")), encode_event(stamped))
            if self._admit(letter):
                self._add(letter)
        self._wake()

    def _admit(self, letter: Letter) -> bool:
        """Whether there is room; an end always has it."""
        fits = self._bytes + len(letter.body) <= OUTBOX_BYTES_MAX and len(self._letters) < OUTBOX_EVENTS_MAX
        if fits or letter.type in ENDS:
            if self._turned_away is not None:
                first, last = self._turned_away
                self._turned_away = None
                # Its own number comes after the letter's: what is sent is in the order of its making all the same.
                self._tell_dropped(first, last, "the worker's outbox was full")
            return True
        if self._turned_away is None:
            self._turned_away = [letter.client_seq, letter.client_seq]
        self._turned_away[1] = letter.client_seq
        return False

    def _add(self, letter: Letter) -> None:
        self._letters.append(letter)
        self._bytes += len(letter.body)
        self.urgent = self.urgent or letter.type in URGENT

    def drop(self, letter: Letter, reason: str) -> None:
        """Says that an event will never come, so that nobody waits for its number."""
        with self._lock:
            if not self.closed:
                self._tell_dropped(letter.client_seq, letter.client_seq, reason)
        self._wake()

    def _tell_dropped(self, first: int, last: int, reason: str) -> None:
        self._numbered += 1
        payload = {"from_seq": first, "to_seq": last, "reason": reason}
        event_id = str(uuid7())
        event = {
            "event_id": event_id,
            "client_seq": self._numbered,
            "time": time.time_ns() // 1_000_000,
            "type": "other",
            "data": {"name": "client.dropped", "payload": payload},
        }
        letter = Letter(self._numbered, event_id, "other", encode_event(event))
        # Before the end of the run, if that is here already: what comes after it is late.
        if self._letters and self._letters[-1].type in ENDS:
            self._letters.insert(len(self._letters) - 1, letter)
            self._bytes += len(letter.body)
        else:
            self._add(letter)

    def batch(self) -> list[Letter]:
        """The first events, as many as go into one report; they stay inside until `settle`."""
        taken: list[Letter] = []
        size = 0
        with self._lock:
            self.urgent = False
            for letter in self._letters:
                size += len(letter.body)
                if taken and (len(taken) >= BATCH_EVENTS or size > BATCH_BYTES):
                    self.urgent = True
                    break
                taken.append(letter)
        return taken

    def settle(self, letters: list[Letter]) -> None:
        """These need not be sent again."""
        gone = {letter.client_seq for letter in letters}
        with self._lock:
            while self._letters and self._letters[0].client_seq in gone:
                self._bytes -= len(self._letters.popleft().body)
            if any(letter.client_seq in gone for letter in self._letters):
                kept = [letter for letter in self._letters if letter.client_seq not in gone]
                self._letters = deque(kept, maxlen=self._letters.maxlen)
                self._bytes = sum(len(letter.body) for letter in kept)

    def close(self) -> list[Letter]:
        """Takes nothing more; what was not delivered."""
        with self._lock:
            self.closed = True
            left = list(self._letters)
            self._letters.clear()
            self._bytes = 0
        return left
