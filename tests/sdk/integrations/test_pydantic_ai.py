"""A pydantic-ai agent as a worker's agent, with the library's own offline models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, models
from pydantic_ai.capabilities import HandleDeferredToolCalls, RequestInput
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.instrumented import InstrumentedModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.usage import RequestUsage

from tests.sdk.support.ingest_server import Ingest
from tests.sdk.support.sinks import tell_storage
from tests.support.wait import wait_until_async
from towerlog.integrations.pydantic_ai import record
from towerlog.sdk.integrations.pydantic_ai import adapt, model_of
from towerlog.sdk.integrations.pydantic_ai_reports import Reporter
from towerlog.sdk.record.current import activated, current_run
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun
from towerlog.sdk.work.app import App

models.ALLOW_MODEL_REQUESTS = False


class Told:
    """Keeps what a run tells, encoded and read back as the wire would."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers: list[str] = []
        """Answers to the questions of `run`, given as these are asked."""
        self.run: BaseRun | None = None

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(json.loads(json.dumps(event)))
        if self.run is not None:
            tell_storage(self.run, event)
        if event["type"] == "run.waiting_for_input" and self.run is not None and self.answers:
            number, key = len(self.events), event["data"]["question_key"]
            answer = {"command_id": number, "type": "input", "content": self.answers.pop(0), "question_key": key}
            self.run.deliver(answer)

    @property
    def questions(self) -> list[str]:
        return [data["question"] for data in self.of("run.waiting_for_input")]

    def expect(self, run: BaseRun, waiting: bool) -> None:
        """Nobody sends commands here but the test."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events if event["type"] == kind]

    @property
    def text(self) -> str:
        return "".join(data["content"] for data in self.of("message.delta"))


def carried_out(agent: Agent[Any, Any], **about: Any) -> tuple[Any, Told]:
    """What an agent's run came to, and all that it told."""
    told = Told()
    run = AsyncRun(told, run_id="r", agent="a", **{"input": "hello", **about})
    with activated(run):
        return asyncio.run(adapt(agent)(run)), told


