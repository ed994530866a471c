"""`towerlog.claude_agent()`: turns of the Claude Agent SDK as runs, and its requests for permission as questions.

Its messages are looked at as the program reads them. Importing this module needs no SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

from towerlog.sdk.integrations import approvals
from towerlog.sdk.integrations.claude_agent.scopes import Scope
from towerlog.sdk.integrations.claude_agent.usage import NANOS, Sessions, SessionUsage, together
from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.values.capture import captures_content

SUBAGENT_TYPE = "subagent_type"
"""The argument of a tool that starts a sub-agent which says of which kind that is."""


NO_RESULT = "the messages have ended without a result"
MAX_SUBAGENTS = 1_000
"""Sub-agents of a turn that have ended and get their part of its cost. Of more the turn's cost is not told at all: it
would count beside what is computed for them."""


class ClaudeAgent:
    """The turns of one session. One turn at a time."""

    def __init__(self, agent: str, thread: str | None, recorder: Recorder | None) -> None:
        """Begins nothing yet."""
        self.guard = Guard("the adapter of the Claude Agent SDK")
        self._agent = agent
        self._thread = thread
        self._recorder = recorder
        self._usage: SessionUsage | None = None
        self._run: BaseRun | None = None
        self._input: Any = None
        self._scopes: dict[str | None, Scope] = {}
        """Id of the tool call that has started a sub-agent → what that does; None: the agent itself."""
        self._returned_agents: list[Scope] = []

    async def seen(self, messages: AsyncIterable[Any], prompt: object = None) -> AsyncIterator[Any]:
        """The messages of a turn (what `query()` or `client.receive_response()` gives), which are reported as a run.

        `prompt`: what was asked, for the run's input. A cancel raises RunCancelled where the next message would come.
        """
        self._input = prompt if captures_content() else None
        try:
            async for message in messages:
                self._take(message)
                if self._run is not None:
                    self._run.check()
                yield message
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    async def can_use_tool(self, tool: str, arguments: dict[str, Any], context: Any) -> Any:
        """Asks people whether a tool may be used: for `ClaudeAgentOptions(can_use_tool=…)`."""
        from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

        run = self._begin(None)
        if run is None:
            return PermissionResultDeny(message="nobody could be asked")
        try:
            answer = await OpenQuestion(run, approvals.question_of(tool, arguments)).wait_async()
        except RunCancelled as error:
            return PermissionResultDeny(message=str(error), interrupt=True)
        except Exception as error:
            self.guard.failed("a request for permission", error)
            return PermissionResultDeny(message="nobody could be asked")
        if approvals.approves(answer):
            return PermissionResultAllow(updated_input=arguments)
        return PermissionResultDeny(message=approvals.reason_of(answer))

    @guarded
    def _begin(self, session_id: str | None) -> BaseRun:
        if self._run is None:
            recorder = self._recorder or default_recorder()
            self._run = recorder.start_run(self._agent, self._thread or session_id, self._input)
            self._scopes, self._returned_agents = {None: Scope(self._run)}, []
        return self._run

    @guarded
    def _take(self, message: Any) -> None:
        kind = type(message).__name__
        if kind in ("SystemMessage", "AssistantMessage", "UserMessage", "ResultMessage", "StreamEvent"):
            data = getattr(message, "data", None)
            said = data.get("session_id") if isinstance(data, Mapping) else None
            self._begin(getattr(message, "session_id", None) or said)
        if kind == "AssistantMessage":
            self._scope(message.parent_tool_use_id).assistant(message)
        elif kind == "StreamEvent":
            self._scope(message.parent_tool_use_id).stream(message.event)
        elif kind == "UserMessage" and isinstance(message.content, list):
            self._returned(message)
        elif kind == "ResultMessage":
            self._result(message)

    def _scope(self, tool_use_id: str | None) -> Scope:
        """The agent that speaks; a sub-agent that has not spoken yet begins a run, the child of the one around it."""
        found = self._scopes.get(tool_use_id)
        if found is not None:
            return found
        around = next((scope for scope in self._scopes.values() if tool_use_id in scope.tools), self._scopes[None])
        call = around.tools.get(tool_use_id or "")
        told: Any = call.arguments if call is not None and isinstance(call.arguments, Mapping) else {}
        around.close()
        recorder = self._recorder or default_recorder()
        given = told.get("prompt") if captures_content() else None
        run = recorder.start_run(told.get(SUBAGENT_TYPE) or "sub-agent", input=given, parent=around.run)
        made = self._scopes[tool_use_id] = Scope(run)
        return made

    def _returned(self, message: Any) -> None:
        scope = self._scope(message.parent_tool_use_id)
        scope.close()
        for block in message.content:
            if type(block).__name__ != "ToolResultBlock":
                continue
            inner = self._scopes.pop(block.tool_use_id, None)
            if inner is not None:
                inner.close()
                self._returned_agents.append(inner)
                inner.ended_as = "run.failed" if block.is_error else "run.completed"
                shown = block.content if inner.run.captures_content else None
                inner.run.finish(shown, "the sub-agent has failed" if block.is_error else None)
            scope.returned(block)

    def _result(self, message: Any) -> None:
        """The end of a turn: what is missing to the sums, and what has come of it."""
        run = self._begin(None)
        if run is None:
            return
        self._count(run, message)
        if message.is_error:
            run.fail("; ".join(getattr(message, "errors", None) or ()) or message.result or message.subtype)
        else:
            structured = getattr(message, "structured_output", None)
            found = message.result if structured is None else structured
            run.complete(found if run.captures_content else None)

    def _count(self, run: BaseRun, message: Any) -> None:
        """Tells what the messages have not, and what the turn has cost: each of its runs its part of that."""
        for scope in self._scopes.values():
            scope.close()
        inner = [*self._returned_agents, *(scope for key, scope in self._scopes.items() if key is not None)]
        told = together(scope.told for scope in (self._scopes[None], *inner))
        recorder = self._recorder or default_recorder()
        sessions = recorder.adapters.setdefault("claude_agent", Sessions())
        session_id = getattr(message, "session_id", None)
        usage = self._usage = self._usage or sessions.of(session_id)
        sessions.keep(session_id, usage)
        turn = usage.turn(told, getattr(message, "model_usage", None), getattr(message, "total_cost_usd", None))
        for model, rest in turn.rest.items():
            run.model_call(model, provider="anthropic", parent="", settles="the rest of this model's turn", **rest)
        if turn.cost_nanos is None or len(self._returned_agents) > MAX_SUBAGENTS:
            return
        left = turn.cost_nanos
        for scope in inner:
            if scope.told:
                part = turn.cost_of(scope.told)
                left -= part
                _tell_cost(scope, part)
        _tell_cost(self._scopes[None], left, turn.model)

    @guarded
    def _end(self, error: BaseException | None) -> None:
        """The end of the messages: a turn without a result has failed by it."""
        run, self._run = self._run, None
        missed = error or (None if run is None or run.ended else NO_RESULT)
        for tool_use_id, scope in self._scopes.items():
            scope.close()
            if tool_use_id is not None and not scope.run.ended:
                scope.run.finish(error=missed)
        if run is not None and not run.ended:
            run.finish(error=missed)
        self._scopes, self._returned_agents = {}, []


def _tell_cost(scope: Scope, nanos: int, model: str | None = None) -> None:
    """What the run of an agent has cost in a turn: with its end, or after that. `model`: of what is of no call."""
    scope.run.spent = {"cost_usd": nanos / NANOS} | ({} if model is None else {"model": model})
    if scope.run.ended:
        scope.run.tell(scope.ended_as, scope.run.spent)


def claude_agent(agent: str = "claude", thread: str | None = None, *, recorder: Recorder | None = None) -> ClaudeAgent:
    """Reports the turns of a session: `async for message in claude.seen(query(…)):`.

    Each turn is a run of `agent`, in the thread of the session unless one is named.
    """
    return ClaudeAgent(agent, thread, recorder)
