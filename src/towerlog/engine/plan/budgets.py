"""What one group changes of budgets: a part of its plan, which answers as it does.

Most of what is spent moves nothing of a budget but its sum. It is carried forward here, as a run's plain events are,
and brought into the row when somebody asks for it or the group is settled. Up to which sum nothing else follows is
worked out by the reactions, for each place in which money is spent.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import msgspec

from towerlog.engine.load.cache import OrgRows
from towerlog.engine.load.rows import Known
from towerlog.model.budget import BudgetRow, BudgetScope, Period, period_end
from towerlog.model.times import LATEST_MS
from towerlog.projections import budgets as fold
from towerlog.projections.scopes.budgets import BudgetSet
from towerlog.store.lookup_keys import SpentSince
from towerlog.store.values import Changes, Kind


class Carried(msgspec.Struct, eq=False):
    """What was spent of a budget since its row was put, in nano-dollars; and calls whose cost nobody knows."""

    nanos: int = 0
    calls: int = 0


class SpendingPlace(NamedTuple):
    """Where money is spent: what is carried forward of each budget that counts it there, and up to which sum."""

    sums: tuple[tuple[Carried, int], ...]

    def take(self, nanos: int, calls: int) -> bool:
        """Carries forward what was spent here; False, and nothing is, where more may follow from it."""
        for carried, room in self.sums:
            if carried.nanos + nanos > room:
                return False
        for carried, _ in self.sums:
            carried.nanos += nanos
            carried.calls += calls
        return True


class SpendingPlaces:
    """The places of an organisation, as worked out by its budgets and rules: void once one of these changes."""

    __slots__ = ("by_agents", "by_name", "sums", "version")

    def __init__(self, version: int) -> None:
        """None yet; `version`: of the rules, and of what they have told."""
        self.version = version
        self.by_name: dict[Hashable, SpendingPlace] = {}
        """What tells which budgets and rules are about something → its place."""
        self.by_agents: dict[tuple[str, str | None], SpendingPlace] = {}
        """The same by the agent that spends and that of its run, where nothing else tells."""
        self.sums: dict[tuple[str, Hashable], tuple[Carried, int]] = {}
        """(budget id, what tells which rules are about a run) → what is carried forward of it, and up to which sum it
        may be before more follows."""


class BudgetChanges:
    """The changes of one group, growing."""

    def __init__(self, known: Known, changes: Changes, now_ms: int) -> None:
        """`changes`: the plan's, in which they are written; `now_ms`: its time."""
        self._changes = changes
        self._now_ms = now_ms
        self._rows: OrgRows[BudgetSet] = OrgRows(known, Kind.BUDGETS, known.cache.budgets)
        self._carried: dict[int, dict[str, Carried]] = {}
        """Organisation → budget id → what its row does not know of yet."""
        self._places: dict[int, SpendingPlaces] = {}
        """By organisation; until one of its budgets is put."""

    def of(self, org: int) -> BudgetSet:
        """The organisation's budgets, as this group has left them; most have none. Raises NotLoaded."""
        if org in self._carried:
            self._bring_in(org)
        return self._rows.of(org)

    def as_put(self, org: int) -> BudgetSet:
        """Budgets without unsaved spending, which neither uses up nor makes one: for all but their sums."""
        return self._rows.of(org)

    def get(self, org: int, budget_id: str) -> BudgetRow | None:
        """Budget with this id, or None."""
        return self.of(org).get(budget_id)

    def put(self, org: int, budget_id: str, row: BudgetRow | None) -> None:
        """Changes a budget, or adds it at the end; None: it is gone."""
        self._places.pop(org, None)
        self._rows.put(org, budget_id, row)
        self._changes.budgets[org, budget_id] = row

    def places(self, org: int, version: int) -> SpendingPlaces:
        """The organisation's places, by this version of its rules."""
        found = self._places.get(org)
        if found is None or found.version != version:
            found = self._places[org] = SpendingPlaces(version)
        return found

    def carried(self, org: int, budget_id: str) -> Carried:
        """What is carried forward of a budget, to be added to."""
        return self._carried.setdefault(org, {}).setdefault(budget_id, Carried())

    def settle(self) -> None:
        """Brings all that is carried forward into the rows."""
        for org in list(self._carried):
            self._bring_in(org)

    def _bring_in(self, org: int) -> None:
        some = {budget_id: one for budget_id, one in self._carried[org].items() if one.nanos or one.calls}
        if not some:
            return
        # What places know of is brought in, and is not to grow any more.
        del self._carried[org]
        self._places.pop(org, None)
        for budget_id, one in some.items():
            row = self._rows.of(org).get(budget_id)
            if row is not None:
                after = fold.unpriced(fold.current(row, self._now_ms), one.calls)
                self.put(org, budget_id, fold.spent_in_period(after, one.nanos).row if one.nanos else after)

    def keep(self) -> None:
        """The changes are on disk: the cache may know them."""
        self._rows.keep()


def spent_in(org: int, scope: BudgetScope, period: Period, start: int) -> SpentSince:
    """What was spent in a period: not what a clock that was ahead has put after it."""
    until = period_end(period, start) or LATEST_MS
    if scope.agent is not None:
        return SpentSince(org, "agent", scope.agent, start, until=until)
    if scope.thread_id is not None:
        return SpentSince(org, "thread", scope.thread_id, start, until=until)
    if scope.run_id is not None:
        return SpentSince(org, "run", scope.run_id, start, until=until)
    return SpentSince(org, "organisation", "", start, until=until)
