"""Silent runs among those that only report: long silence is noted, longer silence ends a run as lost.

Clock jumps and server downtime never count as an agent's silence: a wall clock that jumped ahead is subtracted, and
nothing is ended until the server has been up for as long as the shorter threshold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from towerlog.ambient import Clock
from towerlog.engine.commands.cancel import CONTROL
from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.engine.timers.loop import Upkeep
from towerlog.model.event import EventType
from towerlog.model.facts import Facts
from towerlog.model.liveness import Thresholds, is_past
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms
from towerlog.store.base import Unit

SWEEP_ROWS = 100
"""Rows to one commit; a sweep goes on until nothing is due."""
JUMP_MS = 5000
"""Ahead of the steady clock by more than this between two sweeps, the wall clock was set."""
MAX_JUMPS = 64
Act = Callable[[Plan, RunRow, int], None]


class SilentRuns:
    """Finds the silent runs of every organisation."""

    def __init__(self, clock: Clock, upkeep: Upkeep, thresholds: Thresholds) -> None:
        """`upkeep` commits between two groups."""
        self._clock = clock
        self._upkeep = upkeep
        self._thresholds = thresholds
        self._began_at = clock.steady_ms()
        self._offset_ms = clock.now_ms() - clock.steady_ms()
        self._jumps: deque[tuple[int, int]] = deque(maxlen=MAX_JUMPS)
        """(wall ms before a jump ahead, how far it went), oldest first."""

    async def sweep(self) -> None:
        """Looks once at everything that is past a threshold."""
        self._note_jump()
        silent_ms, lost_ms = self._thresholds.silent_ms, self._thresholds.lost_ms
        shorter = min((ms for ms in (silent_ms, lost_ms) if ms), default=0)
        if not is_past(self._began_at, self._clock.steady_ms(), shorter):
            return
        if lost_ms:
            await self._look(True, lost_ms, _end_as_lost)
            await self._look(False, lost_ms, _end_as_lost)
        if silent_ms:
            await self._look(False, silent_ms, _note_silence)

    async def _look(self, noted: bool, threshold_ms: int, act: Act) -> None:
        """Pages through the runs that may be past a threshold. `noted`: those whose silence means nothing new."""
        after: tuple[int, int] | None = (-1, 0)
        while after is not None:
            start = after

            async def find(unit: Unit, _steady_ms: int, start: tuple[int, int] = start) -> list[RunRow]:
                return await unit.runs_silent(noted, self._clock.now_ms() - threshold_ms, start, SWEEP_ROWS)

            def place(plan: Plan, found: list[RunRow]) -> None:
                for stored in found:
                    row = plan.run_by_number(stored.run)
                    silence_ms = 0 if row is None else self._silence_ms(row, plan.now)
                    if row is not None and row.is_silence_timed() and silence_ms >= threshold_ms:
                        act(plan, row, silence_ms)

            found = await self._upkeep(find, _needs, place)
            is_full = found is not None and len(found) == SWEEP_ROWS
            after = (found[-1].seen_at, found[-1].run) if found is not None and is_full else None

    def _note_jump(self) -> None:
        """Remembers by how much the wall clock went ahead since the last sweep."""
        steady = self._clock.steady_ms()
        offset_ms = self._clock.now_ms() - steady
        if offset_ms - self._offset_ms > JUMP_MS:
            self._jumps.append((steady + self._offset_ms, offset_ms - self._offset_ms))
        self._offset_ms = offset_ms

    def _silence_ms(self, row: RunRow, now_ms: int) -> int:
        """How long nothing was heard of a run, without the time that only the wall clock has seen pass.

        A word may lie inside of what a jump leapt over, when the clock had been set back since: what is behind the
        word counts as leapt over all the same. Better late than to end a run that lives.
        """
        since = row.process_at or row.created_at
        leapt_ms = (wall_ms + by_ms - max(since, wall_ms) for wall_ms, by_ms in self._jumps)
        return now_ms - since - sum(max(ms, 0) for ms in leapt_ms)


def _needs(needs: Needs, found: list[RunRow]) -> None:
    for stored in found:
        needs.counters(stored.org)
        row = needs.run_by_number(stored.run)
        if row is not None:
            needs.moves(row)


def _note_silence(plan: Plan, row: RunRow, silence_ms: int) -> None:
    plan.note(row, EventType.RUN_SILENT, _members(row, silence_ms), Facts(), by=CONTROL)


def _end_as_lost(plan: Plan, row: RunRow, silence_ms: int) -> None:
    error = f"nothing was heard of it for {silence_ms // 1000} seconds"
    plan.note(row, EventType.RUN_LOST, {"error": error, **_members(row, silence_ms)}, Facts(error=error), by=CONTROL)


def _members(row: RunRow, silence_ms: int) -> dict[str, object]:
    return {"silent_since": format_ms(row.process_at or row.created_at), "silent_seconds": silence_ms // 1000}
