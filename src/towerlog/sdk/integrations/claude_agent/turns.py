"""A turn of the Claude Agent SDK as a run: what its messages tell, and what is counted with its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towerlog.sdk.integrations.claude_agent.scopes import Scope
from towerlog.sdk.integrations.claude_agent.usage import Sessions, SessionUsage, Spender, Told, together
from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.spans.span import CANCELLATIONS
from towerlog.sdk.record.values.capture import captures_content

SUBAGENT_TYPE = "subagent_type"
"""The argument of a tool that starts a sub-agent which says of which kind that is."""
TOLD_OF = frozenset({"SystemMessage", "AssistantMessage", "UserMessage", "ResultMessage", "StreamEvent"})
"""Kinds of messages with which a turn begins."""
NO_RESULT = "the messages have ended without a result"
MAX_SUBAGENTS = 1_000
"""Sub-agents of a turn that have ended and get their part of its cost. Of more the turn's cost is not told at all: it
would count beside what is computed for them."""
MAX_REQUESTED = 1_000
"""Ids of tool calls of a turn that are remembered, the last ones."""


class Sums:
    """Where the turns of one object find the sums of their sessions."""

    def __init__(self, recorder: Recorder | None) -> None:
        """`recorder`: its adapters share the sessions; by default that of the environment."""
        self._recorder = recorder
        self._nameless = SessionUsage()
        self.last: SessionUsage | None = None
        """Of the session whose result was read last."""

    @property
    def recorder(self) -> Recorder:
        """Where runs begin."""
        return self._recorder or default_recorder()

    def of(self, session_id: object) -> SessionUsage:
        """Usage of a session; all sessions without an id count as one."""
        if not isinstance(session_id, str) or not session_id:
            return self._nameless
        sessions: Sessions = self.recorder.adapters.setdefault("claude_agent", Sessions())
        return sessions.of(session_id, self.last)


class Turn:
    """What is known of one turn, from its first message to its end."""

    def __init__(self, guard: Guard, sums: Sums, agent: str, thread: str | None, given: object) -> None:
        """`given`: its input. Its run begins with the first message."""
        self.guard = guard
        self.run: BaseRun | None = None
        self._sums = sums
        self._agent = agent
        self._thread = thread
        self._input = given
        self._usage: SessionUsage | None = None
        self._scopes: dict[str | None, Scope] = {}
        """Id of the tool call that has started a sub-agent → what that does; None: the agent itself."""
        self._returned: list[Scope] = []
        self._requested: dict[str, None] = {}

    @property
    def scopes(self) -> list[Scope]:
        """All that have told something, the agent itself first."""
        return [*self._scopes.values(), *self._returned]

    @property
    def told(self) -> Told:
        """What its messages have told since the last result that included it."""
        return together(scope.told for scope in self.scopes)

    def has_requested(self, tool_use_id: object) -> bool:
        """Whether one of its messages has this tool call."""
        return tool_use_id in self._requested

    @guarded
    def begin(self, session_id: object = None) -> BaseRun:
        """Its run, which begins the first time; `session_id` as soon as it is known."""
        if self.run is None:
            named = session_id if isinstance(session_id, str) and session_id else None
            self.run = self._sums.recorder.start_run(self._agent, self._thread or named, self._input)
            self._scopes = {None: Scope(self.run)}
        if self._usage is None and session_id:
            self._usage = self._sums.of(session_id)
            self._usage.begin(self)
        return self.run

    @guarded
    def take(self, message: Any) -> None:
        """A message of the turn."""
        kind = type(message).__name__
        if kind in TOLD_OF:
            data = getattr(message, "data", None)
            said = data.get("session_id") if isinstance(data, Mapping) else None
            self.begin(getattr(message, "session_id", None) or said)
        if kind == "AssistantMessage":
            self._scope(message.parent_tool_use_id).assistant(message)
            self._note_requested(message)
        elif kind == "StreamEvent":
            self._scope(message.parent_tool_use_id).stream(message.event)
        elif kind == "UserMessage" and isinstance(message.content, list):
            self._return(message)
        elif kind == "ResultMessage":
            self._result(message)

    def _note_requested(self, message: Any) -> None:
        for block in message.content:
            if type(block).__name__ == "ToolUseBlock":
                self._requested[block.id] = None
                if len(self._requested) > MAX_REQUESTED:
                    del self._requested[next(iter(self._requested))]

    def _scope(self, tool_use_id: str | None) -> Scope:
        """The agent that speaks; a sub-agent that has not spoken yet begins a run, the child of the one around it."""
        found = self._scopes.get(tool_use_id)
        if found is not None:
            return found
        around = next((scope for scope in self._scopes.values() if tool_use_id in scope.tools), self._scopes[None])
        call = around.tools.get(tool_use_id or "")
        told: Any = call.arguments if call is not None and isinstance(call.arguments, Mapping) else {}
        around.close()
        given = told.get("prompt") if captures_content() else None
        agent = told.get(SUBAGENT_TYPE) or "sub-agent"
        run = self._sums.recorder.start_run(agent, input=given, parent=around.run)
        made = self._scopes[tool_use_id] = Scope(run)
        return made

    def _return(self, message: Any) -> None:
        """Tools have results; that of a sub-agent is its end."""
        scope = self._scope(message.parent_tool_use_id)
        scope.close()
        for block in message.content:
            if type(block).__name__ != "ToolResultBlock":
                continue
            inner = self._scopes.pop(block.tool_use_id, None)
            if inner is not None:
                inner.close()
                self._returned.append(inner)
                inner.ended_as = "run.failed" if block.is_error else "run.completed"
                shown = block.content if inner.run.captures_content else None
                inner.run.finish(shown, "the sub-agent has failed" if block.is_error else None)
            scope.returned(block)

    def _result(self, message: Any) -> None:
        """What is missing to the sums, and what has come of the turn."""
        run = self.begin()
        if run is None:
            return
        self._count(run, message)
        if not run.ended:
            self._scopes[None].ended_as = "run.failed" if message.is_error else "run.completed"
        if message.is_error:
            run.fail("; ".join(getattr(message, "errors", None) or ()) or message.result or message.subtype)
        else:
            structured = getattr(message, "structured_output", None)
            found = message.result if structured is None else structured
            run.complete(found if run.captures_content else None)

    def _count(self, run: BaseRun, message: Any) -> None:
        """Tells what no message has, and what was spent since the last result: each run its part of that."""
        for scope in self._scopes.values():
            scope.close()
        usage = self._usage or self._sums.of(None)
        others = [scope for turn in usage.turns if turn is not self for scope in turn.scopes]
        is_known = not usage.has_forgotten and len(self._returned) <= MAX_SUBAGENTS
        sums, cost = getattr(message, "model_usage", None), getattr(message, "total_cost_usd", None)
        found = usage.turn(self.told, sums, cost, together(scope.told for scope in others))
        if found is None:
            return
        rest: Any
        for model, rest in found.rest.items():
            run.model_call(model, provider="anthropic", parent="", settles="the rest of this model's turn", **rest)
        own = self._scopes[None]
        inner: list[Spender] = [scope for scope in self.scopes if scope is not own]
        inner += others if found.has_others else []
        if found.cost_nanos is not None and is_known:
            left = found.cost_nanos
            for one in inner:
                if told := one.told:
                    part = found.cost_of(told)
                    left -= part
                    one.cost(part)
            own.cost(left, found.model)
        own.settle()
        for one in inner:
            one.settle()
        usage.turns[:] = [self] if self in usage.turns else []
        self._sums.last = usage

    @guarded
    def end(self, error: BaseException | None) -> None:
        """The end of the messages: a turn without a result has failed by it."""
        run = self.run
        missed = error or (None if run is None or run.ended else NO_RESULT)
        for scope in reversed([*self._scopes.values()]):
            scope.close()
            if not scope.run.ended:
                scope.ended_as = "run.cancelled" if isinstance(missed, CANCELLATIONS) else "run.failed"
                scope.run.finish(error=missed)
        if self._usage is not None:
            self._usage.end(self)
