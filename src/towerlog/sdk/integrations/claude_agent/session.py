"""`towerlog.claude_agent()`: turns of the Claude Agent SDK as runs, and its requests for permission as questions.

Its messages are looked at as the program reads them. Importing this module needs no SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

from towerlog.sdk.integrations import approvals
from towerlog.sdk.integrations.claude_agent.scopes import Scope
from towerlog.sdk.integrations.claude_agent.usage import SessionUsage
from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.default import default_recorder
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.values.capture import captures_content

SUBAGENT_TYPE = "subagent_type"
"""The argument of a tool that starts a sub-agent which says of which kind that is."""


class ClaudeAgent:
    """The turns of one session. One turn at a time."""

    def __init__(self, agent: str, thread: str | None, recorder: Recorder | None) -> None:
        """Begins nothing yet."""
        self.guard = Guard("the adapter of the Claude Agent SDK")
        self._agent = agent
        self._thread = thread
        self._recorder = recorder
        self._usage = SessionUsage()
        self._run: BaseRun | None = None
        self._input: Any = None
        self._scopes: dict[str | None, Scope] = {}
        """Id of the tool call that has started a sub-agent → what that does; None: the agent itself."""

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
            self._scopes = {None: Scope(self._run, self._usage)}
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
        made = self._scopes[tool_use_id] = Scope(run, self._usage)
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
                shown = block.content if inner.run.captures_content else None
                inner.run.finish(shown, "the sub-agent has failed" if block.is_error else None)
            scope.returned(block)

    def _result(self, message: Any) -> None:
        """The end of a turn: what is missing to the sums, and what has come of it."""
        run = self._begin(None)
        if run is None:
            return
        for scope in self._scopes.values():
            scope.close()
        for model, rest in self._usage.missing(getattr(message, "model_usage", None)).items():
            run.model_call(model, provider="anthropic", parent="", settles="the rest of this model's turn", **rest)
        if message.is_error:
            run.fail("; ".join(getattr(message, "errors", None) or ()) or message.result or message.subtype)
        else:
            structured = getattr(message, "structured_output", None)
            found = message.result if structured is None else structured
            run.complete(found if run.captures_content else None)

    @guarded
    def _end(self, error: BaseException | None) -> None:
        """The end of the messages: of a turn without a result it is the end of the run."""
        run, self._run = self._run, None
        for tool_use_id, scope in self._scopes.items():
            scope.close()
            if tool_use_id is not None and not scope.run.ended:
                scope.run.end_with(error) if error is not None else scope.run.complete()
        if run is not None and not run.ended:
            run.end_with(error) if error is not None else run.complete()
        self._scopes = {}


def claude_agent(agent: str = "claude", thread: str | None = None, *, recorder: Recorder | None = None) -> ClaudeAgent:
    """Reports the turns of a session: `async for message in claude.seen(query(…)):`.

    Each turn is a run of `agent`, in the thread of the session unless one is named.
    """
    return ClaudeAgent(agent, thread, recorder)