def weather_agent(**options: Any) -> Agent[Any, Any]:
    """Calls its tool once, then speaks in three pieces."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) == 1:
            yield {0: DeltaToolCall("weather", '{"ci', tool_call_id="c1")}
            yield {0: DeltaToolCall(json_args='ty": "Oslo"}', tool_call_id="c1")}
        else:
            for piece in ("It ", "is ", "cold."):
                yield piece

    agent: Agent[Any, Any] = Agent(FunctionModel(stream_function=stream), **options)

    @agent.tool_plain
    def weather(city: str) -> dict[str, object]:
        return {"city": city, "degrees": -3}

    return agent


def test_text_tools_and_usage_are_told_in_order() -> None:
    result, told = carried_out(weather_agent())
    assert result == "It is cold."
    kinds = [event["type"] for event in told.events]
    assert kinds == [
        "checkpoint", "model.call", "tool.call", "tool.result",
        "checkpoint", "message.delta", "message.delta", "message.delta", "model.call",
        "checkpoint",
    ]  # fmt: skip
    assert [data["content"] for data in told.of("message.delta")] == ["It ", "is ", "cold."]
    [call], [returned] = told.of("tool.call"), told.of("tool.result")
    assert call == {"tool": "weather", "tool_call_id": "c1", "arguments": {"city": "Oslo"}}
    assert returned["tool_call_id"] == "c1"
    assert returned["result"] == {"city": "Oslo", "degrees": -3}
    assert returned["success"] is True
    for data in told.of("model.call"):
        assert data["input_tokens"] > 0
        assert data["output_tokens"] > 0
        assert data["duration_ms"] >= 0
    assert all(event["agent"] == "a" for event in told.events)


class WholeModel(TestModel):
    """Answers whole: its class has no stream of its own."""

    request_stream = models.Model.request_stream


def answers_whole(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    asked.append(len(messages))
    if len(messages) == 1:
        return ModelResponse([TextPart("Let me see. "), ToolCallPart("weather", {"city": "Oslo"}, tool_call_id="c1")])
    return ModelResponse([TextPart("It is cold.")])


asked: list[int] = []


@pytest.mark.parametrize(
    "model",
    [
        FunctionModel(answers_whole),
        InstrumentedModel(FunctionModel(answers_whole)),
        FallbackModel(FunctionModel(answers_whole), TestModel()),
        WholeModel(custom_output_text="It is cold."),
    ],
    ids=["function", "wrapped", "fallback", "own-class"],
)
def test_a_model_that_cannot_stream_is_asked_for_the_whole(model: models.Model) -> None:
    agent = weather_agent()
    agent.model = model
    asked.clear()
    result, told = carried_out(agent)
    assert result == "It is cold."
    kinds = [event["type"] for event in told.events if event["type"] != "message.delta"]
    assert kinds == [
        "checkpoint", "model.call", "tool.call", "tool.result", "checkpoint", "model.call", "checkpoint",
    ]  # fmt: skip
    assert told.text.endswith("It is cold.")
    assert len(asked) == len(set(asked)), "each request is made once"


def test_a_lost_run_goes_on_from_its_checkpoint() -> None:
    _, told = carried_out(weather_agent())
    last = told.of("checkpoint")[-2]
    assert last["step_index"] == 2
    result, again = carried_out(weather_agent(), resume=last)
    assert result == "It is cold."
    # The tool is not called again, and the steps are counted on.
    assert again.of("tool.call") == []
    assert [data["step_index"] for data in again.of("checkpoint")] == [3], "what it goes on from is not told again"
    assert ModelMessagesTypeAdapter.validate_python(again.of("checkpoint")[0]["history"])


@pytest.mark.parametrize("retries", [0, 1])
def test_a_tool_that_fails_is_told_as_a_failure(retries) -> None:
    agent: Agent[Any, Any] = Agent(TestModel(), retries=retries)

    @agent.tool_plain
    def broken() -> str:
        raise ModelRetry("try something else")

    told = Told()
    run = AsyncRun(told, run_id="r", agent="a", input="hello")
    with pytest.raises(UnexpectedModelBehavior):
        asyncio.run(adapt(agent)(run))
    # Each call has its end, the last one too, whose error is the whole run's.
    assert [data["success"] for data in told.of("tool.result")] == [False] * (retries + 1)
    assert len(told.of("tool.call")) == retries + 1
    assert all(data["error"] for data in told.of("tool.result"))


def test_a_typed_result_becomes_plain_json() -> None:
    class City(BaseModel):
        name: str
        degrees: int

    result, _ = carried_out(Agent(TestModel(custom_output_args={"name": "Oslo", "degrees": -3}), output_type=City))
    assert result == {"name": "Oslo", "degrees": -3}


def test_a_persona_changes_the_agent_for_this_run() -> None:
    seen: list[AgentInfo] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append(info)
        yield "ok"

    agent: Agent[Any, Any] = Agent(FunctionModel(stream_function=stream))
    agent.tool_plain(lambda: "a", name="allowed")
    agent.tool_plain(lambda: "b", name="forbidden")
    persona = {"instructions": "Be brief.", "model_settings": {"temperature": 0.25}, "tools": ["allowed"]}
    carried_out(agent, persona=persona)
    carried_out(agent)
    assert [[tool.name for tool in info.function_tools] for info in seen] == [["allowed"], ["allowed", "forbidden"]]
    assert "Be brief." in str(seen[0].instructions)
    assert seen[0].model_settings == {"temperature": 0.25}
    assert not seen[1].instructions


def test_a_budget_stops_the_agent() -> None:
    with pytest.raises(UsageLimitExceeded):
        carried_out(weather_agent(), persona={"budget": {"tokens": 1}})


def test_tools_reach_the_run() -> None:
    agent: Agent[Any, Any] = Agent(TestModel(), deps_type=AsyncRun)

    @agent.tool
    async def ask(context: RunContext[AsyncRun]) -> str:
        assert context.deps is current_run()
        return str(await context.deps.ask("Which colour?"))

    result, told = answering(agent, "blue")
    assert told.questions == ["Which colour?"]
    assert "blue" in result


def test_a_cancel_ends_the_model_call() -> None:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "one "
        await asyncio.Event().wait()

    told = Told()

    async def main() -> None:
        run = AsyncRun(told, run_id="r", input="x")
        task = asyncio.ensure_future(adapt(Agent(FunctionModel(stream_function=stream)))(run))
        await wait_until_async(lambda: told.text, "the first word")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert told.text == "one "


def careful_agent(calls: list[str], **options: Any) -> Agent[Any, Any]:
    """Deletes two things, each of which needs approval, and then says what became of them."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) == 1:
            yield {
                0: DeltaToolCall("delete", '{"path": "a"}', tool_call_id="c1"),
                1: DeltaToolCall("delete", '{"path": "b"}', tool_call_id="c2"),
            }
        else:
            yield " ".join(str(part.content) for part in messages[-1].parts)

    agent: Agent[Any, Any] = Agent(FunctionModel(stream_function=stream), **options)

    @agent.tool_plain(requires_approval=True)
    def delete(path: str) -> str:
        calls.append(path)
        return f"deleted {path}"

    return agent


