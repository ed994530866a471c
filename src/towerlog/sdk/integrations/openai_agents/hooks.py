"""What the runner of the OpenAI Agents SDK tells of a run, reported. The class of hooks is made when it is asked for.

The hooks of the program are called as well, after ours.
"""

from __future__ import annotations

import contextlib
import functools
import json
import types
from typing import Any

from towerlog.sdk.integrations.clients.endpoints import note_response
from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.integrations.new_messages import ToldMessages
from towerlog.sdk.integrations.openai_agents.approvals import WENT_ON, LinkedApprovals
from towerlog.sdk.integrations.openai_agents.values import call_id_of, input_messages, model_name, provider_of, text_of
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.spans.model_calls import ModelCall
from towerlog.sdk.record.spans.span import CANCELLATIONS
from towerlog.sdk.record.spans.tool_calls import ToolCall
from towerlog.sdk.wire.ids import uuid7

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Events of a stream that have the whole response."""
MAX_OPEN = 1_000
"""Calls of one run that are open at a time and remembered."""


@functools.cache
def hooks_class() -> Any:
    """The class of the hooks, which is one of the SDK's."""
    from agents import RunHooks

    # The SDK's is an alias of a generic class.
    return types.new_class("TowerlogRunHooks", (RunnerReports, RunHooks))


