"""Cancels of large families: what the cancel itself left of the runs below, a step at a time.

What is still to be done is stored with each step, so that a restart goes on where the last one ended.
"""

from __future__ import annotations

from towerlog.engine.control.cancel import spread
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Upkeep
from towerlog.store.base import Unit
from towerlog.store.values import Spread


class SpreadingCancels:
    """Takes the steps of every cancel that has some left."""

    def __init__(self, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups."""
        self._upkeep = upkeep

    async def sweep(self) -> None:
        """Until none is left. Whatever else waits for a commit gets its turn between two steps."""
        while await self._upkeep(_find, _needs, _place):
            pass


async def _find(unit: Unit, _serving_ms: int) -> list[Spread]:
    return await unit.spreads(1)


def _needs(needs: Needs, found: list[Spread]) -> None:
    for told in found:
        needs.counters(told.org)
        row = needs.run_by_number(told.run)
        if row is not None:
            needs.ends_below(row, told.forced)


def _place(plan: Plan, found: list[Spread]) -> Steps[None]:
    for told in found:
        row = plan.run_by_number(told.run)
        if row is None:
            plan.changes.spreads[told.run] = None
        else:
            yield from spread(plan, row, told)
