"""What a pydantic-ai agent does, reported as events of a run: model calls, tools, text, and questions to a person.

`Reporter` words the events. `CallReports` is a capability, told by the library of each tool and model call, and forces
no streaming; `NodeReports` is for whoever drives the agent's graph, and streams its model calls.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import AsyncIterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic_ai import Agent
from pydantic_ai import messages as parts
from pydantic_ai.capabilities import (
    AbstractCapability,
    CapabilityOrdering,
    Hooks,
    RequestInput,
    WrapperCapability,
)
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied
from pydantic_core import to_jsonable_python

from towerlog.sdk.integrations import approvals
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun
from towerlog.sdk.record.values.encoding import describe

FAILED_OUTCOMES = frozenset({"failed", "retried", "interrupted", "denied"})
"""Outcomes of a tool call that are failures."""

reporting: ContextVar[BaseRun | None] = ContextVar("towerlog_pydantic_ai_run", default=None)
"""The run for which an agent is carried out here: agents inside its tools report to it."""


def history_of(messages: list[parts.ModelMessage]) -> list[Any]:
    """Messages as plain JSON values, from which `ModelMessagesTypeAdapter` makes them again."""
    found: list[Any] = parts.ModelMessagesTypeAdapter.dump_python(messages, mode="json")
    return found


def text_of(response: parts.ModelResponse) -> str:
    """What a model has said, without its thoughts and its calls."""
    return "".join(part.content for part in response.parts if isinstance(part, parts.TextPart))


def can_stream(model: Model) -> bool:
    """Whether a model can be asked for a stream. It need not: the library fails when it is asked all the same."""
    if isinstance(model, WrapperModel):
        return can_stream(model.wrapped)
    if isinstance(model, FallbackModel):
        return all(can_stream(one) for one in model.models)
    if isinstance(model, FunctionModel):
        return model.stream_function is not None
    # The library wraps the method of every class, also where that has only inherited it.
    return inspect.unwrap(type(model).request_stream) is not inspect.unwrap(Model.request_stream)


class Reporter:
    """Events of one agent in a run. Tool calls are told once, and each has its end."""

    def __init__(self, run: BaseRun) -> None:
        self._run = run
        self._open: dict[str, tuple[str, float | None]] = {}
        """Id of a call that was told and has not ended → its tool, and since when it is carried out; None: it waits."""
        self._ended: set[str] = set()

    def model_call(self, response: parts.ModelResponse, begun_at: float) -> None:
        """Usage and cost of one model request."""
        usage = response.usage
        self._run.model_call(
            response.model_name or "unknown",
            usage=usage,
            cost_usd=getattr(usage, "cost", None),
            duration_ms=_since_ms(begun_at),
        )

    def text(self, text: str) -> None:
        """A piece of the agent's text."""
        if text:
            self._run.message_delta(text)

    def tool_call(self, call: parts.ToolCallPart) -> None:
        """A tool call that begins; one that had begun, and waited for a person, is not told again."""
        told = call.tool_call_id in self._open
        self._open[call.tool_call_id] = (call.tool_name, time.monotonic())
        if not told:
            self._tell_call(call)

    def tool_waits(self, call: parts.ToolCallPart) -> None:
        """A tool call that had begun waits for a person, whose time is not the tool's."""
        self._open[call.tool_call_id] = (call.tool_name, None)

    def tool_result(self, call: Any, content: object, good: bool) -> None:
        """The end of a tool call: its result, or why there is none."""
        plain = to_jsonable_python(content, fallback=repr)
        data: dict[str, Any] = {"tool": call.tool_name, "tool_call_id": call.tool_call_id, "success": good}
        data["result" if good else "error"] = plain if good else str(plain)
        _, begun_at = self._open.pop(call.tool_call_id, ("", None))
        if begun_at is not None:
            data["duration_ms"] = _since_ms(begun_at)
        self._ended.add(call.tool_call_id)
        self._run.tell("tool.result", data)

    def returned(self, messages: list[parts.ModelMessage], run_id: str | None) -> None:
        """Tells the calls that came back to the model without having been carried out here: a person has denied them,
        they were answered elsewhere, or there is no such tool.
        """
        last = messages[-1] if messages else None
        if not isinstance(last, parts.ModelRequest) or last.run_id is None or last.run_id != run_id:
            # Of an earlier run of the agent, which has told them.
            return
        calls: dict[str, parts.ToolCallPart] = {}
        for part in last.parts:
            if isinstance(part, parts.ToolReturnPart) and part.tool_call_id not in self._ended:
                calls = calls or _calls_in(messages)
                call = calls.get(part.tool_call_id)
                if call is not None and part.tool_call_id not in self._open:
                    self._tell_call(call)
                self.tool_result(part, part.content, part.outcome not in FAILED_OUTCOMES)

    def ends(self) -> None:
        """The end of calls that still wait: whoever decides on them does so in another run."""
        for tool_call_id, (tool, _) in self._open.items():
            data = {"tool": tool, "tool_call_id": tool_call_id, "success": False, "error": "waits for a decision"}
            self._run.tell("tool.result", data)
        self._open.clear()

    def _tell_call(self, call: parts.ToolCallPart) -> None:
        data = {"tool": call.tool_name, "tool_call_id": call.tool_call_id, "arguments": call.args_as_dict()}
        self._run.tell("tool.call", data)


