"""Rows that the writer has seen lately, so that a hot run costs no look-up. Only for a store that nobody else writes.

The planner changes the cache as it plans; whenever a commit does not happen, the whole cache is dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

from towerlog.model.agent import AgentRow
from towerlog.model.lane import Lane
from towerlog.model.principal import Counters
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow

CACHED_ROWS = 16_384
CACHED_NODES = 65_536
CACHED_IDS = 200_000
"""A map that has grown past its bound loses its older half, between two groups."""


MAX_IDS_OF_RUN = 16_384
"""Past it a run's ids are looked up again."""


class Cache:
    """The maps of one writer: plain dictionaries, because the hot path reads them several times an event."""

    def __init__(self) -> None:
        """Empty."""
        self.runs: dict[int, RunRow] = {}
        self.refs: dict[tuple[int, str, str], int] = {}
        """A run reference → its run's number."""
        self.threads: dict[tuple[int, str], ThreadRow] = {}
        self.agents: dict[tuple[int, str], AgentRow] = {}
        self.agent_names: dict[tuple[int, str], str] = {}
        """(org, agent_id) → name."""
        self.lanes: dict[int, Lane] = {}
        self.nodes: dict[bytes, bool] = {}
        self.counters: dict[int, Counters] = {}
        self.event_ids: dict[int, set[int]] = {}
        """For runs that began while they were cached: hashes of all their event ids. Any other id is new."""
        self.ids_held = 0

    def knows_ids(self, run: int) -> None:
        """From now on all event ids of a run that has just begun are remembered."""
        self.event_ids[run] = set()

    def note_ids(self, run: int, ids: Collection[str]) -> None:
        """Remembers new event ids of a run, if its ids are remembered."""
        known = self.event_ids.get(run)
        if known is None:
            return
        self.ids_held -= len(known)
        if len(known) + len(ids) > MAX_IDS_OF_RUN:
            del self.event_ids[run]
            return
        known.update(map(hash, ids))
        self.ids_held += len(known)

    def trim(self) -> None:
        """Brings every map back under its bound."""
        for rows in (self.runs, self.refs, self.threads, self.agents, self.agent_names, self.lanes, self.counters):
            if len(rows) > CACHED_ROWS:
                _drop_older_half(rows)
        if len(self.nodes) > CACHED_NODES:
            _drop_older_half(self.nodes)
        if self.ids_held > CACHED_IDS or len(self.event_ids) > CACHED_ROWS:
            _drop_older_half(self.event_ids)
            self.ids_held = sum(map(len, self.event_ids.values()))


def _drop_older_half(rows: dict[Any, Any]) -> None:
    for key in list(islice(rows, len(rows) // 2)):
        del rows[key]
