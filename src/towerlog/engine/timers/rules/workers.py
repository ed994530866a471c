"""Which workers ask for work, from what they ask this node or another for; a restart begins with none."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from towerlog.ambient import ServingTime
from towerlog.model.lane import Lane

MAX_KNOWN = 10_000
"""Of all organisations; of more, those that asked longest ago are forgotten."""
LATELY_MS = 90_000
"""A worker that has asked within this time waits for work: a claim that waits is asked anew each minute."""


_Key = TypeVar("_Key")


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
        self._seen: dict[tuple[int, str, str], int] = {}

    def note(
        self,
        org: int,
        agents: tuple[str, ...] | None,
        labels: tuple[tuple[str, str], ...],
        worker_id: str = "",
        key_id: str = "",
    ) -> None:
        """A worker has asked a node for work, under this key; `agents` None: of any. Without a `worker_id` it is a node
        of an older version that tells of it."""
        now = self._serving.now().serving_ms
        _put(self._asked, _Asking(org, agents, labels), now)
        if worker_id:
            _put(self._seen, (org, worker_id, key_id), now)

    def lately(self, org: int, serving_ms: int) -> list[tuple[str, str, int]]:
        """Workers of an organisation that have asked within LATELY_MS: who, under which key, and when."""
        found = self._seen.items()
        return [(who, key, at) for (of, who, key), at in found if of == org and at >= serving_ms - LATELY_MS]

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


def _put(known: dict[_Key, int], key: _Key, at: int) -> None:
    known.pop(key, None)
    known[key] = at
    while len(known) > MAX_KNOWN:
        del known[next(iter(known))]
