"""Serves a pydantic-ai `Agent` as an agent of a worker.

Text deltas, tool calls and their results, and each model call with its usage are reported as they happen. Before each
model call its messages are reported as a checkpoint, from which a lost run is resumed. Persona and route change the
agent only for the run. The agent's tools get the run by `towerlog.current_run()`, or as `ctx.deps` if its `deps_type`
is a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

from pydantic_ai import Agent
from pydantic_ai import messages as parts
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.toolsets import AbstractToolset, CombinedToolset
from pydantic_ai.usage import UsageLimits
from pydantic_core import to_jsonable_python

from towerlog.sdk.record.encoding import describe
from towerlog.sdk.record.run import AsyncRun, BaseRun

FAILED_OUTCOMES = frozenset({"failed", "retried", "interrupted", "denied"})
"""Outcomes of a tool call that are failures."""


def adapt(agent: Agent[Any, Any]) -> Callable[[AsyncRun], Awaitable[Any]]:
    """The agent as a callable that carries out a run."""

    async def carry_out(run: AsyncRun) -> Any:
        persona = run.persona or {}
        model = None if run.route is None else model_of(run.route)
        with _allowed(agent, persona.get("tools")):
            async with agent.iter(
                **_beginning(run),
                model=model,
                instructions=persona.get("instructions"),
                model_settings=persona.get("model_settings"),
                usage_limits=limits_of(persona.get("budget")),
                deps=run if _wants_run(agent) else None,
            ) as running:
                reports = _NodeReports(run)
                async for node in running:
                    await reports.node(node, running)
                result = running.result
        return None if result is None else to_jsonable_python(result.output, fallback=repr)

    return carry_out


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
    if run.resume is not None:
        return {"message_history": parts.ModelMessagesTypeAdapter.validate_python(run.resume["history"])}
    return {"user_prompt": run.input if isinstance(run.input, str) else json.dumps(run.input)}


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


class _NodeReports:
    """Reports the nodes of the library's graph to the run."""

    def __init__(self, run: AsyncRun) -> None:
        self._run = run
        self._began: dict[str, tuple[str, float]] = {}

    async def node(self, node: Any, running: Any) -> None:
        """Streams a model request or tool calls; other nodes report nothing."""
        if Agent.is_model_request_node(node):
            messages = [*running.all_messages(), node.request]
            self._run.checkpoint(parts.ModelMessagesTypeAdapter.dump_python(messages, mode="json"))
            await self._run.pause_point()
            begun_at = time.monotonic()
            stream: Any
            async with node.stream(running.ctx) as stream:
                await self._events(stream)
                self._model_call(stream.response, _since_ms(begun_at))
        elif Agent.is_call_tools_node(node):
            try:
                async with node.stream(running.ctx) as events:
                    await self._events(events)
            except BaseException as error:
                self._broken_off(error)
                raise

    async def _events(self, events: AsyncIterable[Any]) -> None:
        async for event in events:
            match event:
                case parts.PartStartEvent(part=parts.TextPart(content=text)) if text:
                    self._run.message_delta(text)
                case parts.PartDeltaEvent(delta=parts.TextPartDelta(content_delta=text)) if text:
                    self._run.message_delta(text)
                case parts.FunctionToolCallEvent(part=call):
                    self._tool_call(call)
                case parts.FunctionToolResultEvent(part=returned):
                    self._tool_result(returned)
                case _:
                    pass

    def _tool_call(self, call: parts.ToolCallPart) -> None:
        self._began[call.tool_call_id] = (call.tool_name, time.monotonic())
        data = {"tool": call.tool_name, "tool_call_id": call.tool_call_id, "arguments": call.args_as_dict()}
        self._run.tell("tool.call", data)

    def _tool_result(self, returned: Any) -> None:
        good = getattr(returned, "outcome", "failed") not in FAILED_OUTCOMES
        data: dict[str, Any] = {
            "tool": returned.tool_name,
            "tool_call_id": returned.tool_call_id,
            "success": good,
        }
        content = to_jsonable_python(returned.content, fallback=repr)
        data["result" if good else "error"] = content if good else str(content)
        _, begun_at = self._began.pop(returned.tool_call_id, ("", None))
        if begun_at is not None:
            data["duration_ms"] = _since_ms(begun_at)
        self._run.tell("tool.result", data)

    def _broken_off(self, error: BaseException) -> None:
        """Reports the end of open calls: for an error that ends the whole run the library yields no results."""
        for tool_call_id, (tool, begun_at) in self._began.items():
            data = {"tool": tool, "tool_call_id": tool_call_id, "success": False, "error": describe(error)}
            self._run.tell("tool.result", {**data, "duration_ms": _since_ms(begun_at)})
        self._began.clear()

    def _model_call(self, response: parts.ModelResponse, duration_ms: int) -> None:
        """Reports usage. The library's input tokens include cached ones; here they are counted apart."""
        usage = response.usage
        cached, written = usage.cache_read_tokens, usage.cache_write_tokens
        self._run.model_call(
            response.model_name or "unknown",
            input_tokens=max(0, usage.input_tokens - cached - written),
            cached_input_tokens=cached,
            output_tokens=usage.output_tokens,
            cost_usd=getattr(usage, "cost", None),
            duration_ms=duration_ms,
            cache_write_tokens=written,
        )


def _since_ms(begun_at: float) -> int:
    return round((time.monotonic() - begun_at) * 1000)
