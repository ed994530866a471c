"""Events between the program and the server, in order: the newest in memory, older ones on disk.

    put → memory → (spill, when it has waited) → spool → take → acknowledge

Two locks. The short one guards the memory and is the only one that the program's threads wait for; the long one is
held during disk access, by the sender and the keeper.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from towerlog.sdk.record.backlog.losses import Losses
from towerlog.sdk.record.backlog.own_files import OwnFolder
from towerlog.sdk.record.backlog.segments import Segment
from towerlog.sdk.record.backlog.spool import Overflow, Spool, grouped

MAX_MEMORY_EVENTS = 200_000
NO_ROOM = "no room"


class Entry(NamedTuple):
    """An encoded event in memory, and its time on the monotonic clock. A tuple, since every call makes one."""

    run_key: str
    seq: int
    line: bytes
    at_ns: int


@dataclass(slots=True)
class Batch:
    """Events being sent, oldest first. `segment` is their file on disk, if there is one."""

    client_id: str
    lines: list[bytes]
    entries: list[Entry]
    segment: Segment | None = None


class Backlog:
    """The undelivered events of one recorder."""

    def __init__(
        self,
        client_id: str,
        home: Path,
        losses: Losses,
        bytes_max: int,
        spool_bytes_max: int,
        overflow: Overflow,
        made: Callable[[OwnFolder], None] = lambda home: None,
    ) -> None:
        """`home` is the parent of the spool's folders. Creates nothing on disk yet."""
        self.client_id = client_id
        self.spool = Spool(home, client_id, spool_bytes_max, overflow, self._lost, made)
        self.accepted = 0
        self.done = 0
        """How many of the accepted events are stored by the server, or lost."""
        self.changed = threading.Condition(threading.RLock())
        self._losses = losses
        self.crowded_bytes = bytes_max // 4
        """From this size on memory is spooled without waiting: a program may report faster than a disk writes."""
        self._bytes_max = bytes_max
        self._overflow = overflow
        self._memory: deque[Entry] = deque(maxlen=MAX_MEMORY_EVENTS + 1)
        self._bytes = 0
        self._writing = 0
        self._flying: Batch | None = None
        # Re-entrant: a signal handler or garbage collection may report an event while this thread holds it.
        self._short = threading.RLock()
        self._long = threading.RLock()

    @property
    def in_memory(self) -> tuple[int, int]:
        """Number of events in memory that are not being sent, and the bytes of all events in memory."""
        return len(self._memory), self._bytes

    @property
    def queued(self) -> int:
        """Number of events that are only in memory: waiting, being spooled, or being sent without a copy on disk."""
        flying = self._flying
        alone = len(flying.entries) if flying is not None and flying.segment is None else 0
        return len(self._memory) + self._writing + alone

    @property
    def fits(self) -> bool:
        """Whether the spool has room for the events that are only in memory."""
        return self.spool.has_room([entry.line for entry in self._memory])

    @property
    def resting(self) -> bool:
        """Whether no event is only in memory."""
        flying = self._flying
        return not self._memory and (flying is None or flying.segment is not None)

    @property
    def pending(self) -> int:
        """Number of the program's events that the server has not stored yet."""
        return self.accepted - self.done

    def put(self, run_key: str, seq: int, line: bytes) -> None:
        """Adds an event, or drops one, this or the oldest, when there is no room."""
        # As `Entry` itself does it, without the call of Python between.
        entry = tuple.__new__(Entry, (run_key, seq, line, time.monotonic_ns()))
        size = len(line)
        with self._short:
            while self._memory and (self._bytes + size > self._bytes_max or len(self._memory) >= MAX_MEMORY_EVENTS):
                if self._overflow == "newest":
                    self._losses.note(self.client_id, run_key, seq, NO_ROOM)
                    return
                oldest = self._memory.popleft()
                self._bytes -= len(oldest.line)
                self.done += 1
                self._losses.note(self.client_id, oldest.run_key, oldest.seq, NO_ROOM)
            self._memory.append(entry)
            self._bytes += size
            self.accepted += 1

    def take(self, events_max: int, bytes_max: int) -> Batch | None:
        """The oldest events, those on disk first. They stay in the backlog until `settle`."""
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
        """Removes the events of the batch: delivered, or dropped."""
        with self._long:
            self._flying = None
            if batch.segment is not None:
                self.spool.settle(batch.segment, batch.lines)
        if batch.client_id == self.client_id:
            self._did(len(batch.lines))

    def give_back(self, batch: Batch) -> None:
        """Returns the batch: its events are sent again, before all others."""
        with self._long:
            self._flying = None
            if batch.segment is None:
                with self._short:
                    self._memory.extendleft(reversed(batch.entries))
                    self._bytes += sum(len(entry.line) for entry in batch.entries)

    def spill(self, older_than_ns: int) -> int:
        """Spools all events in memory if the oldest has waited this long, or memory is crowded.

        Returns how many were written. Raises OSError if the disk fails; the events stay in memory then.
        """
        with self._long:
            flying = self._flying if self._flying is not None and self._flying.segment is None else None
            with self._short:
                oldest = flying.entries[0] if flying else self._memory[0] if self._memory else None
                full = self._bytes >= self.crowded_bytes
                if oldest is None or (time.monotonic_ns() - oldest.at_ns < older_than_ns and not full):
                    return 0
            before = self._spill_flying(flying) if flying else 0
            # A batch being sent that found no room on disk must not be overtaken by newer events.
            return before + (0 if flying and flying.segment is None else self._spill_memory())

    def _spill_flying(self, flying: Batch) -> int:
        if not self.spool.has_room(flying.lines):
            # It is being sent: it stays in memory and may be delivered.
            return 0
        flying.segment = self.spool.append(flying.lines, None)
        return len(flying.lines)

    def _spill_memory(self) -> int:
        written = 0
        with self._short:
            # `put` must not drop events that are being written, but they still count.
            entries = list(self._memory)
            self._writing = len(entries)
            self._memory.clear()
        try:
            for group in grouped(entry.line for entry in entries):
                while group:
                    # On a full disk what has room is kept, and the rest is tried once more, which says what is wrong.
                    count = self.spool.append_some(group, self._flying.segment if self._flying is not None else None)
                    with self._short:
                        self._bytes -= sum(len(line) for line in group[:count])
                        self._writing -= count
                    written += count
                    group = group[count:]
        finally:
            with self._short:
                self._memory.extendleft(reversed(entries[written:]))
                self._writing = 0
        return written

    def _lost(self, client_id: str, lines: Sequence[bytes], oldest: bool) -> None:
        """Counts events that the spool has dropped."""
        self._losses.note_lines(client_id, lines, NO_ROOM)
        if client_id == self.client_id and oldest:
            self._did(len(lines))
        elif client_id == self.client_id:
            with self._short:
                self.accepted -= len(lines)

    def set_aside(self, line: bytes) -> Path:
        """Keeps an event for people that is not sent again; in which file. Raises OSError."""
        with self._long:
            return self.spool.keep([line])

    def adopt(self) -> int:
        """Takes over the events of processes with this destination that have ended. Raises OSError."""
        with self._long:
            return self.spool.adopt()

    def sync(self) -> None:
        """Syncs the files, so that they survive a power failure. Raises OSError."""
        with self._long:
            self.spool.sync()

    def close(self, tidy: bool = True) -> None:
        """Closes the files, and leaves them for the next process."""
        with self._long:
            self.spool.close(tidy)

    def abandon(self) -> None:
        """In the child of a fork: closes the parent's files. Without the lock: a thread of the parent may hold it."""
        self.spool.close(tidy=False)

    def _did(self, number: int) -> None:
        with self.changed:
            with self._short:
                self.done += number
            self.changed.notify_all()
