"""Agents that a program calls itself: recording tells what they do, and changes nothing of it."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent, CancellationToken, models
from pydantic_ai.capabilities import HandleDeferredToolCalls, RequestInput
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, RunTimedOut
from pydantic_ai.exceptions import RunCancelled as LibraryRunCancelled
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied

from tests.sdk.support.ingest_server import Event, Ingest
from tests.support.wait import wait_until_async
from towerlog.integrations.pydantic_ai import record
from towerlog.sdk.integrations.pydantic_ai import adapt
from towerlog.sdk.record import delivery
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import AsyncRun

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


def ids_of(events: list[Event], kind: str) -> list[str]:
    return [event["data"]["tool_call_id"] for event in events if event["type"] == kind]


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
    for told in (first, second):
        assert ids_of(told, "tool.call") == ids_of(told, "tool.result"), "each call has its end"
    assert len(ids_of(second, "tool.call")) == 1
    assert [event["data"]["success"] for event in second if event["type"] == "tool.result"] == [
        good or made is outside_agent
    ]


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


@pytest.mark.parametrize("made", [deleting_agent, asking_agent])
def test_where_nobody_decides_a_person_is_asked(made, ingest: Ingest, recorder: Recorder) -> None:
    agent = record(made(), recorder=recorder)
    waited_s = 0.5

    async def program() -> Any:
        running = asyncio.ensure_future(agent.run("go"))
        (question,) = await wait_until_async(lambda: events_of(ingest, "run.waiting_for_input"), "the question")
        key = question["run_key"]
        # A person thinks for a while, which is not the tool's time.
        await asyncio.wait({running}, timeout=waited_s)
        ingest.command(key, "input", "yes", question["data"]["question_key"])
        return await running

    assert "deleted" in asyncio.run(within(program())).output
    (told,) = told_by(ingest, recorder)
    [result] = [event["data"] for event in told if event["type"] == "tool.result"]
    assert (result["success"], ids_of(told, "tool.call")) == (True, ids_of(told, "tool.result"))
    asked, answered = kinds(told).index("run.waiting_for_input"), kinds(told).index("command.acknowledged")
    assert told[answered]["time"] - told[asked]["time"] > result["duration_ms"]
    assert kinds(told).index("tool.call") > answered or made is asking_agent


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


class Busy:
    """An agent that calls its tool for ever, and says when it is in it."""

    def __init__(self, recorder: Recorder, ingest: Ingest, *, sync: bool = False, slow_model: bool = False) -> None:
        self.calls = 0
        self.inside = threading.Event()
        self.goes_on = threading.Event()
        self._ingest = ingest
        self._slow_model = slow_model
        agent: Agent[Any, Any] = Agent(FunctionModel(self._answer, stream_function=self._stream), name="busy")
        agent.tool_plain(self._sync_work if sync else self._work, name="work")
        self.agent = record(agent, recorder=recorder)

    async def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await self._think()
        return ModelResponse([ToolCallPart("work", {})])

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        await self._think()
        yield {0: DeltaToolCall("work", "{}", tool_call_id=f"c{len(messages)}")}

    async def _think(self) -> None:
        if self._slow_model:
            self.inside.set()
            await asyncio.Event().wait()

    async def _work(self) -> str:
        self.calls += 1
        self.inside.set()
        await asyncio.Event().wait()
        return "never"

    def _sync_work(self) -> str:
        self.calls += 1
        self.inside.set()
        assert self.goes_on.wait(DEADLINE_S)
        return "done"

    async def until_inside(self) -> str:
        """The run's key, once the agent is in its tool or its model."""
        await wait_until_async(self.inside.is_set, "the agent to be busy")
        return str((await wait_until_async(self._ingest.run_keys, "the run"))[0])


@pytest.mark.parametrize("how", ["run", "run_stream_events", "run_stream", "iter"])
@pytest.mark.parametrize("where", ["tool", "model", "thread"])
def test_a_cancel_stops_a_recorded_agent(where, how, ingest, recorder, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "POLL_EVERY_S", 0.1)
    busy = Busy(recorder, ingest, sync=where == "thread", slow_model=where == "model")

    async def program() -> None:
        if how == "run":
            await busy.agent.run("go")
        elif how == "iter":
            async with busy.agent.iter("go") as running:
                async for _ in running:
                    pass
        elif how == "run_stream":
            async with busy.agent.run_stream("go") as streamed:
                await streamed.get_output()
        else:
            async with busy.agent.run_stream_events("go") as events:
                async for _ in events:
                    pass

    async def main() -> LibraryRunCancelled:
        task = asyncio.ensure_future(program())
        key = await busy.until_inside()
        ingest.command(key, "cancel", "it costs too much")
        await wait_until_async(lambda: events_of(ingest, "command.acknowledged"), "the receipt")
        busy.goes_on.set()
        with pytest.raises(LibraryRunCancelled) as cancelled:
            await within(task)
        return cancelled.value

    cancelled = asyncio.run(main())
    assert cancelled.all_messages(), "the program can go on from there"
    (told,) = told_by(ingest, recorder)
    assert (told[-1]["type"], told[-1]["data"]) == ("run.cancelled", {"reason": "it costs too much"})
    assert kinds(told).count("command.acknowledged") == 1
    assert busy.calls <= 1 or how != "run"
    assert ingest.pending == []


