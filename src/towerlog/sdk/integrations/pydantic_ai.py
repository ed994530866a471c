"""pydantic-ai agents: served by a worker, or recorded where the program itself calls them.

Text, tool calls and their results, and each model call with usage and cost are reported as they happen, those of
agents inside an agent's tools as well. Before each model call and after the end the messages are reported as a
checkpoint, from which a lost run is resumed and the thread's next run goes on. A tool call that needs approval is a
question of the run. Persona and route change the agent only for the run. The agent's tools get the run by
`towerlog.current_run()`, or as `ctx.deps` if its `deps_type` is a run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_ai import Agent
from pydantic_ai import messages as parts
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.exceptions import RunCancelled as LibraryRunCancelled
from pydantic_ai.exceptions import RunTimedOut
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.toolsets import AbstractToolset, CombinedToolset
from pydantic_ai.usage import UsageLimits
from pydantic_core import to_jsonable_python

from towerlog.sdk.integrations.pydantic_ai_reports import (
    CallReports,
    NodeReports,
    Questions,
    history_of,
    is_reported,
    report_inner_agents,
    reporting,
)
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun

_log = logging.getLogger("towerlog.sdk")


def adapt(agent: Agent[Any, Any]) -> Callable[[AsyncRun], Awaitable[Any]]:
    """The agent as a callable that carries out a run."""
    report_inner_agents()

    async def carry_out(run: AsyncRun) -> Any:
        persona = run.persona or {}
        model = None if run.route is None else model_of(run.route)
        with _allowed(agent, persona.get("tools")), _reported(run):
            async with agent.iter(
                **_beginning(run),
                model=model,
                instructions=persona.get("instructions"),
                model_settings=persona.get("model_settings"),
                usage_limits=limits_of(persona.get("budget")),
                deps=run if _wants_run(agent) else None,
                capabilities=[CallReports(run, pauses=run, tools_only=True), Questions(run)],
            ) as running:
                reports = NodeReports(run)
                async for node in running:
                    await reports.node(node, running)
                result = running.result
                run.checkpoint(history_of(running.all_messages()))
        return None if result is None else to_jsonable_python(result.output, fallback=repr)

    return carry_out


def record(agent: Agent[Any, Any], *, recorder: Recorder | None = None, name: str | None = None) -> Agent[Any, Any]:
    """The agent, each of whose runs is reported as a run: for programs that call it themselves.

    It is used like the agent. `recorder` is by default that of TOWERLOG_URL and TOWERLOG_API_KEY, `name` the agent's
    name. Inside another run each of its runs is that one's child. What is recorded twice, or served by a worker too,
    is reported once.
    """
    report_inner_agents()
    recorded: Any = _RecordedAgent(agent, recorder, name)
    found: Agent[Any, Any] = recorded
    return found


class _RecordedAgent(WrapperAgent[Any, Any]):
    """An agent whose runs are reported."""

    def __init__(self, wrapped: Agent[Any, Any], recorder: Recorder | None, name: str | None) -> None:
        super().__init__(wrapped)
        self._recorder = recorder
        self._reported_name = name

    def __getattr__(self, name: str) -> Any:
        """What the library gives only to its own class: `tool`, `instructions`, `output_validator` and others."""
        if name == "wrapped":
            # Not set yet, as while it is copied: to look there would not end.
            raise AttributeError(name)
        if name == "to_web":
            # The one of these that runs the agent.
            serve: Any = Agent.to_web
            return functools.partial(serve, self)
        return getattr(self.wrapped, name)

    def __setattr__(self, name: str, value: object) -> None:
        """What is set is the agent's own, but for what this class keeps."""
        if name in ("wrapped", "_recorder", "_reported_name"):
            super().__setattr__(name, value)
        else:
            setattr(self.wrapped, name, value)

    @contextlib.asynccontextmanager
    async def iter(self, user_prompt: Any = None, **options: Any) -> AsyncIterator[Any]:
        """As the wrapped agent, with its capabilities and those that report. Options are the library's own."""
        if is_reported(options):  # by a worker, or because it was recorded twice
            async with self.wrapped.iter(user_prompt, **options) as running:
                yield running
            return
        recorder = self._recorder or default_recorder()
        name = self._reported_name or self.name or "agent"
        told = None if user_prompt is None else to_jsonable_python(user_prompt, fallback=repr)
        async with recorder.record_run(name, options.get("conversation_id"), told) as run:
            given = tuple(options.pop("capabilities", None) or ())
            questions = Questions(run, program_decides=options.get("deferred_tool_results") is not None)
            calls = CallReports(run, pauses=run)
            capabilities = (*given, calls, questions)
            begun: list[Any] = []
            with _cancels_as_the_library(run, begun), _reported(run):
                async with self.wrapped.iter(user_prompt, capabilities=capabilities, **options) as running:
                    begun.append(running)
                    # The agent's output type or that of this call: only the library knows which of them holds.
                    if running.ctx.deps.output_schema.allows_deferred_tools:
                        questions.program_decides = True
                    run.on_cancel(running.cancel)
                    yield running
                calls.ends()
                run.checkpoint(history_of(running.all_messages()))
            if running.result is None:
                run.give_up("its consumer stopped early")
            else:
                run.result = to_jsonable_python(running.result.output, fallback=repr)


