"""What the Claude Agent SDK does, with a stand-in for the program that it starts, as runs of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.integrations.frameworks import NEWEST, PINNED, Told, told_by
from towerlog.sdk.api.shapes import RunInfo
from towerlog.sdk.integrations.claude_agent.usage import SessionUsage, TurnUsage, of_message

HERE = Path(__file__).parent


# The SDK brings a program of hundreds of megabytes.
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in (PINNED, NEWEST)])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("claude")
    with told_by(folder, "claude-agent", HERE / "reports.py", request.param) as found:
        yield found


def datas(told: Told, run: RunInfo, *types: str) -> list[dict[str, Any]]:
    return [event.data for event in told.events(run, *types)]


def test_a_turn_is_a_run_whose_tokens_and_money_are_those_of_its_result(told: Told) -> None:
    run = told.run("tools")
    assert (run.agent, run.status, run.model) == ("coder", "completed", "claude-offline-1")
    assert (run.usage.input_tokens, run.usage.cached_input_tokens, run.usage.output_tokens) == (200, 1000, 90)
    assert run.total_cost_usd == 0.0125
    [started], [ended] = datas(told, run, "run.started"), datas(told, run, "run.completed")
    assert (started["input"], ended["result"]) == ("Go.", "Done.")


def test_tools_have_the_models_own_ids(told: Told) -> None:
    run = told.run("tools")
    assert [data["tool_call_id"] for data in datas(told, run, "tool.call")] == ["toolu_1", "toolu_2"]
    results = [(data["success"], data.get("result"), data.get("error")) for data in datas(told, run, "tool.result")]
    assert results == [(True, "content of a", None), (False, None, "no such file")]


def test_blocks_of_one_message_are_one_call(told: Told) -> None:
    first, second, rest = datas(told, told.run("tools"), "model.call")
    assert [block["type"] for block in first["response"]["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block["text"] for block in second["response"]["content"]] == ["Done."]
    assert "response" not in rest
    said = told.events(told.run("tools"), "message.delta")
    assert [event.text for event in said if event.text] == ["I look.", "Done."]
    assert [event.members["thinking"] for event in said if not event.text] == ["Hm."]


def test_a_sub_agent_is_a_child(told: Told) -> None:
    outer, inner = told.runs("subagent")
    assert (inner.agent, inner.status, inner.parent_run_id) == ("reviewer", "completed", outer.run_id)
    assert [data["tool"] for data in datas(told, outer, "tool.call")] == ["Task"]
    assert [data["tool"] for data in datas(told, inner, "tool.call")] == ["Read"]
    assert [data["input"] for data in datas(told, inner, "run.started")] == ["Review."]
    assert outer.tree is not None
    assert outer.tree.total_output_tokens == 90


def test_streamed_text_is_told_once(told: Told) -> None:
    assert [data["content"] for data in datas(told, told.run("streamed"), "message.delta")] == ["It ", "is."]


@pytest.mark.parametrize(("thread", "result"), [("allowed", "Made."), ("denied", "Not made.")])
def test_a_request_for_permission_is_a_question(told: Told, thread: str, result: str) -> None:
    run = told.run(thread)
    [asked] = datas(told, run, "run.waiting_for_input")
    assert asked["question"] == 'Approve Bash(command="make")? Answer yes, or say why not.'
    assert [data["result"] for data in datas(told, run, "run.completed")] == [result]
    assert [data["success"] for data in datas(told, run, "tool.result")] == [thread == "allowed"]


@pytest.mark.parametrize("person", ["alice", "bob"])
def test_a_request_for_permission_is_a_question_of_its_own_turn(told: Told, person: str) -> None:
    run = told.run(person)
    assert [data["question"] for data in datas(told, run, "run.waiting_for_input")] == [
        f'Approve Bash(command="{person}")? Answer yes, or say why not.'
    ]
    assert (run.status, [data["input"] for data in datas(told, run, "run.started")]) == ("completed", [person])


def test_each_turn_of_a_session_has_what_it_used_itself(told: Told) -> None:
    first, second = told.runs("two_turns")
    assert [run.total_cost_usd for run in (first, second)] == [0.0125, 0.0075]
    assert [run.usage.output_tokens for run in (first, second)] == [90, 90]


def test_a_turn_that_fails_is_a_failed_run_and_its_tools_were_interrupted(told: Told) -> None:
    run = told.run("failed")
    assert (run.status, run.error) == ("failed", "error_max_turns")
    assert [data["interrupted"] for data in datas(told, run, "tool.result")] == [True]


def test_a_turn_that_is_left_early_is_cancelled(told: Told) -> None:
    assert told.run("left_early").status == "cancelled"


def turn_of(usage: SessionUsage, *result: Any) -> TurnUsage:
    found = usage.turn(*result)
    assert found is not None
    return found


def test_figures_that_are_no_figures_cost_nothing() -> None:
    assert of_message({"input_tokens": "many"}) == {}
    usage = SessionUsage()
    assert usage.turn({}, {"m": {"inputTokens": None, "costUSD": "much"}, "n": 7}, "much") is None
    assert usage.turn({}, None, None) is None
    found = turn_of(usage, {}, {"m": {"inputTokens": 3, "costUSD": 0.5}}, None)
    assert (found.rest, found.cost_nanos, found.model) == ({"m": {"input_tokens": 3}}, 500_000_000, "m")
    again = turn_of(usage, {}, {"m": {"inputTokens": 3, "costUSD": 0.5}}, None)
    assert (again.rest, again.cost_nanos) == ({}, 0), "nothing is told twice"


def test_sums_of_one_turn_alone_are_told_apart_from_those_of_the_session() -> None:
    usage = SessionUsage()
    told = {"m": {"input_tokens": 10, "output_tokens": 1}}
    first = turn_of(usage, told, {"m": {"inputTokens": 10, "outputTokens": 5, "costUSD": 0.5}}, 0.5)
    assert (first.rest, first.cost_nanos) == ({"m": {"output_tokens": 4}}, 500_000_000)
    second = turn_of(
        usage, {"m": {"input_tokens": 8}}, {"m": {"inputTokens": 8, "outputTokens": 2, "costUSD": 0.25}}, 0.25
    )
    assert (second.rest, second.cost_nanos) == ({"m": {"output_tokens": 2}}, 250_000_000)


def test_sums_that_have_not_moved_are_of_the_turn_alone() -> None:
    usage, told = SessionUsage(), {"m": {"input_tokens": 100, "cached_input_tokens": 500}}
    sums = {"m": {"inputTokens": 200, "cacheReadInputTokens": 1000, "outputTokens": 90, "costUSD": 0.0125}}
    for _ in range(2):
        assert usage.turn(told, sums, None).cost_nanos == 12_500_000
