"""Agents that a program calls itself: recording tells what they do, and changes nothing of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent, models
from pydantic_ai.capabilities import HandleDeferredToolCalls, RequestInput
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied

from tests.sdk.support.ingest_server import Event, Ingest
from tests.support.wait import wait_until_async
from towerlog.integrations.pydantic_ai import record
from towerlog.sdk.record.recorder import Recorder

models.ALLOW_MODEL_REQUESTS = False
DEADLINE_S = 60.0
"""Ends a test whose agent waits for somebody who will never answer."""


def told_by(ingest: Ingest, recorder: Recorder) -> list[list[Event]]:
    """The events of each run, in the order of their beginnings."""
    assert recorder.flush(20)
    return [ingest.of(run_key) for run_key in ingest.run_keys()]


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def events_of(ingest: Ingest, kind: str) -> list[Event]:
    return [event for key in ingest.run_keys() for event in ingest.of(key) if event["type"] == kind]


async def within(work: Any) -> Any:
    return await asyncio.wait_for(work, DEADLINE_S)


def deleting_agent(output_type: Any = str, **options: Any) -> Agent[Any, Any]:
    """Calls a tool that needs approval, once."""
    agent: Agent[Any, Any] = Agent(TestModel(), name="careful", output_type=output_type, **options)

    @agent.tool_plain(requires_approval=True)
    def delete(path: str) -> str:
        return f"deleted {path}"

    return agent


def asking_agent(output_type: Any = str) -> Agent[Any, Any]:
    """Its tool finds out itself that it needs approval."""
    agent: Agent[Any, Any] = Agent(TestModel(), name="careful", output_type=output_type)

    @agent.tool
    def delete(ctx: RunContext[Any], path: str) -> str:
        if not ctx.tool_call_approved:
            raise ApprovalRequired
        return f"deleted {path}"

    return agent


def outside_agent(output_type: Any = str) -> Agent[Any, Any]:
    """Calls a tool whose result comes from elsewhere."""
    agent: Agent[Any, Any] = Agent(TestModel(), name="careful", output_type=output_type)

    @agent.tool_plain
    def delete(path: str) -> str:
        raise CallDeferred

    return agent


DEFERRING = [str, DeferredToolRequests]


def decided(requests: DeferredToolRequests, good: bool) -> DeferredToolResults:
    """What a program decides on all that waits."""
    return DeferredToolResults(
        approvals={call.tool_call_id: good or ToolDenied("too risky") for call in requests.approvals},
        calls={call.tool_call_id: "deleted elsewhere" for call in requests.calls},
    )


@pytest.mark.parametrize("good", [True, False], ids=["approved", "denied"])
@pytest.mark.parametrize("of_call", [False, True], ids=["the agent's", "the call's"])
@pytest.mark.parametrize("made", [deleting_agent, asking_agent, outside_agent])
def test_a_program_that_takes_the_requests_decides(made, of_call, good, ingest: Ingest, recorder: Recorder) -> None:
    agent = record(made(str if of_call else DEFERRING), recorder=recorder)
    call: dict[str, Any] = {"output_type": DEFERRING} if of_call else {}

    async def program() -> Any:
        first = await within(agent.run("go", **call))
        assert isinstance(first.output, DeferredToolRequests)
        results = decided(first.output, good)
        return await within(agent.run(message_history=first.all_messages(), deferred_tool_results=results, **call))

    outcome = asyncio.run(program())
    assert "too risky" in outcome.output if not good and made is not outside_agent else "deleted" in outcome.output
    first, second = told_by(ingest, recorder)
    assert "run.waiting_for_input" not in kinds(first) + kinds(second)
    assert first[-1]["type"] == second[-1]["type"] == "run.completed"
    assert len(first[-1]["data"]["result"]["approvals"] + first[-1]["data"]["result"]["calls"]) == 1
    assert second[-1]["data"]["result"] == outcome.output


@pytest.mark.parametrize("of_call", [False, True], ids=["the agent's", "the call's"])
@pytest.mark.parametrize("kind", [HandleDeferredToolCalls, RequestInput])
def test_a_handler_of_the_program_decides(kind, of_call, ingest: Ingest, recorder: Recorder) -> None:
    def decide(ctx: object, requests: DeferredToolRequests, *token: str) -> DeferredToolResults:
        return decided(requests, True)

    handlers = [kind(decide)]
    agent = record(deleting_agent(capabilities=[] if of_call else handlers), recorder=recorder)
    call: dict[str, Any] = {"capabilities": handlers} if of_call else {}
    assert "deleted" in asyncio.run(within(agent.run("go", **call))).output
    (told,) = told_by(ingest, recorder)
    assert "run.waiting_for_input" not in kinds(told)


def test_what_a_handler_leaves_open_is_as_without_the_recording(ingest: Ingest, recorder: Recorder) -> None:
    agent = deleting_agent(DEFERRING, capabilities=[HandleDeferredToolCalls(lambda ctx, requests: None)])
    for one in (agent, record(agent, recorder=recorder)):
        assert isinstance(asyncio.run(within(one.run("go"))).output, DeferredToolRequests)


def test_where_nobody_decides_a_person_is_asked(ingest: Ingest, recorder: Recorder) -> None:
    agent = record(deleting_agent(), recorder=recorder)

    async def program() -> Any:
        running = asyncio.ensure_future(agent.run("go"))
        (question,) = await wait_until_async(lambda: events_of(ingest, "run.waiting_for_input"), "the question")
        key = question["run_key"]
        ingest.command(key, "input", "yes", question["data"]["question_key"])
        return await running

    assert "deleted" in asyncio.run(within(program())).output


def test_an_inner_agent_with_a_handler_of_its_own_is_reported(ingest: Ingest, recorder: Recorder) -> None:
    inner = deleting_agent()
    outer: Agent[Any, Any] = Agent(TestModel(), name="outer")

    @outer.tool_plain
    async def ask_inner() -> str:
        handler = HandleDeferredToolCalls(lambda ctx, requests: decided(requests, True))
        return str((await inner.run("go", capabilities=[handler])).output)

    asyncio.run(within(record(outer, recorder=recorder).run("go")))
    (told,) = told_by(ingest, recorder)
    assert [event["agent"] for event in told if event["type"] == "tool.call"] == ["outer", "careful"]
