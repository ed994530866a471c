"""Upkeep: what time brings about. Each second: leases, cancels, silent runs; each hour: old replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from towerlog.ambient import Clock
from towerlog.engine.commands.cancel import force_end
from towerlog.engine.commands.lanes import expire
from towerlog.engine.commit.plan import Plan
from towerlog.engine.timers.silence import SilenceWatch
from towerlog.errors import StorageFailed
from towerlog.model.event import RunById
from towerlog.model.lane import QueueState
from towerlog.model.liveness import USUAL, Thresholds
from towerlog.model.run import RunRow, Status
from towerlog.store.base import Store

SWEEP_SECONDS = 1.0
SWEEP_ROWS = 500
"""Rows to one commit; a sweep goes on until nothing is due."""
MAX_CANCELS = 65_536
"""Cancels whose deadlines run at a time; the next ones' begin as these end."""
REPLY_LIFE_MS = 24 * 3600 * 1000
REPLY_SWEEP_MS = 3600 * 1000

log = structlog.get_logger("towerlog.upkeep")


class Upkeep:
    """The timer of the engine."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        write: Callable[[Callable[[Plan], Awaitable[None]]], Awaitable[None]],
        cancel_deadline_ms: int,
        thresholds: Thresholds = USUAL,
    ) -> None:
        """`write` plans and commits between two groups."""
        self._store = store
        self._clock = clock
        self._write = write
        self._cancel_deadline_ms = cancel_deadline_ms
        self._replies_swept = clock.steady_ms()
        self._cancelling: dict[int, int] = {}
        """Runs that are being cancelled → steady ms of the sweep that saw each first; at most MAX_CANCELS."""
        self._watch = SilenceWatch(clock, write, thresholds)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Sweeps until stopped. A failing store is the writer's to report; the sweep goes on."""
        while not self._stopping.is_set():
            try:
                await self.sweep()
            except StorageFailed as error:
                log.warning("sweep_failed", error=error.message)
            except Exception:  # a defect in one sweep must not end all later ones
                log.exception("sweep_failed")
            try:
                await asyncio.wait_for(self._stopping.wait(), SWEEP_SECONDS)
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    async def sweep(self) -> None:
        """One sweep."""
        await self._expire_leases()
        await self._force_cancels()
        await self._watch.sweep()
        if self._clock.steady_ms() - self._replies_swept > REPLY_SWEEP_MS:
            self._replies_swept = self._clock.steady_ms()
            await self._store.replies_drop(self._clock.now_ms() - REPLY_LIFE_MS)

    async def _expire_leases(self) -> None:
        taken = SWEEP_ROWS
        while taken == SWEEP_ROWS:
            taken = 0

            async def work(plan: Plan) -> None:
                nonlocal taken
                for stored in await plan.unit.lanes_expired(plan.steady, SWEEP_ROWS):
                    lane = plan.cache.lanes.get(stored.run) or stored
                    row = await plan.run_by_number(lane.run)
                    if row is not None and lane.state is QueueState.HELD and not lane.is_held(plan.steady):
                        await expire(plan, lane, row)
                        taken += 1

            await self._write(work)

    async def _force_cancels(self) -> None:
        # The deadline runs on the steady clock from the sweep that sees the run first: whoever sets the wall clock
        # neither cuts it short nor puts it off.
        waiting: dict[int, int] = {}
        after: tuple[int, int] | None = (-1, 0)
        while after is not None:
            start, after = after, None

            async def work(plan: Plan, start: tuple[int, int] = start) -> None:
                nonlocal after
                found = await plan.unit.runs_cancelling(start, SWEEP_ROWS)
                for stored in found:
                    row = plan.remember_run(stored.org, RunById(stored.run_id), stored)
                    if row.status is Status.CANCELLING:
                        await self._force_cancel(plan, row, waiting)
                if len(found) == SWEEP_ROWS:
                    after = (found[-1].cancel_requested_at or 0, found[-1].run)

            await self._write(work)
        self._cancelling = waiting

    async def _force_cancel(self, plan: Plan, row: RunRow, waiting: dict[int, int]) -> None:
        """Forces it when it is due; else its deadline runs on."""
        since = self._cancelling.get(row.run, plan.steady)
        if plan.steady - since < self._cancel_deadline_ms:
            if len(waiting) < MAX_CANCELS:
                waiting[row.run] = since
            return
        await force_end(plan, row, "no answer by the deadline")
