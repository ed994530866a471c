"""`install()`: from then on every run of the runner of the OpenAI Agents SDK is reported as a run.

The runner has one method for runs that are awaited and one for those that are streamed; both are replaced in its class,
since the SDK has no place for hooks of all runs. An agent that is a tool of another one is run by the runner as well,
inside that tool: so it is the other's child.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.integrations.openai_agents.approvals import LinkedApprovals, RunnerApprovals, linked_to
from towerlog.sdk.integrations.openai_agents.hooks import RunnerReports, hooks_class
from towerlog.sdk.integrations.openai_agents.responses import hear_responses, hearing, hooks_here
from towerlog.sdk.integrations.openai_agents.states import States
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.current import activated, called_in
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.values.capture import captures_content

MARK = "_towerlog_original"
STOPPED = "the program has cancelled its stream"
UNREAD = "nobody has read its stream"


def install(recorder: Recorder | None = None) -> None:
    """Reports every run from now on; safe to call again. Needs the package `openai-agents`."""
    from agents.run import AgentRunner

    if hasattr(AgentRunner, MARK):
        return
    run, run_streamed, reports = AgentRunner.run, AgentRunner.run_streamed, Runs(recorder)

    @functools.wraps(run)
    async def run_reported(self: Any, starting_agent: Any, input: Any, **options: Any) -> Any:  # noqa: A002 their name
        begun = reports.begin(starting_agent, input, options, streams=False)
        if begun is None:
            return await run(self, starting_agent, input, **options)
        with activated(begun.run), hearing(begun.hooks):
            try:
                result = await run(self, starting_agent, input, **{**options, "hooks": begun.hooks})
            except BaseException as error:
                reports.fail(begun, error)
                raise
        reports.end(begun, result)
        return result

    @functools.wraps(run_streamed)
    def streamed_reported(self: Any, starting_agent: Any, input: Any, **options: Any) -> Any:  # noqa: A002 their name
        begun = reports.begin(starting_agent, input, options, streams=True)
        if begun is None:
            return run_streamed(self, starting_agent, input, **options)

        def start() -> Any:
            with hearing(begun.hooks):
                return run_streamed(self, starting_agent, input, **{**options, "hooks": begun.hooks})

        try:
            # It only begins a task, which is part of the run for as long as that goes on.
            result = called_in(begun.run, start)
        except BaseException as error:
            reports.fail(begun, error)
            raise
        reports.watch(begun, result)
        result.stream_events = functools.partial(_events, result.stream_events, result, reports, begun)
        return result

    reports.states.install()
    hear_responses()
    setattr(AgentRunner, MARK, (run, run_streamed))
    AgentRunner.run, AgentRunner.run_streamed = run_reported, streamed_reported


class Begun(NamedTuple):
    """A run that goes on, and what it is told by."""

    run: BaseRun
    hooks: Any
    waited: LinkedApprovals | None
    """For what it has waited, if it has."""
    up: RunnerReports | None
    """The hooks of the run that gets what this one waits for: of an agent, where this one is a tool of it."""
    call_id: str
    """The id of the call of that tool."""

    @property
    def is_over(self) -> bool:
        """Whether its end was told, or that it waits."""
        return self.run.ended or self.hooks.is_settled


class Runs:
    """The beginning and the end of runs. Nothing here raises."""

    def __init__(self, recorder: Recorder | None) -> None:
        """By default that of the environment."""
        self.guard = Guard("the adapter of the OpenAI Agents SDK")
        self._recorder = recorder
        self.states = States(self._recorder_now)

    def _recorder_now(self) -> Recorder:
        return self._recorder or default_recorder()

    @guarded
    def begin(self, agent: Any, given: Any, options: dict[str, Any], *, streams: bool) -> Begun:
        """A run that begins; or one that has waited for people, and goes on."""
        # First, so that nothing begins where it cannot be told of.
        hooks, waiting, up = hooks_class(), linked_to(given), hooks_here()
        call_id = up.hands_up(options.get("context")) if up is not None else None
        if up is not None and call_id is not None:
            inner = up.inner.pop(call_id, None)
            waiting = waiting or (None if isinstance(given, str | list) else inner)
        if waiting is not None:
            run = waiting.goes_on(given)
        else:
            told = given if captures_content() and isinstance(given, str | list) else None
            run = self._recorder_now().start_run(agent.name, _thread_of(options), told)
        made = hooks(run, options.get("hooks"), options.get("run_config"), streams)
        made.inner.update({} if waiting is None else waiting.inner)
        return Begun(run, made, waiting, up if call_id is not None else None, call_id or "")

    @guarded
    def end(self, begun: Begun, result: Any) -> None:
        """What has come of it: a result, or calls that people have to approve."""
        if begun.is_over:
            return
        begun.hooks.is_settled = True
        run, interruptions = begun.run, getattr(result, "interruptions", None)
        if not interruptions:
            if begun.waited is not None:
                begun.waited.leave()
            begun.hooks.leave_inner()
            run.finish(result.final_output if run.captures_content else None)
            return
        try:
            asked = interruptions if begun.up is None else []
            approvals = RunnerApprovals(run, asked, begun.waited, begun.hooks.inner)
            if begun.waited is not None:
                begun.waited.leave(approvals.told()["questions"])
            approvals.link(result)
            if begun.up is None:
                self.states.waits(approvals)
            else:
                begun.up.inner[begun.call_id] = approvals
        except RunCancelled as error:
            run.end_with(error)

    @guarded
    def fail(self, begun: Begun, error: BaseException) -> None:
        """Ends a run that has failed, or was cancelled: a cancel may come out of the runner as an error of a tool."""
        if begun.is_over:
            return
        begun.hooks.is_settled = True
        why = RunCancelled(str(error)) if begun.run.cancelled else error
        begun.hooks.fail(why)
        begun.hooks.leave_inner()
        begun.run.end_with(why)

    def watch(self, begun: Begun, result: Any) -> None:
        """Ends a streamed run whose stream nobody reads: once its work was cancelled, or its result is dropped."""
        task = getattr(result, "run_loop_task", None)
        if task is not None:
            task.add_done_callback(functools.partial(self._worked, begun))
        # Once the program ends, a run that goes on is ended by the recorder.
        weakref.finalize(result, self.fail, begun, asyncio.CancelledError(UNREAD)).atexit = False

    def _worked(self, begun: Begun, task: asyncio.Task[Any]) -> None:
        if task.cancelled() and not begun.hooks.is_read:
            self.fail(begun, asyncio.CancelledError(STOPPED))

    def left(self, begun: Begun, result: Any) -> None:
        """The program has left a stream: the library may work on, and the run ends as that does."""
        task = getattr(result, "run_loop_task", None)
        if task is None or task.done():
            self.read(begun, result)
        else:
            task.add_done_callback(lambda _: self.read(begun, result))

    def read(self, begun: Begun, result: Any) -> None:
        """The stream has come to its end: as the result says, or because the program has cancelled it."""
        task, output = getattr(result, "run_loop_task", None), getattr(result, "final_output", None)
        error = task.exception() if task is not None and task.done() and not task.cancelled() else None
        if error is not None:
            self.fail(begun, error)
        elif output is None and (
            task is None or task.cancelled() or getattr(result, "_cancel_mode", "") == "immediate"
        ):
            self.fail(begun, asyncio.CancelledError(STOPPED))
        else:
            self.end(begun, result)


async def _events(events: Any, result: Any, reports: Runs, begun: Begun) -> AsyncIterator[Any]:
    """The events of a streamed run, whose text is reported as the program gets it."""
    begun.hooks.is_read = True
    try:
        async for event in events():
            if event.type == "raw_response_event":
                begun.hooks.delta(event.data)
            yield event
    except GeneratorExit:
        reports.left(begun, result)
        raise
    except BaseException as error:
        reports.fail(begun, error)
        raise
    reports.read(begun, result)


def _thread_of(options: dict[str, Any]) -> str | None:
    """The conversation: that of the provider, the session's, or the group of traces."""
    session, config = options.get("session"), options.get("run_config")
    found = options.get("conversation_id") or getattr(session, "session_id", None) or getattr(config, "group_id", None)
    return None if found is None else str(found)
