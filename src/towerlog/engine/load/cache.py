"""Rows that the writer has seen lately, so that a hot run costs no look-up.

It holds rows as they are stored: loading fills it, and a plan's changes enter it after their commit. It is dropped only
where publishing a commit fails, and where the store has been written by somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from towerlog.model.agent import AgentRow
from towerlog.model.alert import AlertRow
from towerlog.model.delivery import OutboxCounts
from towerlog.model.facts import LinkAbove
from towerlog.model.lane import Lane
from towerlog.model.names import META
from towerlog.model.principal import Counters
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.projections.scopes.budgets import BudgetSet
from towerlog.projections.scopes.prices import PriceSet
from towerlog.projections.scopes.row_sets import RowSet
from towerlog.projections.scopes.rules import RuleSet
from towerlog.store.values import Kind

if TYPE_CHECKING:  # what was loaded stands beside the cache, and so imports this
    from towerlog.engine.load.rows import Known

CACHED_ROWS = 16_384
CACHED_BYTES = 32 * 1024 * 1024
CACHED_NODES = 65_536
CACHED_IDS = 200_000
"""A map that has grown past its bound loses its oldest, between two groups. Of rows there are so many, and so many
bytes, of each kind."""
MAX_DROPPED = 4096
"""What of a map is dropped at once: more would hold up the event loop. What is left goes after the next groups."""
DEFAULT_ROW_BYTES = 1024
"""What a row takes if it holds no long lists or texts."""


MAX_IDS_OF_RUN = 16_384
"""Past it a run's ids are looked up again."""
MAX_RUNS_OF_TRACE = 16
"""The runs of a trace that has more are looked up each time."""


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

    def clear(self) -> None:
        """Without any."""
        super().clear()
        self._more.clear()
        self._sum = 0

    def put_all(self, rows: Iterable[tuple[K, V]]) -> None:
        """Adds them, one by one."""
        for key, row in rows:
            self[key] = row

    @property
    def held_bytes(self) -> int:
        """What all of them take, about."""
        return len(self) * DEFAULT_ROW_BYTES + self._sum


S = TypeVar("S", bound=RowSet[Any])


class OrgRows(Generic[S]):
    """Those of one plan: an organisation's rows of one kind as this group has left them."""

    def __init__(self, known: Known, kind: Kind, cached: RowMap[int, S]) -> None:
        """`cached`: those that the writer has seen lately, of this kind."""
        self._known = known
        self._kind = kind
        self._cached = cached
        self._changed: dict[int, S] = {}
        self._held: dict[int, S] = {}
        """What was asked for, as it is now."""

    def of(self, org: int) -> S:
        """Of an organisation; most have none. Raises NotLoaded."""
        found = self._held.get(org)
        if found is None:
            found = self._cached.get(org)
            found = self._held[org] = self._known.get(self._kind, org) if found is None else found
        return found

    def put(self, org: int, row_id: str, row: Any) -> None:
        """Changes a row, or adds it at the end; None: it is gone."""
        changed = self._changed.get(org)
        if changed is None:
            changed = self._held[org] = self.of(org).copy()
        self._changed[org] = changed
        changed.put(row_id, row)

    def keep(self) -> None:
        """The changes are on disk: the cache may know them."""
        self._cached.put_all(self._changed.items())


def _of_run(row: RunRow) -> int:
    size = memoryview(row.metadata).nbytes - 2
    if row.pending:
        size += row.pending_bytes()
    if row.shares:
        size += 512 * len(row.shares)
        told = [share.running for share in row.shares.values() if share.running is not None]
        size += sum([512 + 256 * len(running.points) for running in told])
    if row.dormant is not None:
        size += 1024 + sum([192 + len(name) + len(packed) for name, packed in row.dormant.shares.items()])
        size += len(row.dormant.forgotten)
    if row.clients:
        size += sum([256 + 128 * ledger.range_count() for ledger in row.clients.values()])
    if len(row.unplaced) > 1:  # most runs have one
        size += sum([128 + len(agent) for _, agent, _, _ in row.unplaced])
    if row.open_tools:
        size += sum([256 + len(call.call_id) for call in row.open_tools])
    if row.computed_cells:
        size += sum([128 + len(cell.agent) + len(cell.model) for cell in row.computed_cells])
    if row.told_totals:
        size += sum([256 + len(one.agent) + len(one.model) for one in row.told_totals])
    if row.questions:
        size += sum([256 + len(question.text or "") + len(question.key or "") for question in row.questions])
    return size


def _of_thread(row: ThreadRow) -> int:
    size = 40 * (len(row.open_runs) + len(row.lane_runs) - 2) if len(row.open_runs) + len(row.lane_runs) > 2 else 0
    if row.process_costs:
        size += sum([128 + len(process) for process in row.process_costs])
    if row.cost_places:
        size += sum([64 + 512 * len(places) for places in row.cost_places.values()])
    return size


def _of_lane(lane: Lane) -> int:
    return sum([200 + len(name) + len(value) for name, value in lane.labels.items()]) if lane.labels else 0


def _of_set(rows: RowSet[Any]) -> int:
    return rows.held_bytes