def _calls_in(messages: list[parts.ModelMessage]) -> dict[str, parts.ToolCallPart]:
    """The calls of the last response that has any, by id."""
    for message in reversed(messages):
        if isinstance(message, parts.ModelResponse) and message.tool_calls:
            return {call.tool_call_id: call for call in message.tool_calls}
    return {}


class NodeReports:
    """Reports the text and the model calls of an agent's graph to its run, streamed where the model can."""

    def __init__(self, run: AsyncRun) -> None:
        self._reporter = Reporter(run)

    async def node(self, node: Any, running: Any) -> None:
        """Carries out a model request; other nodes are left to the graph."""
        if not Agent.is_model_request_node(node):
            return
        ctx: Any = running.ctx
        begun_at = time.monotonic()
        if not can_stream(ctx.deps.model):
            # The node keeps what it has come to: the request is not made again when the graph goes on.
            requested: Any = await node.run(ctx)
            response: parts.ModelResponse = requested.model_response
            self._reporter.text(text_of(response))
            self._reporter.model_call(response, begun_at)
            return
        stream: Any
        async with node.stream(ctx) as stream:
            await self._events(stream)
            self._reporter.model_call(stream.response, begun_at)

    async def _events(self, events: AsyncIterable[Any]) -> None:
        async for event in events:
            match event:
                case parts.PartStartEvent(part=parts.TextPart(content=text)):
                    self._reporter.text(text)
                case parts.PartDeltaEvent(delta=parts.TextPartDelta(content_delta=text)):
                    self._reporter.text(text)
                case _:
                    pass


