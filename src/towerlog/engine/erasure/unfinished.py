"""Erasures that the log tells of and that were not carried out to the end, found by what is still there."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.model.event import Event
from towerlog.model.facts import Erases
from towerlog.model.retention import Erasing
from towerlog.model.tombstone import covers

_WIDEST_LAST = (Erases.DELTAS, Erases.CHECKPOINTS, Erases.EVENTS)
"""Each covers what those before it do."""
_EVENTS = 2
"""The place of the widest, which covers all."""


class Unfinished:
    """What a walk over the log has found. An erasure goes from a run's first event on, so what it has not reached is
    whole."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.found: dict[int, list[Erasing]] = {}
        """By run, those that have left something."""
        self._whole: dict[int, int] = {}
        """The narrowest kinds of a run's content, as bits by their places."""

    def take(self, event: Event, run_id: str) -> None:
        """The next event, as it is stored. `run_id`: of its run."""
        scope = event.effects.erases
        whole = self._whole.get(event.run, 0)
        if scope is None:
            if event.facts.erased is None:
                # From the widest down: most events are of no narrower one.
                kind = _EVENTS
                while kind and covers(_WIDEST_LAST[kind - 1], event):
                    kind -= 1
                self._whole[event.run] = whole | 1 << kind
            return
        covered = (1 << _WIDEST_LAST.index(scope) + 1) - 1
        if whole & covered:
            self.found.setdefault(event.run, []).append(Erasing(event.run, event.org, scope, event.seq, run_id))
        self._whole[event.run] = whole & ~covered

    def beside(self, erasing: Iterable[int]) -> list[Erasing]:
        """Those of runs whose erasure is not under way."""
        known = frozenset(erasing)
        return [one for run, found in self.found.items() if run not in known for one in found]
