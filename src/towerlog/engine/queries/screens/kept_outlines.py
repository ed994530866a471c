"""What was worked out of long runs for their outlines: asked again, a run costs the events that are new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from towerlog.model.outline import Moment
from towerlog.projections.outline import Outliner

MIN_KEPT_EVENTS = 2000
"""Of a run whose outline is kept: shorter ones are read again."""
MAX_KEPT_SPANS = 100_000
"""Of all outlines that are kept: those that were asked for longest ago give way. A span takes about 250 bytes."""
T = TypeVar("T")


class KeptOutline:
    """An outline, and how far it has got. Several requests may read on at once, each in threads of its own: what
    another has taken meanwhile is not taken again."""

    def __init__(self) -> None:
        """Of a run that was not looked at yet."""
        self._lock = threading.Lock()
        self.outliner = Outliner()
        self.last_seq = 0

    def take(self, page: Sequence[Moment]) -> None:
        """The events after some that are known."""
        with self._lock:
            new = page if page[0].seq > self.last_seq else [one for one in page if one.seq > self.last_seq]
            if new:
                self.outliner.take(new)
                self.last_seq = new[-1].seq

    def look(self, at: Callable[[KeptOutline], T]) -> T:
        """What somebody makes of it, while it does not grow."""
        with self._lock:
            return at(self)


class KeptOutlines:
    """By run; the one that was asked for last is the last."""

    def __init__(self) -> None:
        """Of no runs."""
        self._of_runs: dict[tuple[int, int], KeptOutline] = {}

    def of(self, org: int, run: int) -> KeptOutline:
        """What is known of a run; for one that is not known, nothing."""
        return self._of_runs.get((org, run)) or KeptOutline()

    def forget(self, org: int, run: int) -> None:
        """A run whose content was erased."""
        self._of_runs.pop((org, run), None)

    def forget_all(self) -> None:
        """Of whatever run."""
        self._of_runs.clear()

    def keep(self, org: int, run: int, kept: KeptOutline) -> None:
        """After it was looked at."""
        self._of_runs.pop((org, run), None)
        if kept.outliner.events < MIN_KEPT_EVENTS:
            return
        self._of_runs[org, run] = kept
        held = sum([one.outliner.span_count for one in self._of_runs.values()])
        while held > MAX_KEPT_SPANS:
            held -= self._of_runs.pop(next(iter(self._of_runs))).outliner.span_count
