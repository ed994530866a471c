"""Silent runs among those that only report: long silence is noted, longer silence ends a run as lost.

Only serving time (`ServingTime`) counts as an agent's silence: neither what a wall clock was set by, nor an
outage. After a start and after a long outage a run is judged once the server has listened for a whole threshold.
"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.ambient import MAX_STAMP, ServingTime
from towerlog.engine.control.cancel import CONTROL
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.timers.loop import Upkeep, needs_to_move, one_by_one
from towerlog.model.event import EventType
from towerlog.model.facts import Facts
from towerlog.model.liveness import Thresholds, silence_ms
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms
from towerlog.store.base import Unit

SWEEP_ROWS = 100
"""Rows to one commit; a sweep goes on until nothing is due."""
Act = Callable[[Plan, RunRow, int], None]


class SilentRuns:
    """Finds the silent runs of every organisation."""

    def __init__(self, serving: ServingTime, upkeep: Upkeep, thresholds: Thresholds, *, hears_all: bool = True) -> None:
        """`upkeep` commits between two groups. `hears_all`: no other process hears agents of this store."""
        self._hears_all = hears_all
        self._serving = serving
        self._upkeep = upkeep
        self._thresholds = thresholds

    async def sweep(self) -> None:
        """Looks once at everything that is past a threshold."""
        silent_ms, lost_ms = self._thresholds.silent_ms, self._thresholds.lost_ms
        if lost_ms:
            await self._look(True, lost_ms, _end_as_lost)
            await self._look(False, lost_ms, _end_as_lost)
        if silent_ms:
            await self._look(False, silent_ms, _note_silence)

    async def _look(self, noted: bool, threshold_ms: int, act: Act) -> None:
        """Looks at the runs that may be past a threshold. `noted`: those whose silence means nothing new."""
        latest = self._serving.latest_stamp(threshold_ms)
        if latest is not None:
            await self._page((-1, 0), latest, noted, threshold_ms, act)
            # Stamped before this start, by a clock that was ahead: this process cannot have heard them. Another could.
            if self._hears_all:
                await self._page((self._serving.highest_stamp(), 0), MAX_STAMP, noted, threshold_ms, act)

    async def _page(self, first: tuple[int, int], latest: int, noted: bool, threshold_ms: int, act: Act) -> None:
        """Pages through the runs that were heard last between two stamps."""
        after: tuple[int, int] | None = first
        looked_at = 0

        def look(plan: Plan, stored: RunRow) -> Steps[None]:
            row = plan.run_by_number(stored.run)
            if row is None or not row.is_silence_timed():
                return
            lasted_ms = silence_ms(row, self._serving.elapsed_ms)
            if lasted_ms >= threshold_ms:
                act(plan, row, lasted_ms)
            yield

        def place(plan: Plan, found: list[RunRow]) -> Steps[None]:
            nonlocal looked_at
            looked_at = yield from one_by_one(plan, found, look)

        while after is not None:
            start = after

            async def find(unit: Unit, _heard_ms: int, start: tuple[int, int] = start) -> list[RunRow]:
                return await unit.runs_silent(noted, latest, start, SWEEP_ROWS)

            found = await self._upkeep(find, needs_to_move, place)
            after = None
            if found is not None and (len(found) == SWEEP_ROWS or looked_at < len(found)):
                after = (found[looked_at - 1].seen_at, found[looked_at - 1].run)


def _note_silence(plan: Plan, row: RunRow, lasted_ms: int) -> None:
    plan.note(row, EventType.RUN_SILENT, _members(row, lasted_ms), Facts(), by=CONTROL)


def _end_as_lost(plan: Plan, row: RunRow, lasted_ms: int) -> None:
    error = f"nothing was heard of it for {lasted_ms // 1000} seconds"
    plan.note(row, EventType.RUN_LOST, {"error": error, **_members(row, lasted_ms)}, Facts(error=error), by=CONTROL)


def _members(row: RunRow, lasted_ms: int) -> dict[str, object]:
    return {"silent_since": format_ms(row.process_at or row.created_at), "silent_seconds": lasted_ms // 1000}
