"""All events between the program and the server, in their order: the newest in memory, what waits longer on disk.

    put → memory → (spill, when it has waited) → spool → take → acknowledge

Two locks. The short one guards the memory and is all that the program's threads ever wait for; the long one is held
around the disk, by the thread that sends and the thread that spills.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from towerlog.sdk.record.backlog.losses import Losses
from towerlog.sdk.record.backlog.segments import Segment
from towerlog.sdk.record.backlog.spool import Overflow, Spool, grouped

MEMORY_EVENTS_MAX = 200_000
NO_ROOM = "no room"


class Entry(NamedTuple):
    """An encoded event in memory, and when it came, on the steady clock. A tuple, for one is made with every call."""

    run_key: str
    seq: int
    line: bytes
    at_ns: int


@dataclass(slots=True)
class Batch:
    """Events on their way to the server, oldest first. `segment` is where they stand on disk, if they do."""

    client_id: str
    lines: list[bytes]
    entries: list[Entry]
    segment: Segment | None = None


class Backlog:
    """What one recorder has not delivered yet."""

    def __init__(
        self, client_id: str, home: Path, losses: Losses, bytes_max: int, spool_bytes_max: int, overflow: Overflow
    ) -> None:
        """`home` is where the spool has its folders. Makes nothing on disk yet."""
        self.client_id = client_id
        self.spool = Spool(home, client_id, spool_bytes_max, overflow, self._lost)
        self.accepted = 0
        self.done = 0
        """Of the accepted ones so many are with the server, or lost."""
        self.changed = threading.Condition(threading.RLock())
        self._losses = losses
        self.crowded_bytes = bytes_max // 4
        """From here on memory is written down without waiting: a program may tell faster than a disk takes."""
        self._bytes_max = bytes_max
        self._overflow = overflow
        self._memory: deque[Entry] = deque(maxlen=MEMORY_EVENTS_MAX + 1)
        self._bytes = 0
        self._writing = 0
        self._flying: Batch | None = None
        # Re-entrant: a signal or a collection of garbage may tell an event while this thread holds it.
        self._short = threading.RLock()
        self._long = threading.RLock()

    @property
    def in_memory(self) -> tuple[int, int]:
        """How many events wait in memory for their turn, and the bytes of all that is there."""
        return len(self._memory), self._bytes

    @property
    def queued(self) -> int:
        """How many events are in memory alone: waiting, being written down, or on their way without a place on disk."""
        flying = self._flying
        alone = len(flying.entries) if flying is not None and flying.segment is None else 0
        return len(self._memory) + self._writing + alone

    @property
    def resting(self) -> bool:
        """Whether nothing is in memory, and nothing on its way that is not on disk."""
        flying = self._flying
        return not self._memory and (flying is None or flying.segment is not None)

    @property
    def pending(self) -> int:
        """How many of the program's events are not with the server yet."""
        return self.accepted - self.done

    def put(self, run_key: str, seq: int, line: bytes) -> None:
        """Takes an event, or drops one, this or the oldest, when there is no room."""
        entry = Entry(run_key, seq, line, time.monotonic_ns())
        with self._short:
            while self._memory and not self._fits(len(line)):
                if self._overflow == "newest":
                    self._losses.note(self.client_id, run_key, seq, NO_ROOM)
                    return
                oldest = self._memory.popleft()
                self._bytes -= len(oldest.line)
                self.done += 1
                self._losses.note(self.client_id, oldest.run_key, oldest.seq, NO_ROOM)
            self._memory.append(entry)
            self._bytes += len(line)
            self.accepted += 1

    def _fits(self, size: int) -> bool:
        return self._bytes + size <= self._bytes_max and len(self._memory) < MEMORY_EVENTS_MAX

    def take(self, events_max: int, bytes_max: int) -> Batch | None:
        """The oldest events, from disk before memory. They stay in the backlog until they are settled."""
        with self._long:
            chunk = self.spool.head(events_max, bytes_max)
            if chunk is not None:
                self._flying = Batch(chunk.segment.client_id, chunk.lines, [], chunk.segment)
                return self._flying
            with self._short:
                entries = self._front(events_max, bytes_max)
                self._flying = Batch(self.client_id, [e.line for e in entries], entries) if entries else None
            return self._flying

    def _front(self, events_max: int, bytes_max: int) -> list[Entry]:
        entries: list[Entry] = []
        room = bytes_max
        while self._memory and len(entries) < events_max and (not entries or len(self._memory[0].line) <= room):
            entry = self._memory.popleft()
            room -= len(entry.line)
            entries.append(entry)
        self._bytes -= sum(len(entry.line) for entry in entries)
        return entries

    def settle(self, batch: Batch) -> None:
        """The events of the batch are done with, one way or the other."""
        with self._long:
            self._flying = None
            if batch.segment is not None:
                self.spool.settle(batch.segment, batch.lines)
        if batch.client_id == self.client_id:
            self._did(len(batch.lines))

    def give_back(self, batch: Batch) -> None:
        """The events of the batch are to be sent again, before all others."""
        with self._long:
            self._flying = None
            if batch.segment is None:
                with self._short:
                    self._memory.extendleft(reversed(batch.entries))
                    self._bytes += sum(len(entry.line) for entry in batch.entries)

    def spill(self, older_than_ns: int) -> int:
        """Writes down all that is in memory if the oldest of it has waited so long, or it is crowded.

        How many events it wrote. Raises OSError when the disk does not take them: they stay in memory then.
        """
        with self._long:
            flying = self._flying if self._flying is not None and self._flying.segment is None else None
            with self._short:
                oldest = flying.entries[0] if flying else self._memory[0] if self._memory else None
                full = self._bytes >= self.crowded_bytes
                if oldest is None or (time.monotonic_ns() - oldest.at_ns < older_than_ns and not full):
                    return 0
            before = self._spill_flying(flying) if flying else 0
            # What is on its way and found no room must not be overtaken by what is younger.
            return before + (0 if flying and flying.segment is None else self._spill_memory())

    def _spill_flying(self, flying: Batch) -> int:
        if not self.spool.has_room(flying.lines):
            # It is being tried; it stays in memory, and may yet arrive.
            return 0
        flying.segment = self.spool.append(flying.lines, None)
        return len(flying.lines)

    def _spill_memory(self) -> int:
        written = 0
        with self._short:
            # What is being written is no longer in the way of `put`, which may have to drop something; it counts still.
            entries = list(self._memory)
            self._writing = len(entries)
            self._memory.clear()
        try:
            for group in grouped(entry.line for entry in entries):
                self.spool.append(group, self._flying.segment if self._flying is not None else None)
                with self._short:
                    self._bytes -= sum(len(line) for line in group)
                    self._writing -= len(group)
                written += len(group)
        finally:
            with self._short:
                self._memory.extendleft(reversed(entries[written:]))
                self._writing = 0
        return written

    def _lost(self, client_id: str, lines: Sequence[bytes], oldest: bool) -> None:
        """The spool had to drop these."""
        self._losses.note_lines(client_id, lines, NO_ROOM)
        if client_id == self.client_id and oldest:
            self._did(len(lines))
        elif client_id == self.client_id:
            with self._short:
                self.accepted -= len(lines)

    def adopt(self, home: Path | None = None) -> int:
        """Takes over what processes that are gone have left. Raises OSError."""
        with self._long:
            return self.spool.adopt(home)

    def sync(self) -> None:
        """What is on disk is safe from a power cut. Raises OSError."""
        with self._long:
            self.spool.sync()

    def close(self, tidy: bool = True) -> None:
        """Leaves what is on disk for the next process."""
        with self._long:
            self.spool.close(tidy)

    def abandon(self) -> None:
        """In the child of a fork: lets go of the parent's files without a lock that nobody here may hold."""
        self.spool.close(tidy=False)

    def _did(self, number: int) -> None:
        with self.changed:
            with self._short:
                self.done += number
            self.changed.notify_all()
