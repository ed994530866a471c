"""The budgets of an organisation by whose money they count. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.model.budget import BudgetRow
from towerlog.projections.scopes.row_sets import ALL, RowSet, ScopeIndex


class BudgetSet(RowSet[BudgetRow]):
    """All of them, also those that are deleted and still stored."""

    ROW_BYTES = 1024

    def __init__(self, rows: Iterable[BudgetRow] = ()) -> None:
        """Of all rows, the oldest first."""
        super().__init__(rows)
        self._index: ScopeIndex | None = None
        self._exceeded: set[str] = set()
        self._exceeded_in_places: set[str] = set()
        self._holding: set[str] = set()
        for row in self.values():
            self._note(row.budget_id, row)

    def id_of(self, row: BudgetRow) -> str:
        return row.budget_id

    def bytes_of(self, row: BudgetRow) -> int:
        texts = (row.name, row.scope.agent, row.scope.thread_id, row.scope.run_id)
        return sum([len(text or "") for text in texts])

    def copy(self) -> BudgetSet:
        other = super().copy()
        other._exceeded, other._holding = self._exceeded.copy(), self._holding.copy()
        other._exceeded_in_places = self._exceeded_in_places.copy()
        other._index = self._index
        return other

    def put(self, row_id: str, row: BudgetRow | None) -> None:
        before = self.get(row_id)
        super().put(row_id, row)
        if (
            before is None
            or row is None
            or before.is_exceeded is not row.is_exceeded
            or before.reserved_nanos != row.reserved_nanos
        ):
            self._note(row_id, row)

    def _note(self, row_id: str, row: BudgetRow | None) -> None:
        exceeded, holds = row is not None and row.is_exceeded, row is not None and row.reserved_nanos > 0
        is_place = exceeded and row is not None and bool(row.scope.run_id or row.scope.thread_id)
        of_it = ((self._exceeded, exceeded), (self._exceeded_in_places, is_place), (self._holding, holds))
        for ids, is_in in of_it:
            if is_in:
                ids.add(row_id)
            else:
                ids.discard(row_id)

    def is_alike(self, before: BudgetRow, after: BudgetRow) -> bool:
        # The scope of a budget never changes.
        return before.name is after.name and before.deleted is after.deleted

    def forget(self) -> None:
        self._index = None

    @property
    def index(self) -> ScopeIndex:
        """Those that are not deleted by what they are about."""
        if self._index is None:
            self._index = ScopeIndex((row.budget_id, row.scope) for row in self.values() if not row.deleted)
        return self._index

    def about(self, agent: str | None, thread_id: str, above: Iterable[str] = ()) -> list[BudgetRow]:
        """Those that count what this agent spends in this thread, and in the trees of these runs; the oldest first."""
        return [self[budget_id] for budget_id in self.ids_about(agent, thread_id, above)]

    def ids_about(self, agent: str | None, thread_id: str, above: Iterable[str] = ()) -> list[str]:
        """Their ids."""
        index = self.index
        place = index.place(agent or "", thread_id, None)
        ids = index.known(place)
        if ids is None:
            keys = [ALL, ("agent", agent or ""), ("thread", thread_id)]
            ids = index.keep(place, index.ids([*keys, *[("run", run_id) for run_id in above]]))
        return ids

    def of_trees(self, run_ids: Iterable[str]) -> list[BudgetRow]:
        """Those of the trees of these runs."""
        return [self[budget_id] for budget_id in self.index.ids(("run", run_id) for run_id in run_ids)]

    def of_thread(self, thread_id: str) -> list[BudgetRow]:
        """Those of this thread."""
        return [self[budget_id] for budget_id in self.index.ids([("thread", thread_id)])]

    @property
    def counts_trees(self) -> bool:
        """Whether some budget is of a tree."""
        return "run" in self.index.kinds

    @property
    def exceeds(self) -> bool:
        """Whether some budget is used up."""
        return bool(self._exceeded)

    @property
    def exceeds_in_places(self) -> bool:
        """Whether some budget of a thread or a tree is used up: whom that concerns is told by runs."""
        return bool(self._exceeded_in_places)

    @property
    def holds(self) -> bool:
        """Whether reservations hold something of some budget."""
        return bool(self._holding)
