"""`towerlog.claude_agent()`: turns of the Claude Agent SDK as runs, and its requests for permission as questions.

Its messages are looked at as the program reads them. Importing this module needs no SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

from towerlog.sdk.integrations import approvals
from towerlog.sdk.integrations.claude_agent.turns import Sums, Turn
from towerlog.sdk.integrations.guard import Guard
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.values.capture import captures_content

MAX_WAIT_S = 10.0
"""How long a request for permission waits for the message that has its tool call: the program may not have read it."""
LOOK_S = 0.05
"""How often is looked for it."""
NOBODY = "nobody could be asked"

_reading: ContextVar[Turn | None] = ContextVar("towerlog_claude_turn", default=None)
"""The turn whose next message is waited for here, and in the tasks that were begun for that."""


class ClaudeAgent:
    """The turns of an agent: of one session after the other, or of several at once."""

    def __init__(self, agent: str, thread: str | None, recorder: Recorder | None) -> None:
        """Begins nothing yet."""
        self.guard = Guard("the adapter of the Claude Agent SDK")
        self._agent = agent
        self._thread = thread
        self._sums = Sums(recorder)
        self._turns: set[Turn] = set()
        """Those that are being read."""

    async def seen(self, messages: AsyncIterable[Any], prompt: object = None) -> AsyncIterator[Any]:
        """The messages of a turn (what `query()` or `client.receive_response()` gives), which are reported as a run.

        `prompt`: what was asked, for the run's input. A cancel raises RunCancelled where the next message would come.
        Several streams may be read at once: each is a turn of its own.
        """
        turn, coming = self._turn(prompt), aiter(messages)
        self._turns.add(turn)
        try:
            while True:
                try:
                    with _read_for(turn):
                        message = await anext(coming)
                except StopAsyncIteration:
                    break
                turn.take(message)
                if turn.run is not None:
                    turn.run.check()
                yield message
        except BaseException as error:
            turn.end(error)
            raise
        finally:
            self._turns.discard(turn)
        turn.end(None)

    def _turn(self, prompt: object = None) -> Turn:
        return Turn(self.guard, self._sums, self._agent, self._thread, prompt if captures_content() else None)

    async def can_use_tool(self, tool: str, arguments: dict[str, Any], context: Any) -> Any:
        """Asks people whether a tool may be used: for `ClaudeAgentOptions(can_use_tool=…)`.

        It is a question of the turn that has called the tool; where nobody reads that, of a run of its own.
        """
        from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

        turn = await self._asking(getattr(context, "tool_use_id", None))
        of = turn or self._turn()
        run = of.begin()
        if run is None:
            return PermissionResultDeny(message=NOBODY)
        try:
            answer = await self._answer(run, tool, arguments)
        except RunCancelled as error:
            return PermissionResultDeny(message=str(error), interrupt=True)
        except Exception as error:
            self.guard.failed("a request for permission", error)
            return PermissionResultDeny(message=NOBODY)
        finally:
            if turn is None:
                run.finish()
        if approvals.approves(answer):
            return PermissionResultAllow(updated_input=arguments)
        return PermissionResultDeny(message=approvals.reason_of(answer))

    @staticmethod
    async def _answer(run: BaseRun, tool: str, arguments: dict[str, Any]) -> Any:
        return await OpenQuestion(run, approvals.question_of(tool, arguments)).wait_async()

    async def _asking(self, tool_use_id: str | None) -> Turn | None:
        """The turn that a request for permission belongs to; it is never guessed among several.

        That in which the SDK was started, or whose messages have the tool call; else, where the SDK tells no
        id, the only one.
        """
        if (reading := _reading.get()) in self._turns:
            return reading
        until = time.monotonic() + MAX_WAIT_S
        while True:
            turns = [*self._turns]
            found = next((turn for turn in turns if tool_use_id and turn.has_requested(tool_use_id)), None)
            if found is None and not tool_use_id and len(turns) == 1:
                [found] = turns
            if found is not None or time.monotonic() >= until or (turns and not tool_use_id):
                return found
            await asyncio.sleep(LOOK_S)


@contextlib.contextmanager
def _read_for(turn: Turn) -> Iterator[None]:
    """What is begun inside of it is begun for this turn."""
    token = _reading.set(turn)
    try:
        yield
    finally:
        _reading.reset(token)


def claude_agent(agent: str = "claude", thread: str | None = None, *, recorder: Recorder | None = None) -> ClaudeAgent:
    """Reports the turns of sessions: `async for message in claude.seen(query(…)):`.

    Each turn is a run of `agent`, in the thread of its session unless one is named.
    """
    return ClaudeAgent(agent, thread, recorder)
