"""A program that serves graphs and chains of LangChain by a worker, and takes one up again where it was lost."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import operator
import os
from typing import Annotated, Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

import towerlog
from tests.sdk.support.sinks import tell_storage
from tests.support.wait import wait_until
from towerlog.sdk.integrations.langchain.workers import adapt
from towerlog.sdk.record.run_handles import AsyncRun
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.work.worker import Worker


class Plan(TypedDict, total=False):
    city: str
    note: str


class Made(TypedDict, total=False):
    note: str
    made: Any
    number: int


class Parts(TypedDict, total=False):
    said: Annotated[list[str], operator.add]


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]


class Records(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class Kept:
    """Keeps what a run tells, as the wire has it, and answers what it asks."""

    url = "http://towerlog"

    def __init__(self, answers: int = 100) -> None:
        self.events: list[dict[str, Any]] = []
        self.run: AsyncRun | None = None
        self._left = answers

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(json.loads(json.dumps(event)))
        if event["type"] == "run.waiting_for_input" and self.run is not None:
            tell_storage(self.run, event)
            self._left -= 1
            if self._left < 0:
                return
            key = event["data"]["question_key"]
            self.run.deliver({"command_id": len(self.events), "type": "input", "content": "yes", "question_key": key})

    def expect(self, run: AsyncRun, waiting: bool) -> None:
        pass

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events if event["type"] == kind]


def lost_and_found() -> None:
    """A run whose worker dies in a node, or while a person is asked, goes on there and repeats nothing before it."""
    visited: list[str] = []
    fails = ["once"]

    def second(state: Plan) -> Plan:
        visited.append("second")
        if fails:
            raise OSError(fails.pop())
        return {"note": state["note"] + " second"}

    def third(state: Plan) -> Plan:
        visited.append("third")
        return {"note": f"{state['note']} {interrupt('Publish?')}"}

    graph = StateGraph(Plan)
    graph.add_node("first", lambda state: visited.append("first") or {"note": "first"})
    graph.add_node("second", second)
    graph.add_node("third", third)
    for one, other in ((START, "first"), ("first", "second"), ("second", "third")):
        graph.add_edge(one, other)
    carry_out = adapt(graph.compile(name="writer"))
    results: list[Any] = []

    async def attempt(resume: Any, answers: bool) -> Kept:
        kept = Kept()
        run = AsyncRun(kept, agent="writer", run_id="r1", thread="t1", input={"city": "Oslo"}, resume=resume)
        kept.run = run if answers else None
        try:
            results.append(await asyncio.wait_for(carry_out(run), 30 if answers else 2))
        except (OSError, TimeoutError):
            results.append(None)
        return kept

    async def attempts() -> None:
        lost = await attempt(None, answers=False)
        asking = await attempt(lost.of("checkpoint")[-1], answers=False)
        await attempt(asking.of("checkpoint")[-1], answers=True)
        assert [data["question"] for data in asking.of("run.waiting_for_input")] == ["Publish?"]

    asyncio.run(attempts())
    assert visited == ["first", "second", "second", "third", "third"], visited
    assert results[:2] == [None, None], results
    assert results[2]["note"] == "first second yes", results


def half_answered() -> None:
    """What a worker had got when it was stopped, and its graph had not gone on with, the next attempt gets as well."""
    graph = StateGraph(Parts)
    for name in ("north", "south"):
        graph.add_node(name, lambda state, name=name: {"said": [f"{name} {interrupt(f'Go {name}?')}"]})
        graph.add_edge(START, name)
    carry_out = adapt(graph.compile(name="walker"))

    async def attempt(resume: Any, answers: int) -> tuple[Kept, Any]:
        kept = Kept(answers)
        kept.run = AsyncRun(kept, agent="walker", run_id="r1", thread="t1", input={"said": []}, resume=resume)
        work = asyncio.ensure_future(carry_out(kept.run))
        done, _ = await asyncio.wait({work}, timeout=30 if answers > 1 else 2)
        if done:
            return kept, work.result()
        kept.run.hand_back()
        work.cancel()
        return kept, await asyncio.gather(work, return_exceptions=True)

    async def attempts() -> None:
        lost, _ = await attempt(None, 1)
        assert lost.of("command.acknowledged") == []
        kept, result = await attempt(lost.of("checkpoint")[-1], 2)
        assert sorted(result["said"]) == ["north yes", "south yes"], result
        asked = [[data["question_key"] for data in one.of("run.waiting_for_input")] for one in (lost, kept)]
        assert asked[0] == asked[1], asked
        told = [event["type"] for event in kept.events if event["type"] in ("checkpoint", "command.acknowledged")]
        assert told == ["checkpoint", "command.acknowledged", "command.acknowledged"], told

    asyncio.run(attempts())


def kept_in_the_process() -> None:
    """A state of which the library can make no bytes goes on where it is, also over a question; it is not saved."""
    graph = StateGraph(Made)
    graph.add_node("first", lambda state: {"note": "first"})
    graph.add_node("make", lambda state: {"made": lambda: "made", "number": 2**70})
    graph.add_node("ask", lambda state: {"note": f"{state['note']} {state['made']()} {interrupt('Publish?')}"})
    graph.add_node("drop", lambda state: {"made": None, "number": 1})
    for one, other in ((START, "first"), ("first", "make"), ("make", "ask"), ("ask", "drop")):
        graph.add_edge(one, other)
    kept, told = Kept(), Records()
    logging.getLogger("towerlog.sdk").addHandler(told)
    kept.run = AsyncRun(kept, agent="maker", run_id="r1", thread="t1", input={"note": ""})
    result = asyncio.run(adapt(graph.compile(name="maker"))(kept.run))
    assert (result["note"], result["number"]) == ("first made yes", 1), result
    saved = [data["state"]["langgraph"][""] for data in kept.of("checkpoint")]
    steps = [JsonPlusSerializer().loads_typed(unpacked(one["metadata"]))["step"] for one in saved]
    assert steps == [-1, 0, 1, 4], steps
    [said] = told.messages
    assert said.startswith("the checkpointer of LangGraph: a state that cannot be made into bytes"), said


def unpacked(value: list[str]) -> tuple[str, bytes]:
    return value[0], base64.b64decode(value[1])


async def served() -> None:
    """Runs of a server, carried out by a worker."""
    answers = GenericFakeChatModel(messages=iter([AIMessage("Cold."), AIMessage("Still cold.")]))
    talking = StateGraph(State)
    talking.add_node("model", lambda state: {"messages": [answers.invoke(state["messages"])]})
    talking.add_edge(START, "model")
    asking = StateGraph(Plan)
    asking.add_node("ask", lambda state: {"note": f"{state['city']}: {interrupt('Publish?')}"})
    asking.add_edge(START, "ask")
    app = towerlog.App()
    app.add("talker", talking.compile())
    app.add("publisher", asking.compile())
    app.add("shouter", RunnableLambda(str.upper))
    worker = Worker(app, AsyncHttp(os.environ["TOWERLOG_URL"], os.environ["TOWERLOG_API_KEY"]))
    working = asyncio.create_task(worker.run())
    try:
        await asyncio.to_thread(create_and_answer)
    finally:
        worker.stop()
        await working


def create_and_answer() -> None:
    def ended(client: towerlog.Client, run_id: str) -> bool:
        for one in client.list_approvals():
            if one.run_id == run_id and one.state == "open":
                client.answer_approval(one.approval_id, "yes")
        return client.get_run(run_id).status in ("completed", "failed", "cancelled", "lost")

    with towerlog.Client() as client:
        for agent, given in (
            ("talker", "Oslo?"),
            ("talker", "And now?"),
            ("publisher", {"city": "Oslo"}),
            ("shouter", "oslo"),
        ):
            made = client.create_run(agent, agent=agent, input=given)
            wait_until(lambda made=made: ended(client, made.run_id), agent)


if __name__ == "__main__":
    lost_and_found()
    half_answered()
    kept_in_the_process()
    asyncio.run(served())
