"""The time in which the server could hear: leases, silences and the deadlines of cancels are measured by it alone.

It stands still in an outage: while the process stands still, from when a commit takes too long until it has ended, and
from when one has failed until one succeeds. It goes on a little later, when what waited in sockets has been heard.
Stamps of the wall clock are found on it again, whichever way that clock was set since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import NamedTuple, overload

from towerlog.ambient import Clock
from towerlog.model.lane import Lane
from towerlog.store.base import Store, Unit

MAX_COMMIT_MS = 1000
"""So much of one commit counts as time in which the server could hear."""
GRACE_MS = 1000
"""So long after an outage the time still stands: what was sent during it is heard first."""
MIN_OUTAGE_MS = 5000
"""Senders bridge what is shorter by trying again; after a longer one silence is counted anew."""
JUMP_MS = 1000
"""By more than this the wall clock was set; what is less is drift."""
MAX_SPANS = 64


class Reading(NamedTuple):
    """Both clocks at one moment."""

    wall_ms: int
    heard_ms: int


class _Span(NamedTuple):
    """A time in which the wall clock was not set and the server could hear."""

    began_at: int
    """In heard ms; it lasts until the next one begins."""
    offset_ms: int
    """Wall time less heard time."""


class Hearing:
    """One for each engine; used by its event loop alone."""

    def __init__(self, clock: Clock) -> None:
        """The server begins to hear now."""
        self.clock = clock
        self._left_out_ms = 0
        self._stands_from: int | None = None
        """Steady ms since when the time stands still, in an outage and until its grace is over."""
        self._goes_on_at: int | None = None
        """Steady ms at which the grace ends; None in an outage that lasts."""
        self._commit_began_at: int | None = None
        self._stood_still_ms = clock.stood_still_ms()
        self._told_ms = self._listening_since = clock.steady_ms()
        self._spans = deque([_Span(self._told_ms, clock.now_ms() - self._told_ms)], maxlen=MAX_SPANS)

    @property
    def is_out(self) -> bool:
        """True from when nothing could be stored until something was."""
        return self._stands_from is not None and self._goes_on_at is None

    def now(self) -> Reading:
        """Wall time, and the time in which the server could hear: like wall time at the start, and never going back."""
        wall_ms, steady_ms = self.clock.now_ms(), self.clock.steady_ms()
        still_ms = self.clock.stood_still_ms() - self._stood_still_ms
        if still_ms:
            self._stood_still_ms += still_ms
            if not self.is_out:
                self._note_outage(steady_ms, still_ms)
        if self._goes_on_at is not None and self._stands_from is not None and steady_ms >= self._goes_on_at:
            self._left_out_ms += self._goes_on_at - self._stands_from
            self._stands_from = self._goes_on_at = None
        if self._stands_from is not None:
            return Reading(wall_ms, self._told(self._stands_from))
        if self._commit_began_at is not None and steady_ms > self._commit_began_at + MAX_COMMIT_MS:
            return Reading(wall_ms, self._told(self._commit_began_at + MAX_COMMIT_MS))
        heard_ms = self._told(steady_ms)
        offset_ms = wall_ms - heard_ms
        if abs(offset_ms - self._spans[-1].offset_ms) > JUMP_MS:
            self._spans.append(_Span(heard_ms, offset_ms))
        return Reading(wall_ms, heard_ms)

    @asynccontextmanager
    async def unit(self, store: Store) -> AsyncIterator[Unit]:
        """A unit of work, one at a time. What it takes too long is no time in which the server could hear."""
        async with store.begin() as unit:
            self.now()
            began_at = self._commit_began_at = self.clock.steady_ms()
            try:
                yield unit
            finally:
                lasted_ms = self.clock.steady_ms() - began_at
                self.now()
                self._commit_began_at = None
                if lasted_ms > MAX_COMMIT_MS and not self.is_out:
                    self._note_outage(began_at + MAX_COMMIT_MS, lasted_ms)

    async def try_again(self, unit: Unit) -> None:
        """In an outage finds out whether it is over: nobody else may come to write. Raises StorageFailed."""
        if self.is_out:
            await unit.try_to_write()
            self.go_on()

    def stop(self) -> None:
        """Nothing can be stored any more, so nobody is heard until `go_on`."""
        if not self.is_out:
            heard_ms = self.now().heard_ms
            if self._stands_from is None:
                self._stands_from = heard_ms + self._left_out_ms
            self._goes_on_at = None

    def go_on(self) -> None:
        """Something was stored."""
        if self.is_out and self._stands_from is not None:
            self._note_outage(self._stands_from, self.clock.steady_ms() - self._stands_from)

    def elapsed_ms(self, stamp_ms: int) -> int:
        """For how long the server could have heard more since this stamp of the wall clock, as far as is known.

        No longer than it has listened since its start and since its last long outage. Where the stamp may mean several
        moments, the clock having been set back, it means the last: better late than to end a run that lives.
        """
        now_ms = self.now().heard_ms
        return max(now_ms - max(self._heard_at(stamp_ms, now_ms), self._listening_since), 0)

    @overload
    def shown(self, lane: Lane) -> Lane: ...
    @overload
    def shown(self, lane: Lane | None) -> Lane | None: ...
    def shown(self, lane: Lane | None) -> Lane | None:
        """A lane with its times by the wall clock as that is set now."""
        wall_ms, heard_ms = self.now()
        return None if lane is None else lane.on_wall(wall_ms - heard_ms)

    def latest_stamp(self, elapsed_ms: int) -> int | None:
        """No stamp up to now that is later has `elapsed_ms` behind it; None when none at all has."""
        now_ms = self.now().heard_ms
        at_ms = now_ms - elapsed_ms
        if self._listening_since > at_ms:
            return None
        ends = [(span, min(end_ms, at_ms)) for span, end_ms in self._ended(now_ms) if span.began_at <= at_ms]
        return max((end_ms + span.offset_ms for span, end_ms in ends), default=None)

    def highest_stamp(self) -> int:
        """Later than whatever this process has stamped; what is past it was stamped by a wrong clock before."""
        now_ms = self.now().heard_ms
        return max(end_ms + span.offset_ms for span, end_ms in self._ended(now_ms)) + 2 * JUMP_MS

    def _told(self, steady_ms: int) -> int:
        self._told_ms = max(self._told_ms, steady_ms - self._left_out_ms)
        return self._told_ms

    def _note_outage(self, began_at: int, lasted_ms: int) -> None:
        """An outage is over; the time goes on after the grace. Both in steady ms."""
        if self._stands_from is None:
            self._stands_from = began_at
        self._goes_on_at = self.clock.steady_ms() + GRACE_MS
        if lasted_ms >= MIN_OUTAGE_MS:
            self._listening_since = self._told(self._stands_from)

    def _ended(self, now_ms: int) -> list[tuple[_Span, int]]:
        """The spans with their ends, the oldest first."""
        spans = list(self._spans)
        return [(span, after.began_at) for span, after in pairwise(spans)] + [(spans[-1], now_ms)]

    def _heard_at(self, stamp_ms: int, now_ms: int) -> int:
        """When something was stamped, in heard ms; of what was stamped before all that is known, when that began."""
        known = self._ended(now_ms)
        for number in range(len(known) - 1, -1, -1):
            span, end_ms = known[number]
            at_ms = stamp_ms - span.offset_ms
            if span.began_at - JUMP_MS <= at_ms <= end_ms + JUMP_MS:
                return min(max(at_ms, span.began_at), end_ms)
            before, ended_at = known[number - 1] if number else known[0]
            if number and at_ms < span.began_at and stamp_ms - before.offset_ms > ended_at:
                return span.began_at  # in what was leapt over: an outage, or the clock set ahead
        return known[0][0].began_at
