"""Budgets, as they are read. They are written by units alone.

Laws:

* A budget is state, no projection: the last one written stands, and a rebuild leaves it alone.
* One that is deleted and still stored is shown to nobody.
* Times of reservations are on the clock of leases; opening a store gives each its whole time anew.
"""

from __future__ import annotations

from typing import Protocol

from towerlog.model.budget import BudgetRow, HeldWanted, Reservation
from towerlog.store.values import Found


class BudgetStore(Protocol):
    """Reads of budgets."""

    async def budget(self, org: int, budget_id: str) -> BudgetRow | None:
        """One budget."""
        ...

    async def reservations(self, wanted: HeldWanted) -> Found[Reservation]:
        """Open reservations, by their ids from the highest down: newest first. Times are on the clock of leases."""
        ...

    async def budgets_pausing(self, org: int) -> dict[str, int]:
        """How many runs each budget has paused, by its id, whether its own row is there or not."""
        ...

    async def budgets(self, org: int, limit: int, before: int | None) -> Found[BudgetRow]:
        """Budgets below a number, newest first."""
        ...
