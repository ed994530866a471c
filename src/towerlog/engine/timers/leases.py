"""Leases that ran out: the lane goes back to the queue, or the run is lost after its last attempt."""

from __future__ import annotations

from towerlog.engine.commands.lanes import expire
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Rounds, Upkeep, needs_to_move, one_by_one
from towerlog.model.lane import Lane, QueueState
from towerlog.store.base import Unit

SWEEP_ROWS = 100
"""Rows to one commit; a sweep goes on until nothing is due."""


class ExpiredLeases:
    """Takes lanes from holders that do not renew."""

    def __init__(self, upkeep: Upkeep) -> None:
        """`upkeep` commits between two groups."""
        self._upkeep = upkeep
        self._taken = 0
        self._looked_at = 0

    async def sweep(self) -> None:
        """All that have run out by now."""
        found: list[Lane] | None = []
        rounds = Rounds("leases")
        while found is not None and rounds.advance(found):
            self._taken = 0
            found = await self._upkeep(_expired, needs_to_move, self._expire)
            if found is not None and self._looked_at == len(found) and self._taken < SWEEP_ROWS:
                return

    def _expire(self, plan: Plan, found: list[Lane]) -> Steps[None]:
        taken = 0

        def look(plan: Plan, stored: Lane) -> Steps[None]:
            nonlocal taken
            lane, row = plan.lane(stored.run) or stored, plan.run_by_number(stored.run)
            if row is not None and lane.state is QueueState.HELD and not lane.is_held(plan.serving_ms):
                expire(plan, lane, row)
                taken += 1
                yield

        self._looked_at = yield from one_by_one(plan, found, look)
        self._taken = taken


async def _expired(unit: Unit, serving_ms: int) -> list[Lane]:
    return await unit.lanes_expired(serving_ms, SWEEP_ROWS)
