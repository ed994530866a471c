"""Threads for the agents' code: one event loop for all async agents, one thread for each sync agent.

Leases are renewed in another thread, so an agent that blocks its event loop or ignores its cancel can delay other
agents at worst. The threads are daemons, so that such an agent cannot keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.current import activated
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.work.app import Agent


@dataclass(frozen=True)
class AgentResult:
    """How an agent's code ended: with a value, or with an exception of any kind."""

    value: Any = None
    error: BaseException | None = None


class Work:
    """The execution of an agent's code for one run."""

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
            # A task that is cancelled before its first step never runs, so its end would not be reported.
            self._loop.call_soon(self._cancel)
        elif self._task is not None:
            self._task.cancel()

    def begin_in(self, loop: asyncio.AbstractEventLoop, agent: Agent, run: BaseRun) -> None:
        """Starts an async agent."""
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
            # Any exception, SystemExit included, ends this run only, not the loop or the worker.
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
    """The threads in which a worker's agents run."""

    def __init__(self) -> None:
        """Starts the thread of the event loop."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="towerlog-agents", daemon=True).start()

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def begin(self, agent: Agent, run: BaseRun, ended: Callable[[AgentResult], None]) -> Work:
        """Starts an agent's work on a run, which is the current run in its code."""
        work = Work(ended)
        if agent.is_async:
            work.begin_in(self._loop, agent, run)
        else:
            name = f"towerlog-{agent.name}"
            threading.Thread(target=work.call, args=(agent, run), name=name, daemon=True).start()
        return work

    def stop(self) -> None:
        """Stops the event loop, unless an agent in it does not stop: that one ends with the process."""
        self._loop.call_soon_threadsafe(self._stop_idle)

    def _stop_idle(self) -> None:
        if not asyncio.all_tasks(self._loop):
            self._loop.stop()
