"""A worker: claims runs for an app's agents, up to `concurrency` at a time, and carries them out.

While the server is unreachable it retries with growing pauses. `stop` begins the drain: nothing more is claimed,
running agents get `drain_seconds`, and runs that have not ended by then go back to the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import ApiError, Unreachable
from towerlog.sdk.wire.ids import uuid7
from towerlog.sdk.wire.retries import Backoff, Pace
from towerlog.sdk.work.agent_threads import AgentThreads
from towerlog.sdk.work.app import App
from towerlog.sdk.work.attempt import Attempt
from towerlog.sdk.work.dead_letters import DeadLetters, default_folder
from towerlog.sdk.work.lane import Lane
from towerlog.sdk.work.lane_api import Holder, LaneApi
from towerlog.sdk.work.lease import LeaseClock

CLAIM_WAIT_S = 20
MAX_CLAIM_PAUSE_S = 10.0
UNKNOWN_OUTCOMES = frozenset({500, 502, 504})
"""Statuses that say nothing about whether a claim was granted: they come from a proxy, or from a failure half-way."""

_log = logging.getLogger("towerlog.worker")
Json = dict[str, Any]


class Worker:
    """The worker of one process. Its key needs the scope `worker`."""

    def __init__(
        self,
        app: App,
        http: AsyncHttp,
        *,
        concurrency: int = 1,
        labels: Mapping[str, str] | None = None,
        lease_seconds: int = 60,
        drain_seconds: float = 30.0,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        """Raises ValueError for an app without agents, and for numbers below 1."""
        if not app.names:
            raise ValueError("the app has no agents")
        if concurrency < 1 or lease_seconds < 1:
            raise ValueError("concurrency and lease_seconds are 1 or more")
        self.worker_id = fresh_worker_id()
        self._app = app
        self._api = LaneApi(http, self.worker_id, lease_seconds)
        self._http = http
        self._labels = dict(labels or {})
        self._lease_seconds = lease_seconds
        self._drain_seconds = drain_seconds
        self._dead_letters = dead_letters or DeadLetters(default_folder(), self.worker_id)
        self._slots = asyncio.Semaphore(concurrency)
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._handing_back = asyncio.Event()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._was_heard = False

    def stop(self) -> None:
        """Begins the drain; a second call ends it. From the worker's own event loop."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def run(self) -> None:
        """Claims and carries out runs until `stop`. Raises ApiError if the server rejects the first claim."""
        threads = AgentThreads()
        claiming = asyncio.create_task(self._claim_forever(threads))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((claiming, stopping), return_when=asyncio.FIRST_COMPLETED)
            if claiming.done():
                await claiming
        finally:
            await _ended(claiming, stopping)
            await self._drain()
            threads.stop()
            await self._http.close()

    async def _drain(self) -> None:
        # A claim that was under way may have been granted: without this its run would wait until the lease expires.
        await self._take_up(None)
        if self._lanes:
            _log.info("draining %d runs for at most %g s", len(self._lanes), self._drain_seconds)
            hurry = asyncio.create_task(self._hurrying.wait())
            everything = asyncio.gather(*self._lanes.values(), return_exceptions=True)
            waits = (hurry, asyncio.ensure_future(everything))
            await asyncio.wait(waits, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED)
            self._handing_back.set()
            await everything
            await _ended(hurry)

    async def _claim_forever(self, threads: AgentThreads) -> None:
        pause, pace = Backoff(MAX_CLAIM_PAUSE_S), Pace(MAX_CLAIM_PAUSE_S)
        await self._slots.acquire()
        while True:
            asked_at = time.monotonic()
            try:
                claimed = await self._api.claim(self._app.names, self._labels, CLAIM_WAIT_S)
            except Unreachable as error:
                _log.warning("server unreachable: %s; will retry", error)
                await self._settle(threads, pause, None)
            except ApiError as error:
                if not self._was_heard and not error.is_temporary and error.status < 500:
                    raise
                _log.warning("claim rejected: %s; will retry", error)
                if error.status in UNKNOWN_OUTCOMES:
                    await self._settle(threads, pause, error.retry_after)
                else:
                    await asyncio.sleep(pause.next_s(error.retry_after))
            else:
                self._was_heard = True
                pause.reset()
                if claimed is not None:
                    self._begin(claimed, threads)
                    await self._slots.acquire()
                else:
                    await asyncio.sleep(pace.pause_s(time.monotonic() - asked_at, is_news=False))

    async def _settle(self, threads: AgentThreads, pause: Backoff, retry_after: float | None) -> None:
        """After a claim whose outcome is unknown: asks at once, and until it is told, which runs this worker holds."""
        known = False
        while not known:
            known = await self._take_up(threads)
            await asyncio.sleep(pause.next_s(retry_after))

    async def _take_up(self, threads: AgentThreads | None) -> bool:
        """Finds runs that this worker holds without knowing it, because the reply to a claim was lost: begins them if
        there are threads for it, else releases them. False when that could not be found out."""
        try:
            for run_id in await self._api.held():
                if run_id not in self._lanes:
                    claimed = await self._api.claim_again(run_id)
                    if threads is None:
                        await self._api.release(self._holder_of(claimed))
                    else:
                        self._begin(claimed, threads)
                        await self._slots.acquire()
        except (ApiError, Unreachable) as error:
            _log.info("Could not check which runs this worker already holds: %s; will retry.", error)
            return False
        return True

    def _begin(self, claimed: Json, threads: AgentThreads) -> None:
        """Starts a claimed run in the slot that the caller has acquired."""
        run_id = claimed["run"]["id"]
        task = asyncio.create_task(self._carry_out(claimed, threads))
        self._lanes[run_id] = task
        task.add_done_callback(lambda done: self._forget(run_id, done))

    def _forget(self, run_id: str, task: asyncio.Task[None]) -> None:
        self._lanes.pop(run_id, None)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("run %s: internal error of the worker", run_id, exc_info=error)

    async def _carry_out(self, claimed: Json, threads: AgentThreads) -> None:
        """Carries a claimed run out, and again if the server says that it is still this worker's."""
        found: Json | None = claimed
        while found is not None:
            found = await self._attempted(found, threads)

    async def _attempted(self, claimed: Json, threads: AgentThreads) -> Json | None:
        """One attempt. The same run claimed once more, if this worker only believed that its lease was over."""
        holder = self._holder_of(claimed)
        persona = claimed.get("persona") or {}
        name = persona.get("agent") or claimed["run"].get("role")
        agent = self._app.find(name)
        lane = Lane(self._api, holder, LeaseClock(self._lease_seconds), self._dead_letters)
        if agent is None:
            _log.error("run %s released: this worker has no agent %r", holder.run_id, name)
            await self._api.release(holder)
            return None
        has_stopped = True
        if await lane.confirm():
            _log.info("run %s: agent %s starts", holder.run_id, agent.name)
            attempt = Attempt(agent, lane, claimed, threads, self._api)
            await attempt.carry_out(self._handing_back)
            has_stopped = attempt.has_stopped
        # An agent that has not stopped must not run beside itself.
        return await self._claimed_again(holder.run_id) if lane.doubted and has_stopped else None

    async def _claimed_again(self, run_id: str) -> Json | None:
        """The claim of a run whose lease may be over, asked for until the server is heard. None if it is not ours.

        A server that stood still does not count that time against a lease, so that the run may wait for this worker.
        """
        pause = Backoff(MAX_CLAIM_PAUSE_S)
        while not self._handing_back.is_set():
            try:
                claimed = await self._api.claim_again(run_id)
                if self._stopping.is_set():
                    await self._api.release(self._holder_of(claimed))
                    return None
            except Unreachable as error:
                _log.info("run %s: cannot ask whether it is still held: %s; will retry", run_id, error)
                await self._unless_handing_back(pause.next_s())
            except ApiError as error:
                if error.status < 500 and not error.is_temporary:
                    return None
                await self._unless_handing_back(pause.next_s(error.retry_after))
            else:
                _log.info("run %s: the lease is held again; the agent begins again from its last checkpoint", run_id)
                return claimed
        return None

    async def _unless_handing_back(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._handing_back.wait(), seconds)

    def _holder_of(self, claimed: Json) -> Holder:
        epoch = claimed["run"]["lease_epoch"]
        # Event numbers start again with each claim, so each claim is a client of its own.
        return Holder(claimed["run"]["id"], self.worker_id, epoch, f"{self.worker_id}:{epoch}")


def fresh_worker_id() -> str:
    """A unique id of this process: host name and process id for people, and a random part."""
    host = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in socket.gethostname())[:60]
    return f"{host}-{os.getpid()}-{str(uuid7())[-12:]}"


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
