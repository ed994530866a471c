"""What had to be dropped: counted exactly, and told to the server as ranges of each run's numbers.

The numbers stand here until the server has them; past a bound they are only counted.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from towerlog.sdk.record.encoding import place_of

RANGES_MAX = 10_000
"""Ranges that wait to be told; what is dropped past that stays a gap without an explanation."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of one client in one run that will never come, both ends included."""

    client_id: str
    run_key: str
    from_seq: int
    to_seq: int
    reason: str


class Losses:
    """The count, and the ranges that nobody knows of yet."""

    def __init__(self) -> None:
        # Re-entrant: a collection of garbage in between may tell events of its own.
        self._lock = threading.RLock()
        self._ranges: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
        self._held = 0
        self.dropped = 0

    def note(self, client_id: str, run_key: str, seq: int, reason: str) -> None:
        """One event will never come."""
        with self._lock:
            self.dropped += 1
            ranges = self._ranges.setdefault((client_id, run_key, reason), [])
            if ranges and ranges[-1][1] + 1 == seq:
                ranges[-1] = (ranges[-1][0], seq)
            elif self._held < RANGES_MAX:
                ranges.append((seq, seq))
                self._held += 1

    def note_lines(self, client_id: str, lines: Sequence[bytes], reason: str) -> None:
        """These encoded events will never come. A notice among them was no event of the program's."""
        for line in lines:
            run_key, seq, is_notice = place_of(line)
            if is_notice:
                continue
            if run_key:
                self.note(client_id, run_key, seq, reason)
            else:
                self.count(1)

    def count(self, number: int) -> None:
        """So many were lost of which nothing more is known."""
        with self._lock:
            self.dropped += number

    def __bool__(self) -> bool:
        return self._held > 0

    def take(self) -> list[Range]:
        """All that was not told yet; whoever takes it tells it, or brings it `back`."""
        with self._lock:
            taken, self._ranges, self._held = self._ranges, {}, 0
        return [
            Range(client_id, run_key, first, last, reason)
            for (client_id, run_key, reason), ranges in taken.items()
            for first, last in ranges
        ]
