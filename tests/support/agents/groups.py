"""A workflow of two steps, one that is terminated, and a team, with the SDK of the stock agents.

Run in their environment; ends with an error if one of them does not go as it should.
"""

from __future__ import annotations

import asyncio

from ninetrix import Agent, Team, Workflow

writer = Agent(name="writer", provider="openai", model="gpt-4o-mini", description="writes")
editor = Agent(name="editor", provider="openai", model="gpt-4o-mini", description="edits")


@Workflow(name="nightly")
async def nightly(text: str) -> str:
    draft = await writer.arun(text)
    final = await editor.arun(draft.output)
    return final.output


@Workflow(name="given-up")
async def given_up(text: str) -> str:
    await writer.arun(text)
    return Workflow.terminate("nothing to do")


async def main() -> None:
    whole = await nightly.arun("write", thread_id="flow")
    ended = await given_up.arun("write", thread_id="dead-end")
    router = {"router_model": "gpt-4o-mini", "router_provider": "openai", "router_api_key": "none"}
    team = Team(agents=[editor, writer], name="desk", **router)
    routed = await team.arun("who?", thread_id="desk-1")
    assert (whole.output, ended.output, routed.routed_to) == ("you said 2", None, "writer")


asyncio.run(main())
