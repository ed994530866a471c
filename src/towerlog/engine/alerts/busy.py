"""Who is at work at a moment, and what else they serve: a worker that holds a run, and has named its agents when it
claimed it, comes back for the next run of any of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from towerlog.model.lane import Lane

Kind = tuple[str, tuple[tuple[str, str], ...]]
"""Which workers may take a lane, in short: its agent and its labels."""


def kind_of(lane: Lane) -> Kind:
    """Agent and labels of a lane, the labels sorted by name."""
    return lane.agent, tuple(sorted(lane.labels.items()))


class Busy:
    """The kinds of runs that workers serve which hold one. Of a claim that named no agents, as that of one run by its
    id, no more is known than that its worker takes runs like the one that it holds."""

    def __init__(self, held: Iterable[Lane], serving_ms: int) -> None:
        """`held`: lanes of an organisation that workers hold, of which those count whose lease lasts at that moment."""
        self._like: dict[Kind, Lane] = {}
        self._naming: dict[str | None, dict[frozenset[tuple[str, str]], Lane]] = {}
        """Agent, None for any → labels of a worker that serves it → a lane that it holds."""
        self._found: dict[Kind, Lane | None] = {}
        for lane in held:
            if not lane.is_held(serving_ms):
                continue
            self._like.setdefault(kind_of(lane), lane)
            if lane.serves is not None:
                labels = frozenset(lane.serves.labels.items())
                for agent in (None,) if lane.serves.agents is None else lane.serves.agents:
                    self._naming.setdefault(agent, {}).setdefault(labels, lane)

    def __contains__(self, kind: object) -> bool:
        """Whether some worker at work serves runs of this kind."""
        return isinstance(kind, tuple) and self.lane_for(kind) is not None

    def lane_for(self, kind: Kind) -> Lane | None:
        """A lane whose holder serves runs of this kind; None where no worker at work does."""
        if kind not in self._found:
            self._found[kind] = self._like.get(kind) or self._named(kind)
        return self._found[kind]

    def _named(self, kind: Kind) -> Lane | None:
        agent, wanted = kind[0], set(kind[1])
        naming = chain(self._naming.get(agent, {}).items(), self._naming.get(None, {}).items())
        return next((lane for labels, lane in naming if wanted <= labels), None)