@pytest.mark.parametrize("end", ["resume", "cancel"])
def test_a_recorded_agent_pauses_before_its_next_model_call(end, ingest, recorder, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "POLL_EVERY_S", 0.1)
    busy = Busy(recorder, ingest, sync=True)

    async def main() -> None:
        task = asyncio.ensure_future(busy.agent.run("go"))
        key = await busy.until_inside()
        ingest.command(key, "pause")
        await wait_until_async(lambda: ingest.requests[-1]["runs"], "a poll")
        heard = len(ingest.requests)
        await wait_until_async(lambda: len(ingest.requests) > heard + 1, "the pause to be delivered")
        assert not events_of(ingest, "command.acknowledged"), "nothing has paused yet"
        busy.goes_on.set()
        await wait_until_async(lambda: events_of(ingest, "run.paused"), "the pause")
        before = busy.calls
        if end == "resume":
            ingest.command(key, "resume")
            await wait_until_async(lambda: busy.calls > before, "the agent to go on")
        ingest.command(key, "cancel", "enough")
        with pytest.raises(LibraryRunCancelled):
            await within(task)
        assert end == "resume" or busy.calls == before

    asyncio.run(main())
    (told,) = told_by(ingest, recorder)
    assert (told[-1]["type"], told[-1]["data"]) == ("run.cancelled", {"reason": "enough"})
    assert ("run.resumed" in kinds(told)) is (end == "resume")


def test_an_agent_that_its_program_cancels_is_a_cancelled_run(ingest: Ingest, recorder: Recorder) -> None:
    busy = Busy(recorder, ingest)
    token = CancellationToken()

    async def main() -> None:
        task = asyncio.ensure_future(busy.agent.run("go", cancellation_token=token))
        await busy.until_inside()
        token.cancel()
        with pytest.raises(LibraryRunCancelled):
            await within(task)
        with pytest.raises(RunTimedOut):
            await within(busy.agent.run("go", timeout=0.05))

    asyncio.run(main())
    first, second = told_by(ingest, recorder)
    assert (first[-1]["type"], second[-1]["type"]) == ("run.cancelled", "run.failed")


def test_a_recorded_agent_takes_tools_and_settings_as_the_agent_does(ingest: Ingest, recorder: Recorder) -> None:
    agent = record(Agent(TestModel(), name="grown"), recorder=recorder)

    @agent.tool_plain
    def look(at: str) -> str:
        return f"{at} seen"

    @agent.tool
    def count(ctx: RunContext[Any]) -> int:
        return len(ctx.messages)

    @agent.instructions
    def brief() -> str:
        return "Be brief."

    agent.model = TestModel(custom_output_text="done")
    result = asyncio.run(within(copy.copy(agent).run("go")))
    assert result.output == "done"
    assert result.all_messages()[0].instructions == "Be brief."
    (told,) = told_by(ingest, recorder)
    assert sorted(event["data"]["tool"] for event in told if event["type"] == "tool.call") == ["count", "look"]
    assert agent.to_web.args == (agent,), "what is served over the web is recorded too"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = agent.no_such_thing  # type: ignore[attr-defined]


async def stream_left_early(agent: Agent[Any, Any]) -> None:
    async with agent.run_stream("go") as streamed:
        async for _ in streamed.stream_text(delta=True):
            break


async def events_left_early(agent: Agent[Any, Any]) -> None:
    async with agent.run_stream_events("go") as events:
        async for _ in events:
            break


async def nodes_left_early(agent: Agent[Any, Any]) -> None:
    async with agent.iter("go") as running:
        async for _ in running:
            break


@pytest.mark.parametrize("consume", [stream_left_early, events_left_early, nodes_left_early])
def test_an_agent_whose_consumer_stops_early_is_a_cancelled_run(consume, ingest: Ingest, recorder: Recorder) -> None:
    asyncio.run(within(consume(record(Agent(TestModel(), name="left"), recorder=recorder))))
    (told,) = told_by(ingest, recorder)
    assert told[-1]["type"] == "run.cancelled"
    assert told[-1]["data"]["reason"]


def test_a_stream_that_is_read_to_its_end_is_a_completed_run(ingest: Ingest, recorder: Recorder) -> None:
    agent = record(Agent(TestModel(custom_output_text="one two"), name="read"), recorder=recorder)

    async def read() -> str:
        async with agent.run_stream("go") as streamed:
            return "".join([piece async for piece in streamed.stream_text(delta=True)])

    assert asyncio.run(within(read())) == "one two"
    (told,) = told_by(ingest, recorder)
    assert (told[-1]["type"], told[-1]["data"]) == ("run.completed", {"result": "one two"})


def test_an_agent_that_is_recorded_twice_is_reported_once(ingest: Ingest, recorder: Recorder) -> None:
    agent = record(record(Agent(TestModel(), name="twice"), recorder=recorder), recorder=recorder)
    asyncio.run(within(agent.run("go")))
    (told,) = told_by(ingest, recorder)
    assert kinds(told).count("model.call") == 1
    assert told[-1]["type"] == "run.completed"


def test_a_recorded_agent_that_a_worker_serves_reports_to_the_workers_run(ingest: Ingest, recorder: Recorder) -> None:
    with recorder.record_run(run_key="claimed") as run:
        work = adapt(record(Agent(TestModel(custom_output_text="done"), name="served"), recorder=recorder))
        assert asyncio.run(within(work(AsyncRun(run.sink, "claimed", input="go")))) == "done"
    (told,) = told_by(ingest, recorder)
    assert kinds(told).count("model.call") == 1
