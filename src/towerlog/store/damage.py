"""What readers of a store have found damaged: counted, logged once a place, and how often reading itself has failed.

One object a store, shared by its threads. What is damaged is told to whoever asked; here it is told to the operator.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import structlog

from towerlog.errors import StorageFailed
from towerlog.model.event import DamagedEvent

_log = structlog.get_logger("towerlog.store")

MAX_PLACES_LOGGED = 1000
"""Damaged places that are logged, each once; past them they are only counted."""
FAILURES_NOT_READY = 3
FAILURES_WITHIN_MS = 60_000
"""So many failed reads in so long a time, and the store is not ready for work."""
FAILURES_OVER_MS = 4_000
"""Ready again after this many ms without a failed read. Asking whether it is ready
reads real pages, so no failure lasts unseen."""


class Damages:
    """Counts and logs. Its methods may be called from any thread."""

    def __init__(self, steady_ms: Callable[[], int], *, is_logged: bool = True) -> None:
        """Nothing found yet. Without a log for a command that says itself what it finds."""
        self._steady_ms = steady_ms
        self._max_logged = MAX_PLACES_LOGGED if is_logged else 0
        self.found = 0
        """Events and contents that were asked for and could not be handed out."""
        self.failures = 0
        """Reads that the disk or SQLite has failed."""
        self.lack: StorageFailed | None = None
        """The first answer that there was no descriptor or no memory for: what a check found then it has not found."""
        self.unread: StorageFailed | None = None
        """The first answer that the disk has failed to read for: of a store that is a finding, of a copy that was made
        for the check it is none."""
        self._lock = threading.Lock()
        self._places: set[tuple[object, ...]] = set()
        self._failed_at: deque[int] = deque(maxlen=FAILURES_NOT_READY)
        self._failing_since: int | None = None
        """How many failures there had been when those began that last; None where none do."""

    def note(self, event: DamagedEvent) -> None:
        """An event, or a stretch of a run, that was asked for and cannot be handed out."""
        if self._is_new((event.org, event.position, event.run, event.seq)):
            _log.error(
                "a stored event is damaged",
                org=event.org, position=event.position, run=event.run, seq=event.seq, first_seq=event.first_seq,
                reason=event.reason,
            )  # fmt: skip

    def note_content(self, org: int, node: bytes, reason: str) -> None:
        """A history or a meta list, by its key, that was asked for and cannot be handed out."""
        if self._is_new((org, node)):
            _log.error("stored content is damaged", org=org, key=node.hex(), reason=reason)

    def _is_new(self, place: tuple[object, ...]) -> bool:
        with self._lock:
            self.found += 1
            if place in self._places or len(self._places) >= self._max_logged:
                return False
            self._places.add(place)
            return True

    def note_failure(self, error: Exception) -> None:
        """A read that failed with an I/O error, or on pages that are no database. Logged when such begin, and when
        there has been none for `FAILURES_WITHIN_MS`."""
        self._note_over()
        if isinstance(error, StorageFailed):
            self.note_lack(error)
        with self._lock:
            is_first = self._failing_since is None
            if is_first:
                self._failing_since = self.failures
            self.failures += 1
            self._failed_at.append(self._steady_ms())
        if is_first and self._max_logged:
            _log.error("a read of the store failed", error=f"{type(error).__name__}: {error}")

    def note_lack(self, failed: StorageFailed) -> None:
        """An answer that failed with this, or a part of one."""
        if failed.is_lack and self.lack is None:
            self.lack = failed
        if failed.is_unread and self.unread is None:
            self.unread = failed

    def _note_over(self) -> None:
        with self._lock:
            since = self._failing_since
            if since is None or self._steady_ms() - self._failed_at[-1] <= FAILURES_WITHIN_MS:
                return
            self._failing_since, count = None, self.failures - since
        if self._max_logged:
            _log.info("reads of the store work again", failures=count)

    def is_failing(self) -> bool:
        """True after so many failed reads within `FAILURES_WITHIN_MS`, until `FAILURES_OVER_MS` after the last."""
        self._note_over()
        now_ms = self._steady_ms()
        with self._lock:
            if len(self._failed_at) < FAILURES_NOT_READY:
                return False
            first_ms, last_ms = self._failed_at[0], self._failed_at[-1]
        return now_ms - first_ms <= FAILURES_WITHIN_MS and now_ms - last_ms <= FAILURES_OVER_MS
