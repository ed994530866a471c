"""Rows that the writer has seen lately, so that a hot run costs no look-up. Only for a store that nobody else writes.

The planner changes the cache as it plans; whenever a commit does not happen, the whole cache is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any, TypeVar

from towerlog.model.agent import AgentRow
from towerlog.model.lane import Lane
from towerlog.model.principal import Counters
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow

CACHED_ROWS = 16_384
CACHED_BYTES = 32 * 1024 * 1024
CACHED_NODES = 65_536
CACHED_IDS = 200_000
"""A map that has grown past its bound loses its older half, between two groups. Of rows there are so many, and so many
bytes, of each kind."""
DEFAULT_ROW_BYTES = 1024
"""What a row takes if it holds no long lists or texts."""


MAX_IDS_OF_RUN = 16_384
"""Past it a run's ids are looked up again."""


K = TypeVar("K")
V = TypeVar("V")


class RowMap(dict[K, V]):
    """Rows by key, with a count of their bytes; reading is as fast as that of any dictionary."""

    def __init__(self, more_bytes: Callable[[V], int]) -> None:
        """`more_bytes`: what a row takes beyond the usual, about."""
        super().__init__()
        self._more_bytes = more_bytes
        self._more: dict[K, int] = {}
        """Of rows that take more than usual."""
        self._sum = 0

    def __setitem__(self, key: K, row: V) -> None:
        more = self._more_bytes(row)
        if more or self._more:
            self._sum += more - self._more.pop(key, 0)
            if more:
                self._more[key] = more
        super().__setitem__(key, row)

    def __delitem__(self, key: K) -> None:
        self._sum -= self._more.pop(key, 0)
        super().__delitem__(key)

    def put_all(self, rows: Iterable[tuple[K, V]]) -> None:
        """Adds them, one by one."""
        for key, row in rows:
            self[key] = row

    @property
    def held_bytes(self) -> int:
        """What all of them take, about."""
        return len(self) * DEFAULT_ROW_BYTES + self._sum


def _of_run(row: RunRow) -> int:
    size = memoryview(row.metadata).nbytes - 2
    if row.pending:
        size += row.pending_bytes()
    if row.shares:
        size += 512 * len(row.shares)
    if row.clients:
        size += sum([256 + 128 * ledger.range_count() for ledger in row.clients.values()])
    if row.open_tools:
        size += sum([256 + len(call_id) for _, call_id in row.open_tools])
    if row.questions:
        size += sum([256 + len(question.text or "") + len(question.key or "") for question in row.questions])
    return size


def _of_thread(row: ThreadRow) -> int:
    return 40 * (len(row.open_runs) + len(row.lane_runs) - 2) if len(row.open_runs) + len(row.lane_runs) > 2 else 0


def _of_lane(lane: Lane) -> int:
    return sum([200 + len(name) + len(value) for name, value in lane.labels.items()]) if lane.labels else 0


def _no_more(_row: object) -> int:
    return 0


class Cache:
    """The maps of one writer: dictionaries, because the hot path reads them several times an event."""

    def __init__(self) -> None:
        """Empty."""
        self.runs: RowMap[int, RunRow] = RowMap(_of_run)
        self.refs: dict[tuple[int, str, str], int] = {}
        """A run reference → its run's number."""
        self.threads: RowMap[tuple[int, str], ThreadRow] = RowMap(_of_thread)
        self.agents: RowMap[tuple[int, str], AgentRow] = RowMap(_no_more)
        self.agent_names: dict[tuple[int, str], str] = {}
        """(org, agent_id) → name."""
        self.lanes: RowMap[int, Lane] = RowMap(_of_lane)
        self.nodes: dict[bytes, int] = {}
        """Prefixes of histories and lists of metas that are stored → how many messages or metas they have."""
        self.counters: RowMap[int, Counters] = RowMap(_no_more)
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
            if len(rows) > CACHED_ROWS or (isinstance(rows, RowMap) and rows.held_bytes > CACHED_BYTES):
                _drop_older_half(rows)
        if len(self.nodes) > CACHED_NODES:
            _drop_older_half(self.nodes)
        if self.ids_held > CACHED_IDS or len(self.event_ids) > CACHED_ROWS:
            _drop_older_half(self.event_ids)
            self.ids_held = sum(map(len, self.event_ids.values()))


def _drop_older_half(rows: dict[Any, Any]) -> None:
    for key in list(islice(rows, len(rows) // 2)):
        del rows[key]


def org_mark(org: int) -> bytes:
    """What stands before the name of a history's prefix, so that the cache knows those of all organisations apart."""
    return org.to_bytes(4, "big")
