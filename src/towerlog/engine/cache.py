"""Rows that the writer has seen lately, so that a hot run costs no look-up. Only for a store that nobody else writes.

The planner changes the cache as it plans; whenever a commit does not happen, the whole cache is dropped.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from towerlog.model.identity import Counters
from towerlog.model.lease import Lane
from towerlog.model.run import AgentRow, RunRow, ThreadRow

CACHED_ROWS = 16_384
CACHED_NODES = 65_536
"""A map that has grown past its bound loses its older half, between two groups."""


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

    def trim(self) -> None:
        """Brings every map back under its bound."""
        for rows in (self.runs, self.refs, self.threads, self.agents, self.agent_names, self.lanes, self.counters):
            if len(rows) > CACHED_ROWS:
                _drop_older_half(rows)
        if len(self.nodes) > CACHED_NODES:
            _drop_older_half(self.nodes)


def _drop_older_half(rows: dict[Any, Any]) -> None:
    for key in list(islice(rows, len(rows) // 2)):
        del rows[key]