class RunnerReports:
    """What the hooks of one run do."""

    def __init__(self, run: BaseRun, theirs: Any, config: Any, streams: bool) -> None:
        """`theirs`: the hooks of the program; `config`: the runner's, which may name a model; `streams`: whether the
        text comes in pieces, by `delta`."""
        super().__init__()
        self.guard = Guard("the adapter of the OpenAI Agents SDK")
        self._run = run
        self._theirs = theirs
        self._config = config
        self._streams = streams
        self._told = ToldMessages(lambda message: message)
        self._asking: dict[int, ModelCall] = {}
        """Id of an agent → its call that goes on."""
        self._last: ModelCall | None = None
        self._raw_usage: Any = None
        """What the provider itself has said that the last call has used: the SDK keeps less of it."""
        self._raw_tier: Any = None
        self._tools: dict[str, ToolCall] = {}
        self._agents: set[str] = set()
        """Ids of the calls of agents as tools that go on."""
        self.inner: dict[str, LinkedApprovals] = {}
        """Id of such a call → the run inside it, while that waits for people: the runner hands up what it waits for."""
        self.is_settled = False
        """Whether the end of the run was told, or that it waits."""
        self.is_read = False
        """Whether its stream is read."""

    def hands_up(self, context: Any) -> str | None:
        """The id of the call of an agent as a tool to which the context of an inner run belongs; None for another
        context: the program itself gets the result of that run, as where a tool calls the runner."""
        call_id = call_id_of(context)
        # A call that goes on with what it has waited for is not told of again.
        return call_id if call_id in self._agents or call_id in self.inner else None

    def leave_inner(self) -> None:
        """Nobody goes on with the runs inside that wait."""
        for one in self.inner.values():
            one.end(RunCancelled(WENT_ON))
        self.inner.clear()

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """An agent begins its work. Raises RunCancelled."""
        self._run.check()
        if self._theirs is not None:
            await self._theirs.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """For the program alone."""
        if self._theirs is not None:
            await self._theirs.on_agent_end(context, agent, output)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        """Another agent goes on: events have its name from here on."""
        self._hands_off(from_agent, to_agent)
        if self._theirs is not None:
            await self._theirs.on_handoff(context, from_agent, to_agent)

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: Any, input_items: Any) -> None:
        """A model is called. Raises RunCancelled."""
        self._run.check()
        self._asks(agent, system_prompt, input_items)
        if self._theirs is not None:
            await self._theirs.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """It has answered."""
        self._answers(agent, response)
        if self._theirs is not None:
            await self._theirs.on_llm_end(context, agent, response)

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """A tool is called. Raises RunCancelled."""
        self._run.check()
        self._calls(context, agent, tool)
        if self._theirs is not None:
            await self._theirs.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """It has a result."""
        self._returns(context, tool, result)
        if self._theirs is not None:
            await self._theirs.on_tool_end(context, agent, tool, result)

    @guarded
    def delta(self, event: Any) -> None:
        """A piece of what a model streams."""
        kind, call = getattr(event, "type", ""), self._last
        if call is None:
            return
        if kind in TERMINAL:
            note_response(call, event.response)
            self._note_raw(call)
        if kind == "response.output_text.delta":
            call.delta(event.delta)
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            call.delta(event.delta, "thinking")

    @guarded
    def _hands_off(self, from_agent: Any, to_agent: Any) -> None:
        told = {"from": from_agent.name, "to": to_agent.name}
        self._run.step("handoff", told, parent="", agent=from_agent.name)

    @guarded
    def _asks(self, agent: Any, system_prompt: Any, input_items: Any) -> None:
        span_id, model = uuid7(), model_name(agent, self._config)
        asked: dict[str, Any] = {}
        if self._run.captures_content:
            asked = self._told.members(agent.name, span_id, input_messages(system_prompt, input_items))
        call = self._run.start_model_call(
            model, span_id=span_id, parent="", agent=agent.name, provider=provider_of(model), **asked
        )
        self._asking[id(agent)] = self._last = call
        self._raw_usage = self._raw_tier = None
        if len(self._asking) > MAX_OPEN:
            self._asking.pop(next(iter(self._asking)), None)

    @guarded
    def _answers(self, agent: Any, response: Any) -> None:
        call = self._asking.pop(id(agent), None)
        if call is None:
            return
        text = text_of(response.output)
        if text and not self._streams:
            self._run.message_delta(text, span=call, agent=agent.name)
        call.response = response.output
        call.usage = response.usage
        self._note_raw(call)
        call.response_id, call.reader = response.response_id or call.response_id, "openai_agents"
        call.finish()

    @guarded
    def heard(self, response: Any) -> None:
        """What a model has answered, or a piece of it, before the SDK makes of it what it knows: the terms are not in
        that, nor the cost, nor the usage of what has failed."""
        call = self._last
        if call is None:
            return
        self._raw_usage = getattr(response, "usage", None) or self._raw_usage
        self._raw_tier = getattr(response, "service_tier", None) or self._raw_tier
        if getattr(response, "usage", None) is not None:
            note_response(call, response)
            self._note_raw(call)

    def _note_raw(self, call: ModelCall) -> None:
        if call is self._last:
            call.usage = self._raw_usage or call.usage
            call.service_tier = self._raw_tier or call.service_tier

    @guarded
    def fail(self, error: BaseException) -> None:
        """The run has failed, and so have the calls that go on."""
        for call in self._asking.values():
            call.reader = "openai_agents"
            if isinstance(error, CANCELLATIONS):
                call.interrupt(error)
            else:
                call.finish(error)
        self._asking.clear()

    @guarded
    def _calls(self, context: Any, agent: Any, tool: Any) -> None:
        call_id = call_id_of(context)
        arguments: Any = getattr(context, "tool_arguments", None)
        with contextlib.suppress(TypeError, ValueError):
            arguments = json.loads(arguments)
        call = self._run.tool_call(tool.name, arguments, tool_call_id=call_id, parent="", agent=agent.name).begin()
        self._tools[call_id or tool.name] = call
        if call_id and getattr(tool, "_is_agent_tool", False):
            self._agents.add(call_id)
        if len(self._tools) > MAX_OPEN:
            oldest = next(iter(self._tools))
            self._tools.pop(oldest)
            self._agents.discard(oldest)

    @guarded
    def _returns(self, context: Any, tool: Any, result: Any) -> None:
        self._agents.discard(call_id_of(context) or "")
        call = self._tools.pop(call_id_of(context) or tool.name, None)
        if call is None:
            return
        if failure := failure_here():
            call.fail(f"{failure}: {result}")
        else:
            call.result = result
        call.finish()


def failure_here() -> str | None:
    """Why the tool has failed whose end is told: the SDK gives the model a text then, and notes the error in its
    trace."""
    from agents.tracing import get_current_span

    error = getattr(get_current_span(), "error", None)
    if not isinstance(error, dict):
        return None
    reason = (error.get("data") or {}).get("error")
    return str(reason or error.get("message"))