def answering(agent: Agent[Any, Any], *answers: str) -> tuple[Any, Told]:
    """The agent's run, whose questions get these answers as they come."""
    told = Told()
    told.run = run = AsyncRun(told, run_id="r", agent="a", input="clean up")
    told.answers += answers
    with activated(run):
        return asyncio.run(adapt(agent)(run)), told


@pytest.mark.parametrize("yes", ["yes", "Yes.", " OK! "])
def test_a_tool_that_needs_approval_is_a_question_and_goes_on_with_its_answer(yes: str) -> None:
    calls: list[str] = []
    result, told = answering(careful_agent(calls), yes, "not that one")
    how = "Answer yes, or say why not."
    assert told.questions == [f'Approve delete(path="a")? {how}', f'Approve delete(path="b")? {how}']
    assert calls == ["a"]
    assert "deleted a" in result
    assert "not that one" in result
    assert sorted(data["tool_call_id"] for data in told.of("tool.call")) == ["c1", "c2"]
    assert {data["tool_call_id"]: data["success"] for data in told.of("tool.result")} == {"c1": True, "c2": False}


def test_two_approvals_are_asked_at_once_and_a_denied_call_was_not_carried_out() -> None:
    told = Told()
    told.run = run = AsyncRun(told, run_id="r", agent="a", input="clean up")

    async def main() -> None:
        task = asyncio.ensure_future(adapt(careful_agent([]))(run))
        await wait_until_async(lambda: len(told.questions) == 2, "both questions")
        assert told.of("tool.call") == [], "nothing is carried out yet"
        keys = [data["question_key"] for data in told.of("run.waiting_for_input")]
        for number, (key, content) in enumerate(zip(reversed(keys), ("no", "yes"), strict=True), 1):
            run.deliver({"command_id": number, "type": "input", "content": content, "question_key": key})
        await task

    asyncio.run(main())
    kinds = [event["type"] for event in told.events if event["type"].startswith("tool.")]
    assert kinds == ["tool.call", "tool.result", "tool.call", "tool.result"]
    carried, denied = told.of("tool.result")
    assert (carried["tool_call_id"], carried["success"], "duration_ms" in carried) == ("c1", True, True)
    assert denied == {"tool": "delete", "tool_call_id": "c2", "success": False, "error": "no"}


def test_a_call_of_a_tool_that_does_not_exist_is_told() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse([ToolCallPart("fly", {"to": "Oslo"}, "c1")])
        return ModelResponse([TextPart("I cannot fly.")])

    _, told = carried_out(Agent(FunctionModel(answer)))
    [call], [result] = told.of("tool.call"), told.of("tool.result")
    assert (call["tool"], call["arguments"], result["success"]) == ("fly", {"to": "Oslo"}, False)


@pytest.mark.parametrize("kind", [HandleDeferredToolCalls, RequestInput])
def test_what_a_handler_of_the_agent_decides_is_no_question(kind) -> None:
    calls: list[str] = []

    def approve(ctx: object, requests: DeferredToolRequests, *token: str) -> DeferredToolResults:
        return requests.build_results(approve_all=True)

    result, told = answering(careful_agent(calls, capabilities=[kind(approve)]))
    assert (sorted(calls), told.questions) == (["a", "b"], [])
    assert "deleted b" in result


def test_a_worker_asks_also_for_an_agent_that_may_return_its_requests() -> None:
    """Nobody would take them there."""
    calls: list[str] = []
    result, told = answering(careful_agent(calls, output_type=[str, DeferredToolRequests]), "yes", "yes")
    assert (len(told.questions), sorted(calls)) == (2, ["a", "b"])
    assert "deleted a" in result


def test_cost_cache_and_reasoning_are_told() -> None:
    usage = RequestUsage(
        input_tokens=100,
        cache_read_tokens=60,
        cache_write_tokens=10,
        output_tokens=50,
        details={"reasoning_tokens": 20},
        cost=Decimal("0.0123"),
    )
    told = Told()
    run = AsyncRun(told, run_id="r")
    Reporter(run).model_call(ModelResponse([TextPart("x")], usage=usage, model_name="m"), 0.0)
    (data,) = told.of("model.call")
    assert {name: data[name] for name in data if name != "duration_ms"} == {
        "model": "m",
        "input_tokens": 30,
        "cached_input_tokens": 60,
        "cache_write_tokens": 10,
        "output_tokens": 30,
        "reasoning_tokens": 20,
        "cost_usd": 0.0123,
    }