def _of_alert(alert: AlertRow) -> int:
    return len(alert.message) + len(alert.rule_name)


def _of_calls(calls: bytes) -> int:
    return len(calls)


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
        self.budgets: RowMap[int, BudgetSet] = RowMap(_of_set)
        """Of an organisation, all: most have none."""
        self.prices: RowMap[int, PriceSet] = RowMap(_of_set)
        self.alert_rules: RowMap[int, RuleSet] = RowMap(_of_set)
        """The same."""
        self.alerts: RowMap[tuple[int, str, str], AlertRow] = RowMap(_of_alert)
        """(org, rule id, subject) → the newest."""
        self.outbox_counts: dict[int, OutboxCounts] = {}
        """Of organisations: how many messages wait."""
        self.budgets_told: dict[tuple[int, str], tuple[int, int] | None] = {}
        """(org, budget id) → in which period, and what stands for the rules that all have told of it then."""
        self.calls: RowMap[int, bytes] = RowMap(_of_calls)
        """Run → the digests of what it has called last, one behind the other, where a rule watches for loops."""
        self.traces: dict[tuple[int, str], tuple[int, ...]] = {}
        """(org, what the run of a trace is called) → the numbers of all runs of the trace, where these are few."""
        self.links: dict[tuple[int, str, str], LinkAbove] = {}
        """(org, trace, span) → what a stored span says of what is above it; that does not change."""
        self.event_ids: dict[int, set[int]] = {}
        """For runs that began while they were cached: hashes of all their event ids. Any other id is new."""
        self.ids_held = 0

    def knows_ids(self, run: int) -> None:
        """From now on all event ids of a run that has just begun are remembered."""
        self.event_ids[run] = set()

    def note_begun(self, row: RunRow) -> None:
        """A run that has just begun: its event ids are remembered from now on, and that it is one of its trace."""
        self.knows_ids(row.run)
        if row.foreign_id is None or not self.traces:
            return
        name = row.foreign_id
        for at in [at for at, sign in enumerate(name) if sign == ":"] + [len(name)]:
            key = row.org, name[:at]
            known = self.traces.get(key)
            if known is not None:
                self.note_trace(*key, (row.run, *known))

    def note_trace(self, org: int, trace: str, runs: tuple[int, ...]) -> None:
        """Remembers the runs of a trace, where these are few."""
        if len(runs) <= MAX_RUNS_OF_TRACE:
            self.traces[org, trace] = runs
        else:
            self.traces.pop((org, trace), None)

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

    def leave_open(self) -> None:
        """Forgets what moves without a commit: lanes, whose times are by a clock that several nodes may share, and
        alerts and messages, the old ones of which are dropped."""
        for known in (self.lanes, self.alerts, self.outbox_counts):
            known.clear()

    def without_content(self) -> Cache:
        """This one, of which content is forgotten, and what moves without a commit."""
        self.nodes.clear()
        self.links.clear()
        self.leave_open()
        return self

    def leave_threads(self, left: Iterable[tuple[int, str]], moved: Iterable[RunRow]) -> None:
        """Forgets threads that are gone, and by which names runs were known in the threads that they have left."""
        for key in left:
            if key in self.threads:
                del self.threads[key]
        for row in moved:
            self.refs.pop((row.org, row.thread_id, row.trace_id), None)

    def trim(self) -> None:
        """Brings every map back under its bound, or nearer to it."""
        for rows in (
            self.runs,
            self.threads,
            self.agents,
            self.lanes,
            self.counters,
            self.budgets,
            self.prices,
            self.alert_rules,
            self.alerts,
            self.calls,
        ):
            _drop_oldest(rows, len(rows) - CACHED_ROWS)
            if rows.held_bytes > CACHED_BYTES:
                _drop_heavy(rows)
        for names in (self.refs, self.traces, self.links, self.agent_names, self.outbox_counts, self.budgets_told):
            _drop_oldest(names, len(names) - CACHED_ROWS)
        _drop_oldest(self.nodes, len(self.nodes) - CACHED_NODES)
        ids = self.event_ids
        if self.ids_held > CACHED_IDS or len(ids) > CACHED_ROWS:
            for run in list(islice(ids, MAX_DROPPED)):
                self.ids_held -= len(ids.pop(run))
                if self.ids_held <= CACHED_IDS and len(ids) <= CACHED_ROWS:
                    break


def _drop_oldest(rows: dict[Any, Any], count: int) -> None:
    if count > 0:
        for key in list(islice(rows, min(count, MAX_DROPPED))):
            del rows[key]


def _drop_heavy(rows: RowMap[Any, Any]) -> None:
    """Drops the oldest until the others take few enough bytes."""
    for key in list(islice(rows, MAX_DROPPED)):
        if rows.held_bytes <= CACHED_BYTES:
            return
        del rows[key]


def org_mark(org: int) -> bytes:
    """What stands before the name of a history's prefix, so that the cache knows those of all organisations apart."""
    return org.to_bytes(4, "big")


def metas_mark(org: int) -> bytes:
    """The same before the name of a list of metas, which is no history that another could go on from."""
    return org_mark(org) + META