@dataclass
class CallReports(AbstractCapability[Any]):
    """Reports the tools of an agent, and its model calls unless `NodeReports` does."""

    run: BaseRun
    pauses: AsyncRun | None = None
    """The run, for its outermost agent: that one reports its messages before each model request, and pauses there."""
    tools_only: bool = False

    def __post_init__(self) -> None:
        self._reporter = Reporter(self.run)
        # The first request of an attempt that goes on from a checkpoint is made from that, which the server has. The
        # library gives its last message marks of this attempt, so that it is not the same any more.
        resume = self.run.resume or {}
        self._resumed_messages = len(resume.get("history", ()))

    async def wrap_model_request(self, ctx: RunContext[Any], *, request_context: Any, handler: Any) -> Any:
        """Reports what has come back from tools, the call, and the text of its response."""
        self._reporter.returned(ctx.messages, ctx.run_id)
        if self.pauses is not None:
            if len(ctx.messages) != self._resumed_messages:
                self.run.checkpoint(history_of(list(ctx.messages)))
            self._resumed_messages = 0
            await self.pauses.pause_point()
        begun_at = time.monotonic()
        response: parts.ModelResponse = await handler(request_context)
        if not self.tools_only:
            if self.pauses is not None:
                self._reporter.text(text_of(response))
            self._reporter.model_call(response, begun_at)
        return response

    def ends(self) -> None:
        """Called at the end of the agent's run."""
        self._reporter.ends()

    async def wrap_tool_validate(
        self, ctx: RunContext[Any], *, call: Any, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        """Reports a call whose arguments are wrong, for it is never carried out."""
        try:
            return await handler(args)
        except (ApprovalRequired, CallDeferred):
            raise
        except BaseException as error:
            self._reporter.tool_call(call)
            self._reporter.tool_result(call, describe(error), False)
            raise

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: Any, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        """Reports the call and its result."""
        self._reporter.tool_call(call)
        try:
            result = await handler(args)
        except (ApprovalRequired, CallDeferred):
            # It is carried out later, if ever.
            self._reporter.tool_waits(call)
            raise
        except BaseException as error:
            self._reporter.tool_result(call, describe(error), False)
            raise
        self._reporter.tool_result(call, getattr(result, "return_value", result), True)
        return result


@dataclass
class Questions(AbstractCapability[Any]):
    """Tool calls that wait for a person, and that nobody else decides on, become questions of the run.

    An approval is a yes; anything else denies the call, with the answer as the reason. A call that is carried out
    elsewhere gets the answer as its result.
    """

    run: AsyncRun
    program_decides: bool | None = None
    """Whether the program that calls the agent decides, so that nothing is asked here. None: it never does, as in a
    worker, where only what handlers of the agent leave open is asked."""

    def get_ordering(self) -> CapabilityOrdering:
        """The last of all: handlers of the agent or of its caller decide first."""
        return CapabilityOrdering(position="innermost", wrapped_by=[RequestInput])

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """The answers of people; None where the program decides."""
        if self.program_decides or (self.program_decides is not None and self._has_handler(ctx)):
            return None
        results = DeferredToolResults()
        # All at once: people answer in the order that they like.
        await asyncio.gather(
            *(self._approve(call, results) for call in requests.approvals),
            *(self._fetch(call, results) for call in requests.calls),
        )
        return results

    async def _approve(self, call: parts.ToolCallPart, results: DeferredToolResults) -> None:
        answer = str(await self.run.ask(approvals.question_of(call.tool_name, call.args_as_dict()))).strip()
        denied = ToolDenied(answer or ToolDenied().message)
        results.approvals[call.tool_call_id] = True if approvals.approves(answer) else denied

    async def _fetch(self, call: parts.ToolCallPart, results: DeferredToolResults) -> None:
        results.calls[call.tool_call_id] = await self.run.ask(
            f"Result of {approvals.in_words(call.tool_name, call.args_as_dict())}?"
        )

    def _has_handler(self, ctx: RunContext[Any]) -> bool:
        """Whether the run has a handler of the program's own, whatever that has left open."""
        others: list[AbstractCapability[Any]] = []
        if ctx.root_capability is not None:
            ctx.root_capability.apply(others.append)
        return any(_handles(other) for other in others if other is not self)


def _handles(capability: AbstractCapability[Any]) -> bool:
    # These two have the method for what is inside them: the one is visited itself, of the other nothing can be known.
    if isinstance(capability, WrapperCapability | Hooks):
        return False
    return type(capability).handle_deferred_tool_calls is not AbstractCapability.handle_deferred_tool_calls


def inside(run: BaseRun, name: str | None) -> BaseRun:
    """The run as an agent inside it reports to it: under that agent's name."""
    return BaseRun(run.sink, run.run_key, name or "unnamed", run_id=run.run_id, thread=run.thread)


def is_reported(options: dict[str, Any]) -> bool:
    """Whether whoever begins an agent's run with these options reports it already."""
    return any(isinstance(one, CallReports | Questions) for one in options.get("capabilities") or ())


def report_inner_agents() -> None:
    """From now on agents report that run inside the tools of another one which is reported. Safe to call again."""
    begin: Any = Agent.iter
    if getattr(begin, "reports_to_towerlog", False):
        return

    # The library has no place for a capability of all agents, and an inner agent is the program's own object.
    @functools.wraps(begin)
    def iter_reported(self: Agent[Any, Any], *args: Any, **options: Any) -> Any:
        run = reporting.get()
        # A block that was left in another context leaves its run here, and that has ended.
        if run is not None and not run.ended and not is_reported(options):
            given = tuple(options.get("capabilities") or ())
            options["capabilities"] = (*given, CallReports(inside(run, self.name)))
        return begin(self, *args, **options)

    iter_reported.reports_to_towerlog = True  # type: ignore[attr-defined]  # read above
    Agent.iter = iter_reported  # type: ignore[method-assign]  # see above


def _since_ms(begun_at: float) -> int:
    return round((time.monotonic() - begun_at) * 1000)
