"""The agent of the recording in the README: it checks a change, asks a person, and reports what it did."""

from __future__ import annotations

import asyncio

import towerlog

app = towerlog.App()
NOTES = "Two fixes and one new command: nothing that breaks a caller. "


@app.agent("releaser")
async def releaser(run: towerlog.AsyncRun) -> str:
    """Prepares a release and asks before it publishes."""
    with run.step("check"):
        with run.tool_call("run_tests", arguments={"suite": "all"}) as call:
            await asyncio.sleep(1.2)
            call.result = "412 passed"
        with run.tool_call("read_changelog", arguments={"since": "v1.4"}) as call:
            await asyncio.sleep(0.7)
            call.result = "3 entries"
    for word in NOTES.split(" "):
        run.message_delta(word + " ")
        await asyncio.sleep(0.12)
    run.model_call("claude-sonnet-4-5", input_tokens=2310, output_tokens=64, cost_usd=0.00789)
    answer = await run.ask("Publish version 1.5?")
    if not str(answer).startswith("y"):
        return "not published"
    with run.tool_call("publish", arguments={"version": "1.5"}) as call:
        await asyncio.sleep(0.9)
        call.result = "ok"
    return "version 1.5 is out"
