"""What each event of a run tells of usage, which takes all of them: worked out once for all parts of a reply."""

from __future__ import annotations

from typing import NamedTuple

from towerlog.engine.queries.views import add_names
from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.model.span_figures import SpanFigures
from towerlog.store.base import Store

PAGE_EVENTS = 500
"""Of a run, that are read at a time."""
MAX_FIGURE_EVENTS = 100_000
"""So many of them: what comes later is told as it was added."""
MAX_KEPT_BYTES = 48 * 1024 * 1024
"""Of what was worked out and is kept, of all runs: what was asked for longest ago gives way."""
NAME_BYTES = 300
"""About what the name of an agent takes."""
Place = tuple[str, int, int]
"""The epoch of the log, an organisation, a run."""


class RunFigures(NamedTuple):
    """What was worked out of a run. It is not changed any more: who encodes a reply reads it in another thread."""

    names: dict[int, str]
    """Of the agents that its events are of, by number."""
    figures: SpanFigures
    usage_seq: int
    """Of the last event that it has of those that move what the run has spent: others change nothing."""

    def size(self) -> int:
        """In bytes, about."""
        return self.figures.size() + NAME_BYTES * len(self.names)


class KeptFigures:
    """By run; the one that was asked for last is the last."""

    def __init__(self) -> None:
        """Of no runs."""
        self._of_runs: dict[Place, RunFigures] = {}

    async def of(self, store: Store, run: RunRow) -> RunFigures:
        """Of a run that is told in parts: worked out, unless it is known and nothing was spent since."""
        place = store.epoch, run.org, run.run
        known = self._of_runs.pop(place, None)
        if known is None or known.usage_seq != run.usage_seq:
            known = await _worked_out(store, run)
        self._of_runs[place] = known
        held = sum(one.size() for one in self._of_runs.values())
        while held > MAX_KEPT_BYTES:
            held -= self._of_runs.pop(next(iter(self._of_runs))).size()
        return known

    def forget(self, org: int, run: int) -> None:
        """A run of which something was erased."""
        for place in [one for one in self._of_runs if one[1:] == (org, run)]:
            del self._of_runs[place]

    def forget_all(self) -> None:
        """Of whatever run."""
        self._of_runs.clear()


async def _worked_out(store: Store, run: RunRow) -> RunFigures:
    """From its events, as many as are read for it."""
    names: dict[int, str] = {}
    figures, seq = SpanFigures(names), 0
    while seq < min(run.last_seq, MAX_FIGURE_EVENTS):
        page = await store.events(run.org, run.run, seq, PAGE_EVENTS, None, run.last_seq)
        if not page:
            break
        events = [one for one in page if isinstance(one, Event)]
        await add_names(store, run.org, names, events)
        for event in events:
            figures.take(event)
        seq = page[-1].seq
    figures.finish(run)
    return RunFigures(names, figures, run.usage_seq)