def test_a_thread_is_a_conversation() -> None:
    _, first = carried_out(weather_agent())
    last = first.of("checkpoint")[-1]["history"]
    assert ModelMessagesTypeAdapter.validate_python(last)[-1].kind == "response"
    seen: list[int] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append(len(messages))
        yield "as before"

    _, second = carried_out(Agent(FunctionModel(stream_function=stream)), history=last, input="and now?")
    assert seen == [len(last) + 1]
    assert second.of("checkpoint")[-1]["history"][: len(last)] == last


def test_a_history_of_another_framework_is_no_conversation_of_this_one() -> None:
    result, _ = carried_out(weather_agent(), history=[{"role": "user", "content": "hi"}])
    assert result == "It is cold."


def test_no_input_is_not_the_text_null() -> None:
    seen: list[Any] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.extend(part.content for part in messages[-1].parts)
        yield "ok"

    carried_out(Agent(FunctionModel(stream_function=stream), instructions="Begin."), input=None)
    carried_out(Agent(FunctionModel(stream_function=stream)), input={"n": 1})
    assert seen == ['{"n": 1}']


def nested_agent() -> Agent[Any, Any]:
    """An agent whose tool asks another agent, which has a tool of its own and cannot be streamed."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse([ToolCallPart("look", {"at": "sky"}, "inner-1")])
        return ModelResponse([TextPart("blue")])

    inner: Agent[Any, Any] = Agent(FunctionModel(answer), name="inner")
    inner.tool_plain(lambda at: f"{at} seen", name="look")
    outer: Agent[Any, Any] = Agent(TestModel(), name="outer")

    @outer.tool_plain
    async def ask_inner() -> str:
        return str((await inner.run("what colour?")).output)

    return outer


def test_what_an_inner_agent_does_is_told_under_its_name() -> None:
    _, told = carried_out(nested_agent())
    calls = [(event["agent"], event["type"]) for event in told.events if event["type"] in ("model.call", "tool.call")]
    assert calls == [
        ("a", "model.call"),
        ("a", "tool.call"),
        ("inner", "model.call"),
        ("inner", "tool.call"),
        ("inner", "model.call"),
        ("a", "model.call"),
    ]
    assert [data["result"] for data in told.of("tool.result")] == ["sky seen", "blue"]
    assert all(event["agent"] == "a" for event in told.events if event["type"] in ("checkpoint", "message.delta"))


def test_an_agent_that_nobody_reports_reports_nothing() -> None:
    assert asyncio.run(nested_agent().run("x")).output


def test_a_recorded_agent_is_a_run_wherever_it_is_called(ingest: Ingest, recorder: Recorder) -> None:
    agent = record(nested_agent(), recorder=recorder)
    result = asyncio.run(agent.run("go"))
    assert recorder.flush(20)
    (run_key,) = ingest.run_keys()
    told = ingest.of(run_key)
    assert told[0]["data"] == {"input": "go"}
    assert (told[-1]["type"], told[-1]["data"]) == ("run.completed", {"result": result.output})
    kinds = [(event["agent"], event["type"]) for event in told]
    assert kinds[0] == ("outer", "run.started")
    assert kinds.count(("outer", "model.call")) == 2
    assert kinds.count(("inner", "model.call")) == 2
    assert kinds.count(("outer", "checkpoint")) == 3
    messages = ModelMessagesTypeAdapter.validate_python(told[-2]["data"]["history"])
    assert len(messages) == len(result.all_messages())


def test_a_recorded_agent_that_fails_is_a_failed_run(ingest: Ingest, recorder: Recorder) -> None:
    def broken(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError):
        asyncio.run(record(Agent(FunctionModel(broken)), recorder=recorder, name="weak").run("go"))
    assert recorder.flush(20)
    last = ingest.of(ingest.run_keys()[0])[-1]
    assert (last["type"], last["agent"]) == ("run.failed", "weak")


def test_a_route_names_its_model_and_where_its_key_is(monkeypatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    route = {"route_id": "fast", "provider": "test", "model": "test", "key_env": "SOME_KEY"}
    with pytest.raises(ValueError, match="SOME_KEY"):
        model_of(route)


def test_an_app_takes_such_an_agent_as_it_is() -> None:
    app = App()
    app.add("weather", weather_agent())
    found = app.find("weather")
    assert found is not None
    assert found.is_async
