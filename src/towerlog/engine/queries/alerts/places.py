"""Where runs stand as far as the log has been gone through: which of them a rule is about then, and not by now."""

from __future__ import annotations

from collections.abc import Mapping

from towerlog.engine.alerts.scope import covers, has_label
from towerlog.engine.load.fetching import RefKey
from towerlog.engine.load.own_runs import run_ids_above
from towerlog.engine.load.rows import ref_key
from towerlog.model.alert import AlertScope
from towerlog.model.event import NamedRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.lane import Lane
from towerlog.model.run import RunRow
from towerlog.store.columns.questions.parents import names_of


class PlacesOfRuns:
    """The runs that may be in a scope. Of one that is about no tree each run's own row tells."""

    def __init__(self, scope: AlertScope, lanes: Mapping[int, Lane | None]) -> None:
        """None is known. `lanes`: by the numbers of runs, those that are known when a label is asked for."""
        self._scope = scope
        self._lanes = lanes
        self._rows: dict[int, RunRow] = {}
        self._refs: dict[RefKey, int] = {}
        self._children: dict[str, list[int]] = {}
        """`parent_key` → the runs that have it."""

    def put(self, row: RunRow) -> None:
        """A run as it is now."""
        if self._scope.run_id is None:
            return
        before = self._rows.get(row.run)
        self._rows[row.run] = row
        if before is None or before.thread_id != row.thread_id:
            self._name(row)
        if row.parent_key is not None and (before is None or before.parent_key is None):
            self._children.setdefault(row.parent_key, []).append(row.run)

    def _name(self, row: RunRow) -> None:
        refs: list[NamedRun] = [RunById(row.run_id), RunByTrace(row.thread_id, row.trace_id)]
        if row.foreign_id is not None:
            refs.append(RunByForeignId(row.foreign_id, row.thread_id))
        for ref in refs:
            key = ref_key(row.org, ref)
            self._refs[key] = max(row.run, self._refs.get(key, 0))

    def is_in(self, row: RunRow, agent: str | None) -> bool:
        """Whether the rule is about a run, or about what an agent does in it."""
        scope = self._scope
        if not covers(scope, row, agent) or (scope.run_id is not None and scope.run_id not in self._above(row)):
            return False
        return scope.label is None or has_label(row, self._lanes.get(row.run), scope.label)

    def _above(self, row: RunRow | None) -> set[str]:
        """Ids of the run and of those above it."""
        return set() if row is None else run_ids_above(row, lambda ref: self._find(row.org, ref))

    def _find(self, org: int, ref: NamedRun) -> RunRow | None:
        return self._rows.get(self._refs.get(ref_key(org, ref), 0))

    def move(self, before: RunRow | None, after: RunRow) -> list[RunRow]:
        """A run stands elsewhere; the runs that have come into the scope by that after they had begun: itself, and
        those below it."""
        was_in, was_below = before is not None and self.is_in(before, None), self._above(before)
        self.put(after)
        entered = [after] if before is not None and not was_in and self.is_in(after, None) else []
        joined = self._above(after) - was_below - {after.run_id}
        if self._scope.run_id not in joined:
            return entered
        return entered + [row for row in self._below(after) if self.is_in(row, None)]

    def _below(self, top: RunRow) -> list[RunRow]:
        found, ahead = set[int](), [top]
        while ahead:
            named = {run for name in names_of(ahead.pop()) for run in self._children.get(name, ())}
            ahead += [self._rows[run] for run in named - found]
            found |= named
        rows = [self._rows[run] for run in sorted(found - {top.run})]
        return [row for row in rows if top.run_id in self._above(row)]
