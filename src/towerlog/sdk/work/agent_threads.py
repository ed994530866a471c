"""Where the agents' code runs: async agents as tasks of one event loop in a thread, sync ones in a thread each.

Never where the leases are renewed: an agent that blocks its event loop, or ignores its cancel, holds up other agents
at worst. The threads are daemons, so that such an agent cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.run import BaseRun, activated
from towerlog.sdk.work.app import Agent


@dataclass(frozen=True)
class AgentResult:
    """How an agent's code ended: with a value, or with an exception of whichever kind."""

    value: Any = None
    error: BaseException | None = None


class Work:
    """One run of an agent's code."""

    def __init__(self, ended: Callable[[AgentResult], None]) -> None:
        """`ended` is called once, in the agent's thread."""
        self._ended = ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    def interrupt(self) -> None:
        """Throws `asyncio.CancelledError` into an async agent; a sync one sees the flag of its run alone."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._loop is not None and not self._begun:
            # A task that is cancelled before its first step never runs at all, and nobody would learn of its end.
            self._loop.call_soon(self._cancel)
        elif self._task is not None:
            self._task.cancel()

    def begin_in(self, loop: asyncio.AbstractEventLoop, agent: Agent, run: BaseRun) -> None:
        """Begins an async agent."""
        self._loop = loop

        def begin() -> None:
            self._task = loop.create_task(self._await(agent, run))

        loop.call_soon_threadsafe(begin)

    async def _await(self, agent: Agent, run: BaseRun) -> None:
        self._begun = True
        try:
            with activated(run):
                outcome = AgentResult(await agent.work(run))
        except BaseException as error:
            # Whatever it is, SystemExit included, it ends this run and neither the loop nor the worker.
            outcome = AgentResult(error=error)
        self._ended(outcome)

    def call(self, agent: Agent, run: BaseRun) -> None:
        """Runs a sync agent to its end."""
        try:
            with activated(run):
                outcome = AgentResult(agent.work(run))
        except BaseException as error:
            # As above.
            outcome = AgentResult(error=error)
        self._ended(outcome)


class AgentThreads:
    """The threads of one worker's agents."""

    def __init__(self) -> None:
        """Starts the thread of the event loop."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="towerlog-agents", daemon=True).start()

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def begin(self, agent: Agent, run: BaseRun, ended: Callable[[AgentResult], None]) -> Work:
        """Begins an agent's work on a run, which is the current one there."""
        work = Work(ended)
        if agent.is_async:
            work.begin_in(self._loop, agent, run)
        else:
            name = f"towerlog-{agent.name}"
            threading.Thread(target=work.call, args=(agent, run), name=name, daemon=True).start()
        return work

    def stop(self) -> None:
        """Ends the event loop, unless an agent that does not stop is in it: that one goes with the process."""
        self._loop.call_soon_threadsafe(self._stop_idle)

    def _stop_idle(self) -> None:
        if not asyncio.all_tasks(self._loop):
            self._loop.stop()
