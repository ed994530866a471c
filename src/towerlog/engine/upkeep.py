"""Upkeep: what time brings about. Each second: leases that ran out, cancels nobody answered; each hour: old replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from towerlog.ambient import Clock
from towerlog.engine.control import force_cancelled
from towerlog.engine.leases import expire
from towerlog.engine.plan import Plan
from towerlog.errors import StorageFailed
from towerlog.model.event import RunById
from towerlog.model.lease import LaneState
from towerlog.model.run import Status
from towerlog.store.base import Store

SWEEP_SECONDS = 1.0
SWEEP_ROWS = 500
"""At most this many rows a sweep; the next one takes the rest."""
ANY_TIME_MS = 2**62
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
    ) -> None:
        """`write` plans and commits between two groups."""
        self._store = store
        self._clock = clock
        self._write = write
        self._cancel_deadline_ms = cancel_deadline_ms
        self._replies_swept = clock.steady_ms()
        self._cancelling: dict[int, int] = {}
        """Runs that are being cancelled → steady ms of the sweep that saw each first; at most SWEEP_ROWS."""
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
        await self._write(self._expire_leases)
        await self._write(self._force_cancels)
        if self._clock.steady_ms() - self._replies_swept > REPLY_SWEEP_MS:
            self._replies_swept = self._clock.steady_ms()
            await self._store.replies_drop(self._clock.now_ms() - REPLY_LIFE_MS)

    async def _expire_leases(self, plan: Plan) -> None:
        for stored in await plan.unit.lanes_expired(plan.steady, SWEEP_ROWS):
            lane = plan.cache.lanes.get(stored.run) or stored
            row = await plan.run_by_number(lane.run)
            if row is not None and lane.state is LaneState.HELD and not lane.is_held(plan.steady):
                await expire(plan, lane, row)

    async def _force_cancels(self, plan: Plan) -> None:
        # The deadline runs on the steady clock from the sweep that sees the run first: whoever sets the wall clock
        # neither cuts it short nor puts it off.
        now, waiting = plan.steady, dict[int, int]()
        for stored in await plan.unit.runs_cancelling(ANY_TIME_MS, SWEEP_ROWS):
            row = plan.remember_run(stored.org, RunById(stored.run_id), stored)
            if row.status is not Status.CANCELLING:
                continue
            since = self._cancelling.get(row.run, now)
            if now - since >= self._cancel_deadline_ms:
                await force_cancelled(plan, row, "no answer by the deadline")
            else:
                waiting[row.run] = since
        self._cancelling = waiting
