"""Dropped events: counted exactly, and reported to the server as ranges of each run's numbers.

The ranges are kept until they are reported; past a bound, events are only counted.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from towerlog.sdk.record.encoder import place_of

MAX_RANGES = 10_000
"""Ranges that wait to be reported; events dropped past it stay a gap without an explanation."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of one client in one run that will never be delivered, both ends included."""

    client_id: str
    run_key: str
    from_seq: int
    to_seq: int
    reason: str


class Losses:
    """The count, and the ranges that were not reported yet."""

    def __init__(self) -> None:
        # Re-entrant: garbage collection may report events while this thread holds it.
        self._lock = threading.RLock()
        self._ranges: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
        self._held = 0
        self.dropped = 0

    def note(self, client_id: str, run_key: str, seq: int, reason: str) -> None:
        """Notes that an event was dropped."""
        with self._lock:
            self.dropped += 1
            ranges = self._ranges.setdefault((client_id, run_key, reason), [])
            if ranges and ranges[-1][1] + 1 == seq:
                ranges[-1] = (ranges[-1][0], seq)
            elif self._held < MAX_RANGES:
                ranges.append((seq, seq))
                self._held += 1

    def note_lines(self, client_id: str, lines: Sequence[bytes], reason: str) -> None:
        """Notes that encoded events were dropped. Loss notices among them do not count: they are not the program's."""
        for line in lines:
            run_key, seq, is_notice = place_of(line)
            if is_notice:
                continue
            if run_key:
                self.note(client_id, run_key, seq, reason)
            else:
                self.count(1)

    def count(self, number: int) -> None:
        """Counts dropped events of which nothing else is known."""
        with self._lock:
            self.dropped += number

    def __bool__(self) -> bool:
        return self._held > 0

    def take(self) -> list[Range]:
        """Removes and returns the ranges that were not reported yet: the caller reports them."""
        with self._lock:
            taken, self._ranges, self._held = self._ranges, {}, 0
        return [
            Range(client_id, run_key, first, last, reason)
            for (client_id, run_key, reason), ranges in taken.items()
            for first, last in ranges
        ]
