"""Rows that the writer has seen lately, so that a hot run costs no look-up. Only for a store that nobody else writes.

The planner changes the cache as it plans; whenever a commit does not happen, the whole cache is dropped.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from towerlog.model.identity import Counters
from towerlog.model.lease import Lane
from towerlog.model.run import AgentRow, RunRow, ThreadRow

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

GENERATION_ROWS = 8192
"""Each map holds at most two generations of this many rows."""


class Generations(Generic[K, V]):
    """A map that forgets what was not used for a while: a full young generation becomes the old one."""

    __slots__ = ("_old", "_rows", "_young")

    def __init__(self, rows: int = GENERATION_ROWS) -> None:
        """`rows`: how many fit one generation."""
        self._rows = rows
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, None when unknown."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remembers a value."""
        if len(self._young) >= self._rows and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def drop(self, key: K) -> None:
        """Forgets one key."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def __len__(self) -> int:
        """How many entries there are, counting one that stands in both generations twice."""
        return len(self._young) + len(self._old)


class Cache:
    """The maps of one writer."""

    def __init__(self) -> None:
        """Empty."""
        self.runs: Generations[int, RunRow] = Generations()
        self.refs: Generations[tuple[int, str, str], int] = Generations()
        self.threads: Generations[tuple[int, str], ThreadRow] = Generations()
        self.agents: Generations[tuple[int, str], AgentRow] = Generations()
        self.agent_names: Generations[tuple[int, str], str] = Generations()
        """(org, agent_id) → name."""
        self.lanes: Generations[int, Lane] = Generations()
        self.nodes: Generations[bytes, bool] = Generations(32_768)
        self.counters: Generations[int, Counters] = Generations()
