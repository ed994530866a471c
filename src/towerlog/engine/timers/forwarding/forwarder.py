"""Forwards runs that have ended to a collector: a task beside the timers, since a collector may be slow or away.

What is to be forwarded follows from the log alone, and how far that was done is kept in the store. So a collector that
is away costs neither memory nor room, a restart goes on where it was, and what was under way then is sent again. The
log is gone through in stretches; a stretch is done when its spans are answered. A few organisations are at work at a
time, each with one stretch before the next has its turn, and they wait for each other before each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from towerlog.engine.timers.forwarding.deliveries import Deliveries, Interrupted
from towerlog.engine.timers.forwarding.spans import ended_runs, spans_between
from towerlog.errors import Overloaded, StorageFailed
from towerlog.store.base import Store

LOOK_SECONDS = 1.0
"""How long until the log is looked at again when all of it was forwarded."""
STRETCH_EVENTS = 1000
"""Of an organisation's log, before the next organisation has its turn."""
MAX_AT_WORK = 4
"""Organisations at a time."""
MAX_REQUEST_BYTES = 512 * 1024
"""Of the spans of one request, unless one is larger by itself."""
MAX_REQUEST_RUNS = 200
AFTER_DEFECT_SECONDS = 60.0
"""How long the next organisations wait after an error of Towerlog's own, which would come again at once."""
MAX_BEHIND = 1000
"""Organisations that are looked at to say how far the log is ahead."""

log = structlog.get_logger("towerlog.forwarding")


class Forwarder:
    """One for each engine that has a collector."""

    def __init__(
        self, store: Store, deliveries: Deliveries, may_send: Callable[[], bool], look_seconds: float = LOOK_SECONDS
    ) -> None:
        """`may_send`: whether it is this node that forwards."""
        self._store = store
        self.deliveries = deliveries
        self._may_send = may_send
        self._look_seconds = look_seconds
        self._after = -1
        """The organisation whose turn came last."""
        self._at_work: dict[int, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._stopping = False
        self._is_begun = False
        self.behind = 0
        """Events that the log is ahead of what was forwarded, as of the last look."""

    async def run(self) -> None:
        """Forwards until it is stopped; then what is under way is left to the next start."""
        try:
            while not self._stopping:
                self._news.clear()
                await self._guarded(self._look())
                try:
                    await asyncio.wait_for(self._news.wait(), self._look_seconds)
                except TimeoutError:
                    continue
        finally:
            tasks = tuple(self._at_work.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping = True
        self._news.set()

    def figures(self) -> dict[str, int]:
        """Counts for the metrics page."""
        return {
            "spans_forwarded": self.deliveries.sent,
            "spans_refused": self.deliveries.refused,
            "forwarding_failures": self.deliveries.failures,
            "forwarding_behind": self.behind,
        }

    async def _look(self) -> None:
        """Begins with organisations that have something to be forwarded, where there is room for them."""
        if not self._may_send():
            self.behind = 0
            return
        if not self._is_begun:
            await self._store.forwarding_begin()
            self._is_begun = True
        at_work = set(self._at_work)  # before the store is read: who is done meanwhile was further than that says
        waiting = await self._store.forwarding_waits(-1, MAX_BEHIND)
        self.behind = sum(until - after for _, after, until in waiting)
        if len(waiting) == MAX_BEHIND:
            waiting = await self._store.forwarding_waits(self._after, MAX_BEHIND) or waiting
        for org, after, until in sorted(waiting, key=lambda one: (one[0] <= self._after, one[0])):
            if len(self._at_work) >= MAX_AT_WORK:
                return
            if org not in at_work:
                self._begin(org, after, min(until, after + STRETCH_EVENTS))

    def _begin(self, org: int, after: int, until: int) -> None:
        self._after = org
        task = asyncio.create_task(self._guarded(self._stretch(org, after, until)), name="towerlog-forwarding")
        self._at_work[org] = task
        task.add_done_callback(lambda _: self._done(org))

    def _done(self, org: int) -> None:
        del self._at_work[org]
        self._news.set()

    async def _stretch(self, org: int, after: int, until: int) -> None:
        """Forwards what has ended in a stretch of the log, and notes that."""
        found = await self._store.org(org)
        assert found is not None
        batch = _Batch(partial(self.deliveries.send, found.org_id))
        for row in await ended_runs(self._store, org, after, until):
            batch.begin_run()
            async for page in spans_between(self._store, row, after, until, self.deliveries.leave_out):
                for span in page:
                    await batch.add(span)
        await batch.send()
        await self._store.forwarding_keep(org, until)

    async def _guarded(self, step: Coroutine[Any, Any, None]) -> None:
        """Takes a step; what fails is tried again at a later look."""
        try:
            await step
            return
        except Interrupted:
            pass
        except (StorageFailed, Overloaded) as error:
            if not (isinstance(error, StorageFailed) and error.fatal):  # which was told
                log.warning("forwarding_waits", error=error.message)
        except Exception:  # a defect in one stretch must not end all later ones
            log.exception("forwarding_failed")
            await asyncio.sleep(AFTER_DEFECT_SECONDS)
        await asyncio.sleep(self._look_seconds)


class _Batch:
    """Spans of one organisation that go out with one request, by run."""

    def __init__(self, send: Callable[[list[list[bytes]]], Awaitable[None]]) -> None:
        self._send = send
        self._runs: list[list[bytes]] = []
        self._size = 0

    def begin_run(self) -> None:
        """What is added from now on is of the next run."""
        if not self._runs or self._runs[-1]:
            self._runs.append([])

    async def add(self, span: bytes) -> None:
        """Adds a span; sends the others before, where there is no room for it."""
        if self._size and (self._size + len(span) > MAX_REQUEST_BYTES or len(self._runs) > MAX_REQUEST_RUNS):
            await self.send()
        self._runs[-1].append(span)
        self._size += len(span)

    async def send(self) -> None:
        """Sends what there is; what is added then is of the same run."""
        if self._size:
            await self._send([run for run in self._runs if run])
        self._runs, self._size = [[]], 0
