"""Cancels that nobody answered by their deadline: the run is ended, whether its agent lives or not."""

from __future__ import annotations

from towerlog.engine.control.cancel import force_cancelled
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Upkeep, one_by_one
from towerlog.model.run import RunRow, Status
from towerlog.store.base import Unit

SWEEP_ROWS = 100
"""Rows to one commit; a sweep goes on until nothing is due."""
MAX_CANCELS = 65_536
"""Cancels whose deadlines run at a time; the next ones' begin as these end."""


class OverdueCancels:
    """The deadlines run on the steady clock, from the sweep that sees a run first: whoever sets the wall clock neither
    cuts them short nor puts them off."""

    def __init__(self, upkeep: Upkeep, deadline_ms: int) -> None:
        """`upkeep` commits between two groups."""
        self._upkeep = upkeep
        self._deadline_ms = deadline_ms
        self._since: dict[int, int] = {}
        """Runs that are being cancelled → steady ms of the sweep that saw each first; at most MAX_CANCELS."""
        self._waiting: dict[int, int] = {}
        self._after: tuple[int, int] = (-1, 0)
        self._looked_at = 0

    async def sweep(self) -> None:
        """Looks at every run that is being cancelled."""
        self._waiting, self._after = {}, (-1, 0)
        found: list[RunRow] | None = await self._page()
        while found is not None and (len(found) == SWEEP_ROWS or self._looked_at < len(found)):
            last = found[self._looked_at - 1]
            self._after = (last.cancel_requested_at or 0, last.run)
            found = await self._page()
        if found is not None:  # else nothing may be written now, and what is known stays known
            self._since = self._waiting

    async def _page(self) -> list[RunRow] | None:
        return await self._upkeep(self._find, self._needs, self._force)

    async def _find(self, unit: Unit, _serving_ms: int) -> list[RunRow]:
        return await unit.runs_cancelling(self._after, SWEEP_ROWS)

    def _needs(self, needs: Needs, found: list[RunRow]) -> Steps[None]:
        for stored in found:
            needs.counters(stored.org)
            row = needs.run_by_number(stored.run)
            # Only those that are known already can be due.
            if row is not None and (stored.run in self._since or not self._deadline_ms):
                needs.moves(row)
            yield

    def _force(self, plan: Plan, found: list[RunRow]) -> Steps[None]:
        waiting = dict(self._waiting)

        def look(plan: Plan, stored: RunRow) -> Steps[None]:
            row = plan.run_by_number(stored.run)
            if row is not None and row.status is Status.CANCELLING:
                self._force_cancel(plan, row, waiting)
                yield

        self._looked_at = yield from one_by_one(plan, found, look)
        self._waiting = waiting

    def _force_cancel(self, plan: Plan, row: RunRow, waiting: dict[int, int]) -> None:
        """Forces it when it is due; else its deadline runs on."""
        since = self._since.get(row.run, plan.serving_ms)
        if plan.serving_ms - since < self._deadline_ms:
            if len(waiting) < MAX_CANCELS:
                waiting[row.run] = since
            return
        force_cancelled(plan, row, "no answer by the deadline")
