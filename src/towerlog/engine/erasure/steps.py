"""Carries out what the log tells of: step by step between two groups of the writer, until nothing of it is left.

An erasure is stored with the event that tells of it, so what was broken off is gone on with after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from towerlog.engine.erasure.content_size import HeldNow
from towerlog.model.principal import shard_org
from towerlog.model.retention import Erasing
from towerlog.store.base import RetentionStore, Unit

RUNS_AT_ONCE = 50
T = TypeVar("T")


class Between(Protocol):
    """Writes something between two groups, of which the writer must know nothing any more: `Writer.between`."""

    async def __call__(self, work: Callable[[Unit], Awaitable[T]], anew: bool = False, /) -> T | None:
        """What `work` gives; None when nothing is written now. `anew`: also rows of runs may be taken away."""
        ...


class CarryingOut:
    """Of one engine."""

    def __init__(
        self, store: RetentionStore, between: Between, held: HeldNow, forget: Callable[[int, int], None]
    ) -> None:
        """`held` is told what was freed. `forget` is called with the organisation and the run of which something was
        erased: it may be held in memory."""
        self._store = store
        self._held = held
        self._between = between
        self._forget = forget
        self._locks: dict[int, asyncio.Lock] = {}
        """Of runs in hand."""
        self._done: dict[int, Erasing] = {}
        """Of runs that somebody waits for, what was erased."""
        self.has_room_to_give_back = False
        """Something was erased since the pages were gone over."""

    async def finish(self, run: int) -> Erasing | None:
        """Until all is done; what was erased. None where nothing is told of, or nothing is written now."""
        lock = self._locks.setdefault(run, asyncio.Lock())
        try:
            async with lock:
                found = await self._steps(run)
                return self._done.get(run) if found is None else found
        finally:
            if not lock.locked():
                self._locks.pop(run, None)
                self._done.pop(run, None)

    async def _steps(self, run: int) -> Erasing | None:
        org = shard_org(run)
        while True:
            await self._held.catch_up(org)
            erasing = await self._between(lambda unit: self._held.step(org, partial(unit.erase, run)))
            if erasing is None:
                return None
            self.has_room_to_give_back = True
            if erasing.is_done:
                self._forget(erasing.org, run)
                self._done[run] = erasing
                return erasing

    async def go_on(self) -> None:
        """With all that is under way, in whichever organisation."""
        after = 0
        while runs := await self._store.erasing_next(after, RUNS_AT_ONCE):
            for run in runs:
                await self.finish(run)
            after = runs[-1]