@contextlib.contextmanager
def _cancels_as_the_library(run: BaseRun, begun: list[Any]) -> Iterator[None]:
    """Ends a cancelled run as cancelled, and raises what the library's users know: its RunCancelled.

    `begun` gets the agent's run when there is one.
    """
    try:
        yield
    except RunTimedOut:
        raise
    except LibraryRunCancelled as error:
        run.end_with(RunCancelled(str(error)))
        raise
    except RunCancelled as error:
        # Where the agent waits, in a pause or a question, this may be faster than the library's own.
        run.end_with(error)
        raise LibraryRunCancelled(str(error), messages=[m for one in begun for m in one.all_messages()]) from error


@contextlib.contextmanager
def _reported(run: BaseRun) -> Iterator[None]:
    """Agents inside the tools of this one report to its run."""
    token = reporting.set(run)
    try:
        yield
    finally:
        # A generator may be closed in another context than it began in: then there is nothing to reset.
        with contextlib.suppress(ValueError):
            reporting.reset(token)


def model_of(route: dict[str, Any]) -> Model:
    """The model of a route; the key is read from the variable that the route names. Raises ValueError if it is
    not set.
    """
    key_env = route.get("key_env")
    if key_env and key_env not in os.environ:
        raise ValueError(f"the route {route.get('route_id')!r} needs a key in {key_env}, which is not set")
    given = {"base_url": route.get("base_url"), "api_key": os.environ[key_env] if key_env else None}
    chosen = {name: value for name, value in given.items() if value is not None}

    def provider(name: str) -> Provider[Any]:
        return infer_provider_class(name)(**chosen)

    name = f"{route['provider']}:{route['model']}"
    return infer_model(name, provider) if chosen else infer_model(name)


def limits_of(budget: dict[str, Any] | None) -> UsageLimits | None:
    """A persona's budget as the library's limits: past it the agent stops and its run fails."""
    if not budget:
        return None
    usd = budget.get("usd")
    return UsageLimits(
        cost_limit=None if usd is None else Decimal(str(usd)),
        total_tokens_limit=budget.get("tokens"),
        request_limit=None,
    )


def _beginning(run: AsyncRun) -> dict[str, Any]:
    """Where the agent begins: at the last checkpoint of a lost run, else with the input after the thread's history."""
    if run.resume is not None:
        return {"message_history": parts.ModelMessagesTypeAdapter.validate_python(run.resume["history"])}
    prompt = run.input if run.input is None or isinstance(run.input, str) else json.dumps(run.input)
    try:
        history = parts.ModelMessagesTypeAdapter.validate_python(run.history)
    except ValidationError:
        _log.warning("run %s: the thread's history is not one of pydantic-ai; the agent starts without it", run.run_id)
        history = []
    return {"user_prompt": prompt, "message_history": history or None}


def _wants_run(agent: Agent[Any, Any]) -> bool:
    wanted: object = agent.deps_type
    return isinstance(wanted, type) and issubclass(wanted, BaseRun)


@contextlib.contextmanager
def _allowed(agent: Agent[Any, Any], tools: list[str] | None) -> Iterator[None]:
    """Restricts the agent to these tools; None: all of them."""
    if tools is None:
        yield
        return
    names = frozenset(tools)
    every: AbstractToolset[Any] = CombinedToolset(list(agent.toolsets))
    with agent.override(toolsets=[every.filtered(lambda context, tool: tool.name in names)], tools=[]):
        yield
