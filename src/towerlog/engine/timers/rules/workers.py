"""Which workers ask for work, from what they ask this node or another for; a restart begins with none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from towerlog.ambient import ServingTime
from towerlog.model.lane import Lane
from towerlog.model.principal import Principal

MAX_KNOWN = 10_000
"""Of all organisations; of more, those that asked longest ago are forgotten."""


class _Asking(NamedTuple):
    """A worker, as its claims tell of it."""

    org: int
    agents: tuple[str, ...] | None
    labels: tuple[tuple[str, str], ...]


class Workers:
    """When each kind of worker has asked for work last."""

    def __init__(self, serving: ServingTime) -> None:
        """Nobody has asked yet."""
        self._serving = serving
        self._since = serving.now().serving_ms
        self._asked: dict[_Asking, int] = {}

    def note(self, principal: Principal, agents: tuple[str, ...] | None, labels: Mapping[str, str]) -> None:
        """A worker asks for work; `agents` None: of any."""
        self.note_asked(principal.org, agents, tuple(sorted(labels.items())))

    def note_asked(self, org: int, agents: tuple[str, ...] | None, labels: tuple[tuple[str, str], ...]) -> None:
        """The same, of whichever node."""
        asking = _Asking(org, agents, labels)
        self._asked.pop(asking, None)
        self._asked[asking] = self._serving.now().serving_ms
        while len(self._asked) > MAX_KNOWN:
            del self._asked[next(iter(self._asked))]

    def serves(self, lane: Lane, within_ms: int, serving_ms: int) -> bool:
        """Whether some worker that could take this lane has asked within that time; true as well while this process has
        not listened for so long."""
        since = serving_ms - within_ms
        if self._since > since:
            return True
        return any(
            at >= since and asking.org == lane.org and lane.may_be_taken_by(asking.agents, dict(asking.labels))
            for asking, at in self._asked.items()
        )
