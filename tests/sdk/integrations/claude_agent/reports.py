"""A program that uses the Claude Agent SDK with a stand-in for Claude; a function reports in a thread of its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, query

import towerlog
from tests.sdk.integrations.claude_agent.claude import INIT, MODEL, RESULT, SUMS, USAGE, stand_in
from tests.support.wait import wait_until


def says(message_id: str, *blocks: Any, parent: str | None = None) -> dict[str, Any]:
    message = {"id": message_id, "role": "assistant", "model": MODEL, "content": list(blocks), "usage": USAGE}
    return {"type": "assistant", "message": message, "parent_tool_use_id": parent, "session_id": "s1"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def uses(call_id: str, name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def returns(call_id: str, content: Any, parent: str | None = None, failed: bool = False) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": failed}
    return {"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": parent}


def ends(result: str | None = "Done.", sums: Any = SUMS, **more: Any) -> dict[str, Any]:
    return {**RESULT, "result": result, "modelUsage": sums, **more}


def options(*turns: Any, **more: Any) -> ClaudeAgentOptions:
    script = json.dumps(list(turns))
    made = stand_in(Path(tempfile.mkdtemp(prefix="claude-", dir=os.environ["XDG_STATE_HOME"])))
    return ClaudeAgentOptions(cli_path=made, env={"CLAUDE_SCRIPT": script}, **more)


async def asked(words: str) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "user", "message": {"role": "user", "content": words}}


async def turn(thread: str, script: list[Any], **more: Any) -> list[Any]:
    claude = towerlog.claude_agent("coder", thread)
    given = options(script, **more)
    return [message async for message in claude.seen(query(prompt="Go.", options=given), prompt="Go.")]


async def tools() -> None:
    script = [
        INIT,
        says("m1", {"type": "thinking", "thinking": "Hm.", "signature": "x"}),
        says("m1", text("I look."), uses("toolu_1", "Read", file_path="a"), uses("toolu_2", "Read", file_path="b")),
        returns("toolu_1", "content of a"),
        returns("toolu_2", "no such file", failed=True),
        says("m2", text("Done.")),
        ends(),
    ]
    assert len(await turn("tools", script)) == len(script)


async def subagent() -> None:
    script = [
        INIT,
        says("m1", uses("toolu_1", "Task", subagent_type="reviewer", prompt="Review.")),
        says("m2", uses("toolu_2", "Read", file_path="a"), parent="toolu_1"),
        returns("toolu_2", "content", parent="toolu_1"),
        says("m3", text("Fine."), parent="toolu_1"),
        returns("toolu_1", "Fine."),
        says("m4", text("Reviewed.")),
        ends("Reviewed."),
    ]
    await turn("subagent", script)


async def streamed() -> None:
    def event(**said: Any) -> dict[str, Any]:
        return {"type": "stream_event", "uuid": "u", "session_id": "s1", "event": said, "parent_tool_use_id": None}

    pieces = [event(type="content_block_delta", delta={"type": "text_delta", "text": word}) for word in ("It ", "is.")]
    begun = event(type="message_start", message={"id": "m1", "model": MODEL})
    await turn("streamed", [INIT, begun, *pieces, says("m1", text("It is.")), ends("It is.")])


def answer_soon(thread: str, answer: str) -> None:
    def is_answered(client: towerlog.Client) -> bool:
        for one in client.list_approvals():
            if one.thread_id == thread and one.state == "open":
                client.answer_approval(one.approval_id, answer)
                return True
        return False

    def act() -> None:
        with towerlog.Client() as client:
            wait_until(lambda: is_answered(client), f"a question in {thread}")

    threading.Thread(target=act).start()


async def permission(thread: str, answer: str) -> None:
    claude = towerlog.claude_agent("coder", thread)
    script = [
        INIT,
        says("m1", uses("toolu_1", "Bash", command="make")),
        {
            "type": "ask",
            "tool": "Bash",
            "input": {"command": "make"},
            "allow": [returns("toolu_1", "made"), ends("Made.")],
            "deny": [returns("toolu_1", "denied", failed=True), ends("Not made.")],
        },
    ]
    answer_soon(thread, answer)
    given = options(script, can_use_tool=claude.can_use_tool)
    async for _ in claude.seen(query(prompt=asked("Go."), options=given), prompt="Go."):
        pass


async def two_turns() -> None:
    twice = {
        MODEL: {**SUMS[MODEL], "inputTokens": 400, "cacheReadInputTokens": 2000, "outputTokens": 180, "costUSD": 0.02}
    }
    first, second = [INIT, says("m1", text("One.")), ends("One.")], [says("m2", text("Two.")), ends("Two.", twice)]
    claude = towerlog.claude_agent("talker", "two_turns")
    async with ClaudeSDKClient(options(first, second)) as client:
        for words in ("Say one.", "Say two."):
            await client.query(words)
            async for _ in claude.seen(client.receive_response(), prompt=words):
                pass


async def permissions_at_once() -> None:
    """Two clients, whose streams one object reads; each was connected before its stream is read."""
    claude = towerlog.claude_agent("coder")

    async def talk(person: str, client: ClaudeSDKClient) -> None:
        await client.query(asked(person))
        async for _ in claude.seen(client.receive_response(), prompt=person):
            pass

    def script(person: str) -> list[Any]:
        init, used = {**INIT, "session_id": person}, uses(f"toolu_{person}", "Bash", command=person)
        made = [returns(f"toolu_{person}", "made"), ends("Made.", session_id=person)]
        asks = {"type": "ask", "tool": "Bash", "id": f"toolu_{person}", "input": {"command": person}}
        return [init, {**says(f"m-{person}", used), "session_id": person}, {**asks, "allow": made, "deny": []}]

    people = ("alice", "bob")
    for person in people:
        answer_soon(person, "yes")
    async with contextlib.AsyncExitStack() as stack:
        given = [options(script(person), can_use_tool=claude.can_use_tool) for person in people]
        clients = [await stack.enter_async_context(ClaudeSDKClient(one)) for one in given]
        await asyncio.gather(*(talk(*pair) for pair in zip(people, clients, strict=True)))


async def failed() -> None:
    script = [INIT, says("m1", uses("toolu_1", "Bash")), ends(None, is_error=True, subtype="error_max_turns")]
    with contextlib.suppress(Exception):
        await turn("failed", script)


async def left_early() -> None:
    claude = towerlog.claude_agent("coder", "left_early")
    messages = claude.seen(query(prompt="Go.", options=options([INIT, says("m1", text("It is.")), ends()])))
    async for message in messages:
        if type(message).__name__ == "AssistantMessage":
            break
    await messages.aclose()


async def main() -> None:
    for scenario in (tools, subagent, streamed, two_turns, permissions_at_once, failed, left_early):
        await scenario()
    await permission("allowed", "yes")
    await permission("denied", "not on a Sunday")


if __name__ == "__main__":
    asyncio.run(main())
    assert towerlog.flush(60), towerlog.status()
