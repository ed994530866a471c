"""A pydantic-ai agent as a worker's agent, with the library's own offline models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, models
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from tests.support.wait import wait_until_async
from towerlog.sdk.integrations.pydantic_ai import adapt, model_of
from towerlog.sdk.record.run import AsyncRun, BaseRun, activated, current_run
from towerlog.sdk.work.app import App

models.ALLOW_MODEL_REQUESTS = False


class Told:
    """Keeps what a run tells, encoded and read back as the wire would."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(json.loads(json.dumps(event)))

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


def test_a_lost_run_goes_on_from_its_checkpoint() -> None:
    _, told = carried_out(weather_agent())
    last = told.of("checkpoint")[-1]
    assert last["step_index"] == 2
    result, again = carried_out(weather_agent(), resume=last)
    assert result == "It is cold."
    # The tool is not called again, and the steps are counted on.
    assert again.of("tool.call") == []
    assert [data["step_index"] for data in again.of("checkpoint")] == [3]
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
        context.deps.deliver({"command_id": 1, "type": "input", "content": "blue"})
        return str(await context.deps.ask("Which colour?"))

    result, told = carried_out(agent)
    assert told.of("run.waiting_for_input") == [{"question": "Which colour?"}]
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
