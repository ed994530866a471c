"""One attempt at a run: an agent's work under a lease.

It ends when the agent returns or fails, on a cancel, when the lease is lost (nothing is reported then), or when the run
is released because the worker stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun, Run
from towerlog.sdk.wire.address import Url
from towerlog.sdk.wire.errors import ApiError, Unreachable
from towerlog.sdk.work.agent_threads import AgentResult, AgentThreads, Work
from towerlog.sdk.work.app import Agent
from towerlog.sdk.work.lane import Lane
from towerlog.sdk.work.lane_api import LaneApi
from towerlog.sdk.work.outbox import LANE_ENDS, Outbox

AGENT_STOP_S = 2.0
"""How long an agent that has to stop may take before it is abandoned."""
HAND_BACK_S = 5.0
"""How long reporting may take before a run is released; the rest goes to the dead letters."""
PAUSED_AT = frozenset({"step", "tool.call", "message.delta", "model.call", "checkpoint"})
"""Events before which a sync agent waits while its run is paused."""

_log = logging.getLogger("towerlog.worker")


class LaneSink:
    """The sink of a claimed run: its lane's outbox."""

    def __init__(self, outbox: Outbox, api: LaneApi) -> None:
        """For one run."""
        self._outbox = outbox
        self._api = api
        self.url = api.url

    def put(self, event: dict[str, Any]) -> None:
        """From any thread; never blocks, never raises."""
        self._outbox.put(event)

    def expect(self, run: BaseRun, waiting: bool) -> None:
        """Does nothing: a lane always listens for commands."""

    def access(self, run: BaseRun) -> tuple[Url, str | None]:
        """Those of the worker: the server knows a claimed run."""
        return self._api.access


class HeldRun(Run):
    """A sync run of a worker: while it is paused, its next report waits."""

    def tell(self, event_type: str, data: dict[str, Any], *, agent: object = None) -> None:
        """As for any run, but after the pause. Raises RunCancelled if a cancel ends the pause."""
        if self.pausing and event_type in PAUSED_AT and not self.ended:
            self.pause_point()
        super().tell(event_type, data, agent=agent)


class Attempt:
    """One agent's work on one claimed run."""

    def __init__(
        self,
        agent: Agent,
        lane: Lane,
        claimed: dict[str, Any],
        threads: AgentThreads,
        api: LaneApi,
    ) -> None:
        """Starts nothing yet. `claimed` is the reply to the claim."""
        kind = AsyncRun if agent.is_async else HeldRun
        resume = claimed.get("checkpoint")
        history = claimed.get("thread_history", ())
        known = history if resume is None else resume.get("history")
        if known:
            lane.outbox.resumes(known)
        self.run = kind(
            LaneSink(lane.outbox, api),
            agent=agent.name,
            run_id=lane.holder.run_id,
            thread=claimed["run"].get("thread_id"),
            input=claimed.get("input"),
            persona=claimed.get("persona"),
            route=claimed.get("route"),
            resume=resume,
            history=history,
            fencing_token=lane.holder.lease_epoch,
        )
        self._agent = agent
        self._lane = lane
        self._threads = threads
        self._api = api
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[AgentResult] = self._loop.create_future()
        self._began_at = self._loop.time()

    @property
    def has_stopped(self) -> bool:
        """Whether the agent's code has returned."""
        return self._outcome.done()

    async def carry_out(self, hand_back: asyncio.Event) -> None:
        """Returns when the run has ended, is lost, or was released because `hand_back` was set."""
        async with self._lane.held(self.run.deliver):
            work = self._threads.begin(self._agent, self.run, self._ended)
            if self._agent.is_async:
                # A sync agent cannot be interrupted: it learns of a cancel where it looks.
                self.run.on_cancel(work.interrupt)
            await self._until(self._lane.lost, hand_back)
            if not self._outcome.done():
                await self._interrupt(work)
            if not self._lane.lost.is_set():
                await self._finish(hand_back.is_set())
            elif not self._outcome.done():
                _log.warning("run %s: the lease is lost, but the agent has not stopped", self._lane.holder.run_id)

    async def _until(self, *events: asyncio.Event) -> None:
        """Waits until the work has ended or one of the events is set."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait([self._outcome, *waits], return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _interrupt(self, work: Work) -> None:
        """Tells the agent to stop, because the lease is lost or the worker stops, and waits `AGENT_STOP_S` at most."""
        if self._lane.lost.is_set():
            # Sets the flag of a sync agent. This reports nothing: the outbox of a lost lane is closed.
            self.run.deliver({"command_id": "lease", "type": "cancel"})
        self.run.hand_back()
        work.interrupt()
        await asyncio.wait([self._outcome], timeout=AGENT_STOP_S)

    def _ended(self, outcome: AgentResult) -> None:
        # The worker may have ended without waiting for this agent.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._noted, outcome)

    def _noted(self, outcome: AgentResult) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def _finish(self, handing_back: bool) -> None:
        outcome = self._outcome.result() if self._outcome.done() else None
        if outcome is None or (handing_back and not self.run.cancelled and _was_interrupted(outcome)):
            await self._give_back()
            return
        ended = self._tell_end(outcome)
        if await self._lane.drained() and self._lane.refused & LANE_ENDS:
            # The end itself was rejected, for its size perhaps; the run must not stay open because of that.
            self._lane.outbox.put({"type": "run.failed", "data": {"error": "the server rejected the run's result"}})
            await self._lane.drained()
            ended = "failed: the server rejected its result"
        seconds = self._loop.time() - self._began_at
        _log.info("run %s: agent %s %s after %.1f s", self._lane.holder.run_id, self._agent.name, ended, seconds)

    def _tell_end(self, outcome: AgentResult) -> str:
        """Reports how the agent has ended, and says it in a word for the log."""
        if outcome.error is None:
            self.run.complete(outcome.value)
            return "completed"
        if _was_interrupted(outcome) and not self.run.cancelled:
            self.run.fail("the agent was cancelled, but nobody cancelled the run")
            return "failed: it was cancelled, but nobody cancelled the run"
        if not _was_interrupted(outcome):
            # The run has one line about it; the agent's author needs the traceback.
            _log.warning("run %s: %s failed", self._lane.holder.run_id, self._agent.name, exc_info=outcome.error)
        self.run.end_with(outcome.error)
        return "cancelled" if _was_interrupted(outcome) else "failed"

    async def _give_back(self) -> None:
        """Reports the work so far and releases the run for another worker."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lane.drained(), HAND_BACK_S)
        # Before the release: an agent that has not stopped must not report on a run that another worker may hold.
        self._lane.close("the run was released")
        try:
            await self._api.release(self._lane.holder)
        except (ApiError, Unreachable) as error:
            _log.warning("run %s could not be released (%s); its lease will expire", self._lane.holder.run_id, error)
        else:
            _log.info("run %s released to the queue", self._lane.holder.run_id)


def _was_interrupted(outcome: AgentResult) -> bool:
    return isinstance(outcome.error, asyncio.CancelledError | RunCancelled)
