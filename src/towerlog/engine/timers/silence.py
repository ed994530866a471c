"""The watch over runs that only report: long silence is noted, longer silence ends a run as lost.

Nobody is judged by the machine's own troubles: not by a wall clock that jumped ahead, and not until the server has
been there to hear for as long as the shorter threshold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from towerlog.ambient import Clock
from towerlog.engine.commit.plan import Plan
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Facts
from towerlog.model.liveness import Thresholds, is_past
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms

WATCH_ROWS = 500
"""Rows to one commit; a sweep goes on until nothing is due."""
JUMP_MS = 5000
"""Ahead of the steady clock by more than this between two sweeps, the wall clock was set."""
MAX_JUMPS = 64
SILENCE_DIALECT = "runs"
"""The dialect that the watch writes under."""
Write = Callable[[Callable[[Plan], Awaitable[None]]], Awaitable[None]]
Act = Callable[[Plan, RunRow, int], Awaitable[None]]


class SilenceWatch:
    """Finds the silent runs of every organisation."""

    def __init__(self, clock: Clock, write: Write, thresholds: Thresholds) -> None:
        """`write` plans and commits between two groups."""
        self._clock = clock
        self._write = write
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
            start, after = after, None

            async def work(plan: Plan, start: tuple[int, int] = start) -> None:
                nonlocal after
                before_ms = self._clock.now_ms() - threshold_ms
                found = await plan.unit.runs_unheard(noted, before_ms, start, WATCH_ROWS)
                for stored in found:
                    row = plan.remember_run(stored.org, RunById(stored.run_id), stored)
                    silence_ms = self._silence_ms(row, plan.now)
                    if row.is_watched() and silence_ms >= threshold_ms:
                        await act(plan, row, silence_ms)
                if len(found) == WATCH_ROWS:
                    after = (found[-1].watched_at, found[-1].run)

            await self._write(work)

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


async def _note_silence(plan: Plan, row: RunRow, silence_ms: int) -> None:
    await _append(plan, row, EventType.RUN_SILENT, _members(row, silence_ms), Facts())


async def _end_as_lost(plan: Plan, row: RunRow, silence_ms: int) -> None:
    error = f"nothing was heard of it for {silence_ms // 1000} seconds"
    await _append(plan, row, EventType.RUN_LOST, {"error": error, **_members(row, silence_ms)}, Facts(error=error))


def _members(row: RunRow, silence_ms: int) -> dict[str, object]:
    return {"silent_since": format_ms(row.process_at or row.created_at), "silent_seconds": silence_ms // 1000}


async def _append(plan: Plan, row: RunRow, kind: EventType, members: dict[str, object], facts: Facts) -> None:
    agent = await plan.agent(row.org, row.agent or "default")
    data = msgspec.json.encode(members)
    await plan.append(row, row.run, agent, kind, data, org=row.org, dialect=SILENCE_DIALECT, facts=facts)
